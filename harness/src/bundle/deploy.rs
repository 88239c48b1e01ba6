//! `deploy DIR`: creates the channels of a bundle whose nodes run, deploys its chaincode, and asks it
//! on every peer. What is done already is found so, and left alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ccaas_builder::package::{MAX_PACKAGE, package_id};
use fabric_network::identity::{PrivateKey, TlsPair};
use fabric_network::render::operator::description::{
    self, Description, NodeDescription, administrator_directory, administrator_files,
};
use fabric_network::topology::{Channel, NodeKind, Topology, TopologyError};
use fabric_primitives::names::{self, InvalidName};
use futures::future::try_join_all;
use tokio::time::Instant;

use crate::client::Endpoint;
use crate::client::{
    self, ClientError, Definition, Installation, Invocation, Node, Participation, PeerClient, Signer, SignerError,
};
use crate::console::timeline::Timeline;
use crate::console::{print, read_file, read_text};
use crate::deploy::INSTALL;
use crate::wait::{Poll, TimedOut, WaitError, until};

/// A block of a channel with many organizations has some hundred kilobytes.
const MOST_BLOCK: u64 = 16 * 1024 * 1024;
/// Between two questions to a node that is not there yet: its name may have to be looked up each time.
const PAUSE: Duration = Duration::from_millis(250);

/// The options of `deploy`.
#[derive(Debug, Clone, clap::Args)]
pub struct DeployOptions {
    /// The bundle.
    pub directory: PathBuf,
    /// Reach every node at this host instead of its own: 127.0.0.1 for published or forwarded ports.
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Longest wait for any one thing, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

/// The chaincode could not be deployed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeployError {
    #[error("{} can't be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}: {reason}", path.display())]
    Description { path: PathBuf, reason: String },
    #[error("{}", path.display())]
    Topology {
        path: PathBuf,
        #[source]
        source: TopologyError,
    },
    #[error("{} has the ID {seen}, but the bundle is for {expected}: render the bundle again", path.display())]
    Package { path: PathBuf, expected: String, seen: String },
    #[error("the identity of {owner} can't be used")]
    Signer {
        owner: String,
        #[source]
        source: SignerError,
    },
    #[error("{0}")]
    NotThere(TimedOut),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{peer} calls the package {seen}, but its bytes give {expected}")]
    Installed { peer: String, expected: String, seen: String },
    #[error(
        "{chaincode} is committed to {channel} as version {version}, sequence {sequence}: this deploys version {wanted}, \
         sequence 1, and nothing else; upgrade it by its lifecycle instead"
    )]
    Committed { chaincode: String, channel: String, version: String, sequence: i64, wanted: String },
}

/// The peers of one organization, called by its administrator.
struct Organization {
    name: String,
    peers: Vec<PeerClient>,
}

/// Everything that is connected.
struct Network {
    topology: Topology,
    description: Description,
    directory: PathBuf,
    organizations: Vec<Organization>,
    orderers: Vec<Participation>,
    timeout: Duration,
}

pub(super) async fn deploy(options: &DeployOptions) -> Result<(), DeployError> {
    let timeline = Timeline::begin(false);
    let network = Network::connect(options, &timeline).await?;
    timeline.step("join the orderers to each channel", network.join_orderers()).await?;
    timeline.step("join the peers to each channel", network.join_peers()).await?;
    timeline.step(INSTALL, network.install()).await?;
    let definition = Definition::new(&network.description.chaincode.name, &network.description.chaincode.version);
    for channel in &network.topology.channels {
        if network.is_committed(channel, &definition).await? {
            print(format_args!("{} is committed to {} already", definition.name, channel.name));
            continue;
        }
        timeline.step("approve for each organization", network.approve(channel, &definition)).await?;
        timeline.step("commit", network.commit(channel, &definition)).await?;
    }
    for channel in &network.topology.channels {
        timeline.step("ask the chaincode on every peer", network.ask(channel, &definition)).await?;
        let known = network.endorsers_are_known(channel, &definition);
        timeline.step("wait until the endorsers are known", known).await?;
    }
    let peers = network.organizations.iter().map(|organization| organization.peers.len()).sum::<usize>();
    let id = &network.description.chaincode.package_id;
    print(format_args!("deployed: {id} answers on {peers} peers"));
    Ok(())
}

/// What an operator may have changed by hand.
fn check_names(description: &Description) -> Result<(), InvalidName> {
    let chaincode = &description.chaincode;
    names::chaincode(&chaincode.name)?;
    names::version(&chaincode.version)?;
    names::label(chaincode.package_id.rsplit_once(':').map_or("", |(label, _)| label))
}

impl Network {
    async fn connect(options: &DeployOptions, timeline: &Timeline) -> Result<Self, DeployError> {
        let directory = options.directory.clone();
        let read = |name: &str| {
            let path = directory.join(name);
            let text = read_text(&path).map_err(|source| DeployError::Read { path: path.clone(), source })?;
            Ok::<_, DeployError>((path, text))
        };
        let (path, text) = read(description::FILE)?;
        let mut description = Description::from_yaml(&text)
            .and_then(|description| {
                check_names(&description).map_err(|invalid| invalid.to_string()).map(|()| description)
            })
            .map_err(|reason| DeployError::Description { path, reason })?;
        let (path, text) = read("topology.yaml")?;
        let topology = Topology::from_yaml(&text).map_err(|source| DeployError::Topology { path, source })?;
        for node in &mut description.nodes {
            node.host = options.host.clone().unwrap_or_else(|| node.host.clone());
        }
        let timeout = Duration::from_secs(options.timeout);
        let mut network =
            Self { topology, description, directory, organizations: Vec::new(), orderers: Vec::new(), timeout };
        timeline.step("wait until every node answers", network.connect_all()).await?;
        Ok(network)
    }

    async fn connect_all(&mut self) -> Result<(), DeployError> {
        let ordering = Administrator::read(&self.directory, NodeKind::Orderer, &self.topology.ordering.domain)?;
        let mut organizations = Vec::new();
        for organization in &self.topology.organizations {
            let administrator = Administrator::read(&self.directory, NodeKind::Peer, &organization.domain)?;
            let signer = administrator.signer(&organization.msp_id)?;
            let names: Vec<String> = organization.peer_names().collect();
            let own = self.description.nodes.iter().filter(|node| names.contains(&node.name));
            let peers = own.map(|node| self.reach(node, &administrator));
            let peers = try_join_all(peers).await?.into_iter().map(|node| PeerClient::new(node, Arc::clone(&signer)));
            organizations.push(Organization { name: organization.name.clone(), peers: peers.collect() });
        }
        let orderers: Vec<_> = self.description.nodes.iter().filter(|node| node.orderer).collect();
        try_join_all(orderers.iter().map(|node| self.reach(node, &ordering))).await?;
        let participation = orderers.iter().filter_map(|node| {
            let endpoint = ordering.endpoint(node, node.admin_port?);
            Some(Participation::new(&node.name, &endpoint, &ordering.tls))
        });
        self.orderers = participation.collect::<Result<_, _>>()?;
        self.organizations = organizations;
        Ok(())
    }

    /// Waits until the node answers a call.
    async fn reach(&self, node: &NodeDescription, administrator: &Administrator) -> Result<Node, DeployError> {
        let endpoint = administrator.endpoint(node, node.port);
        let question = || async {
            let asked = async {
                let connection = Node::connect(&node.name, &endpoint, Some(&administrator.tls)).await?;
                let deadline = Instant::now() + Duration::from_secs(5);
                client::answers(&connection, deadline).await.map(|()| connection)
            };
            match asked.await {
                Ok(connection) => Ok(Poll::Ready(connection)),
                Err(error) => {
                    tokio::time::sleep(PAUSE).await;
                    Ok::<_, std::convert::Infallible>(Poll::NotYet(crate::console::error_text(&error)))
                }
            }
        };
        let what = format!("{} answers at {}", node.name, endpoint.uri);
        until(&what, self.timeout, question).await.map_err(|error| match error {
            WaitError::TimedOut(timed_out) => DeployError::NotThere(timed_out),
            WaitError::Failed(never) => match never {},
        })
    }

    fn block(&self, channel: &Channel) -> Result<Vec<u8>, DeployError> {
        let path = self.directory.join("channels").join(format!("{}.block", channel.name));
        read_file(&path, MOST_BLOCK).map_err(|source| DeployError::Read { path, source })
    }

    async fn join_orderers(&self) -> Result<(), DeployError> {
        for channel in &self.topology.channels {
            let block = self.block(channel)?;
            try_join_all(self.orderers.iter().map(async |orderer| {
                match orderer.channel(&channel.name, self.deadline()).await? {
                    Some(_) => Ok(()),
                    None => orderer.join(&block, self.deadline()).await.map(drop),
                }
            }))
            .await?;
        }
        Ok(())
    }

    async fn join_peers(&self) -> Result<(), DeployError> {
        for channel in &self.topology.channels {
            let block = self.block(channel)?;
            try_join_all(self.peers(channel).map(async |peer| {
                if peer.channels(self.deadline()).await?.contains(&channel.name) {
                    return Ok(());
                }
                peer.join(&block, self.deadline()).await
            }))
            .await?;
        }
        Ok(())
    }

    async fn install(&self) -> Result<(), DeployError> {
        let expected = &self.description.chaincode.package_id;
        let path = self.directory.join(&self.description.chaincode.package);
        let package =
            read_file(&path, MAX_PACKAGE).map_err(|source| DeployError::Read { path: path.clone(), source })?;
        let label = expected.rsplit_once(':').map_or("", |(label, _)| label);
        let seen = package_id(label, &package);
        if seen != *expected {
            return Err(DeployError::Package { path, expected: expected.clone(), seen });
        }
        let peers = self.organizations.iter().flat_map(|organization| &organization.peers);
        try_join_all(peers.map(async |peer| {
            let installation = peer.install(&package, self.deadline()).await?;
            let seen = installation.package_id().to_owned();
            if seen != *expected {
                let peer = peer.name().to_owned();
                return Err(DeployError::Installed { peer, expected: expected.clone(), seen });
            }
            if matches!(installation, Installation::AlreadyInstalled { .. }) {
                print(format_args!("{} has the package already", peer.name()));
            }
            Ok(())
        }))
        .await
        .map(drop)
    }

    /// Whether this very version is committed.
    async fn is_committed(&self, channel: &Channel, definition: &Definition) -> Result<bool, DeployError> {
        let peer = self.peers(channel).next().ok_or(ClientError::NoPeer { operation: "read the definition" })?;
        match peer.query_committed(&channel.name, &definition.name, self.deadline()).await {
            Ok(found) if found.version == definition.version && found.sequence == definition.sequence => Ok(true),
            Ok(found) => Err(DeployError::Committed {
                chaincode: definition.name.clone(),
                channel: channel.name.clone(),
                version: found.version,
                sequence: found.sequence,
                wanted: definition.version.clone(),
            }),
            Err(ClientError::Rejected { status: 404, .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Approves for each organization of the channel that has not yet done so.
    async fn approve(&self, channel: &Channel, definition: &Definition) -> Result<(), DeployError> {
        let package_id = Some(self.description.chaincode.package_id.as_str());
        let everyone: Vec<PeerClient> = self.peers(channel).cloned().collect();
        try_join_all(self.members(channel).map(async |organization| {
            let first =
                organization.peers.first().ok_or(ClientError::NoPeer { operation: "approve the definition" })?;
            let readiness = first.check_commit_readiness(&channel.name, definition, self.deadline()).await?;
            let own = first.signer().msp_id().to_owned();
            if !readiness.missing().contains(&own.as_str()) {
                return Ok(());
            }
            let peers = &organization.peers;
            let approval =
                client::approve_for_my_org(peers, &channel.name, definition, package_id, self.deadline()).await?;
            client::await_commit(&everyone, &channel.name, &approval.transaction_id, self.deadline()).await.map(drop)
        }))
        .await
        .map(drop)
        .map_err(DeployError::from)
    }

    async fn commit(&self, channel: &Channel, definition: &Definition) -> Result<(), DeployError> {
        let endorsers: Vec<PeerClient> =
            self.members(channel).filter_map(|organization| organization.peers.first().cloned()).collect();
        let committed = client::commit(&endorsers, &channel.name, definition, self.deadline()).await?;
        let everyone: Vec<PeerClient> = self.peers(channel).cloned().collect();
        client::await_commit(&everyone, &channel.name, &committed.transaction_id, self.deadline()).await?;
        Ok(())
    }

    /// Has each peer by itself ask its own chaincode server. Any answer of the chaincode will do, an
    /// error as well: which functions it has is not known here.
    async fn ask(&self, channel: &Channel, definition: &Definition) -> Result<(), DeployError> {
        let invocation = Invocation::probe(&channel.name, &definition.name);
        try_join_all(self.peers(channel).map(async |peer| {
            let proposal = invocation.propose(peer.signer()).map_err(ClientError::from)?;
            match peer.process_proposal("ask the chaincode", &proposal, self.deadline()).await {
                Err(error) if !is_answer_of_chaincode(&error) => Err(error),
                _ => Ok(()),
            }
        }))
        .await
        .map(drop)
        .map_err(DeployError::from)
    }

    /// Waits until the gateway of each peer knows every endorser.
    async fn endorsers_are_known(&self, channel: &Channel, definition: &Definition) -> Result<(), DeployError> {
        let peers: Vec<PeerClient> = self.peers(channel).cloned().collect();
        Ok(client::await_endorsers(&peers, &channel.name, &definition.name, self.deadline()).await?)
    }

    fn members<'a>(&'a self, channel: &'a Channel) -> impl Iterator<Item = &'a Organization> {
        let all = channel.organizations.is_empty();
        self.organizations.iter().filter(move |other| all || channel.organizations.contains(&other.name))
    }

    fn peers<'a>(&'a self, channel: &'a Channel) -> impl Iterator<Item = &'a PeerClient> {
        self.members(channel).flat_map(|organization| &organization.peers)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }
}

/// Whether a peer's refusal is the chaincode's own answer: 500 with its message, and not the peer's
/// when it can't reach the chaincode, which is an error of the same status.
fn is_answer_of_chaincode(error: &ClientError) -> bool {
    match error {
        ClientError::Rejected { message, .. } => {
            !message.contains("error in simulation") && !message.contains("could not launch chaincode")
        }
        _ => false,
    }
}

/// An organization's administrator, as the files have it.
struct Administrator {
    owner: String,
    certificate_pem: String,
    key_pem: String,
    tls: TlsPair,
    tls_ca_pem: String,
}

impl Administrator {
    fn read(bundle: &Path, kind: NodeKind, domain: &str) -> Result<Self, DeployError> {
        let directory = bundle.join(administrator_directory(kind, domain));
        let read = |name: &Path| {
            let path = directory.join(name);
            read_text(&path).map_err(|source| DeployError::Read { path, source })
        };
        let [(key, certificate), (tls_key, tls_certificate)] = administrator_files(domain);
        Ok(Self {
            owner: format!("Admin@{domain}"),
            certificate_pem: read(&certificate)?,
            key_pem: read(&key)?,
            tls: TlsPair {
                certificate_pem: read(&tls_certificate)?,
                private_key_pem: PrivateKey::from_pem(read(&tls_key)?),
            },
            tls_ca_pem: read(Path::new("tls/ca.crt"))?,
        })
    }

    fn signer(&self, msp_id: &str) -> Result<Arc<Signer>, DeployError> {
        Signer::new(msp_id, &self.certificate_pem, &self.key_pem)
            .map(Arc::new)
            .map_err(|source| DeployError::Signer { owner: self.owner.clone(), source })
    }

    fn endpoint(&self, node: &NodeDescription, port: u16) -> Endpoint {
        let host = &node.host;
        let uri =
            if host.contains(':') { format!("https://[{host}]:{port}") } else { format!("https://{host}:{port}") };
        Endpoint { uri, server_name: node.name.clone(), tls_ca_pem: self.tls_ca_pem.clone() }
    }
}
