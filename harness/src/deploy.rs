//! The deployment of a chaincode: the steps of its lifecycle, on running nodes.
//!
//! Independent steps run in parallel.

use crate::check::Client;
use crate::client::{self, ClientError, Definition, Node, Participation, PeerClient, Seed, Signer, SignerError};
use crate::console::timeline::Timeline;
use crate::journal::Journal;
use crate::runtime::RunningNode;
use fabric_network::bundle::Bundle;
use fabric_network::identity::{Credential, OrganizationIdentities, TlsPair};
use fabric_network::topology::{Channel, NodeKind, Topology};
use futures::future::{try_join, try_join_all};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The step that installs the packages.
pub(crate) const INSTALL: &str = "install the package on every peer";

/// A chaincode package and its ID.
#[derive(Debug, Clone)]
pub struct Package {
    /// The `.tar.gz`.
    pub bytes: Vec<u8>,
    /// Label, colon, SHA-256 of the bytes.
    pub id: String,
    /// Its connection.json.
    pub connection: String,
    /// The MSP ID of the organization that installs and approves it. Default: every organization.
    pub organization: Option<String>,
}

impl Package {
    fn is_of(&self, organization: &Organization) -> bool {
        self.organization.as_ref().is_none_or(|msp_id| *msp_id == organization.msp_id)
    }
}

/// The peers of an organization, with its administrator as the client.
#[derive(Debug)]
struct Organization {
    name: String,
    msp_id: String,
    peers: Vec<PeerClient>,
}

/// Connections to all nodes as their organizations' administrators.
#[derive(Debug)]
pub struct Administration {
    organizations: Vec<Organization>,
    orderers: Vec<Participation>,
    /// The seed of the signers, if the network has one.
    seed: Option<Arc<Seed>>,
    timeout: Duration,
}

/// Why a deployment failed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// A call failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An identity cannot sign.
    #[error("invalid identity of {owner}")]
    Signer {
        /// The MSP ID of the identity.
        owner: String,
        /// The cause.
        #[source]
        source: SignerError,
    },
    /// A peer computed another package ID.
    #[error("{peer} has the package ID {seen}, expected {expected}: the package was modified in transit")]
    PackageId {
        /// The peer.
        peer: String,
        /// The ID computed before the installation.
        expected: String,
        /// The peer's ID.
        seen: String,
    },
    /// Approvals are missing.
    #[error("cannot commit the definition of {chaincode}: missing approvals of {missing:?} on {peer}'s ledger")]
    NotReady {
        /// The chaincode.
        chaincode: String,
        /// The peer with the ledger.
        peer: String,
        /// The MSP IDs of the missing approvals.
        missing: Vec<String>,
    },
    /// The topology has no peer or no channel to deploy to.
    #[error("no {what} to deploy to")]
    Nothing {
        /// What is missing.
        what: &'static str,
    },
}

crate::console::debug_as_text!(DeployError);

impl Administration {
    /// Connects to all nodes.
    ///
    /// # Errors
    ///
    /// A connection fails, or an identity is invalid.
    pub async fn connect(
        topology: &Topology,
        bundle: &Bundle,
        nodes: &[RunningNode],
        timeout: Duration,
    ) -> Result<Self, DeployError> {
        let seed = bundle.identities.seed.map(Seed::new);
        let mut organizations = Vec::new();
        for (organization, identities) in topology.organizations.iter().zip(&bundle.identities.peer_organizations) {
            let signer = signer(&identities.admin, seed.as_ref())?;
            let own = nodes.iter().filter(|node| node.kind == NodeKind::Peer && node.msp_id == organization.msp_id);
            let peers = try_join_all(own.map(|node| peer_client(node, &signer, &identities.admin_tls))).await?;
            let (name, msp_id) = (organization.name.clone(), organization.msp_id.clone());
            organizations.push(Organization { name, msp_id, peers });
        }
        let admin_tls = &bundle.identities.orderer_organization.admin_tls;
        let orderers = nodes.iter().filter_map(|node| Some((node, node.admin.as_ref()?)));
        let orderers = orderers.map(|(node, admin)| Participation::new(&node.name, admin, admin_tls));
        let orderers = orderers.collect::<Result<_, _>>()?;
        Ok(Self { organizations, orderers, seed, timeout })
    }

    /// Records each message to and from a peer in this journal.
    #[must_use]
    pub fn noting(mut self, journal: &Journal) -> Self {
        for organization in &mut self.organizations {
            organization.peers = organization.peers.drain(..).map(|peer| peer.noting(journal)).collect();
        }
        self
    }

    /// Joins all orderers and the peers of the channels' organizations to the channels. In parallel, installs the
    /// package on every peer of its organizations.
    ///
    /// # Errors
    ///
    /// The first failure; a different package ID.
    pub async fn join_and_install(
        &self,
        topology: &Topology,
        bundle: &Bundle,
        package: &Package,
        timeline: &Timeline,
    ) -> Result<(), DeployError> {
        self.join_and_install_all(topology, bundle, &[package], timeline).await
    }

    /// As [`join_and_install`](Self::join_and_install), with several packages.
    ///
    /// # Errors
    ///
    /// The first failure; a different package ID.
    pub async fn join_and_install_all(
        &self,
        topology: &Topology,
        bundle: &Bundle,
        packages: &[&Package],
        timeline: &Timeline,
    ) -> Result<(), DeployError> {
        let join = async {
            timeline.step("join the orderers to the channel", self.join_orderers(bundle)).await?;
            timeline.step("join the peers to the channel", self.join_peers(topology, bundle)).await
        };
        let install = try_join_all(packages.iter().map(|package| self.install(package)));
        let install = timeline.step(INSTALL, install);
        try_join(join, install).await.map(drop)
    }

    async fn join_orderers(&self, bundle: &Bundle) -> Result<(), DeployError> {
        for channel in &bundle.channels {
            let joins = self.orderers.iter().map(|orderer| orderer.join(&channel.genesis_block, self.deadline()));
            try_join_all(joins).await?;
        }
        Ok(())
    }

    async fn join_peers(&self, topology: &Topology, bundle: &Bundle) -> Result<(), DeployError> {
        for (channel, artifact) in topology.channels.iter().zip(&bundle.channels) {
            let peers = self.members(channel).flat_map(|organization| &organization.peers);
            try_join_all(peers.map(|peer| peer.join(&artifact.genesis_block, self.deadline()))).await?;
        }
        Ok(())
    }

    async fn install(&self, package: &Package) -> Result<(), DeployError> {
        let owners = self.organizations.iter().filter(|organization| package.is_of(organization));
        let peers = owners.flat_map(|organization| &organization.peers);
        try_join_all(peers.map(async |peer| {
            let installation = peer.install(&package.bytes, self.deadline()).await?;
            expect_package_id(peer, package, installation.package_id())?;
            let installed = peer.query_installed(self.deadline()).await?;
            let listed = installed.iter().find(|other| other.package_id == package.id);
            let seen = installed.iter().map(|other| other.package_id.as_str()).collect::<Vec<_>>().join(", ");
            expect_package_id(peer, package, listed.map_or(&seen, |listed| &listed.package_id))
        }))
        .await
        .map(drop)
    }

    /// Approves the definition for every organization of the channel that has the package.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub async fn approve(
        &self,
        channel: &Channel,
        definition: &Definition,
        package: &Package,
    ) -> Result<(), DeployError> {
        let owners = self.members(channel).filter(|organization| package.is_of(organization));
        let approvals = owners.map(|organization| {
            let package_id = Some(package.id.as_str());
            client::approve_for_my_org(&organization.peers, &channel.name, definition, package_id, self.deadline())
        });
        let approvals = try_join_all(approvals).await?;
        // The peers of every organization check all approvals.
        let peers: Vec<PeerClient> = self.channel_peers(channel).cloned().collect();
        let everywhere = approvals
            .iter()
            .map(|approval| client::await_commit(&peers, &channel.name, &approval.transaction_id, self.deadline()));
        try_join_all(everywhere).await?;
        Ok(())
    }

    /// Checks that a peer of each organization has the approvals of all organizations.
    ///
    /// # Errors
    ///
    /// [`DeployError::NotReady`] with the missing approvals.
    pub async fn check_readiness(&self, channel: &Channel, definition: &Definition) -> Result<(), DeployError> {
        let peers = self.members(channel).filter_map(|organization| organization.peers.first());
        try_join_all(peers.map(async |peer| {
            let readiness = peer.check_commit_readiness(&channel.name, definition, self.deadline()).await?;
            let missing: Vec<String> = readiness.missing().into_iter().map(str::to_owned).collect();
            if missing.is_empty() {
                return Ok(());
            }
            Err(DeployError::NotReady { chaincode: definition.name.clone(), peer: peer.name().to_owned(), missing })
        }))
        .await
        .map(drop)
    }

    /// Commits the definition, waits until every peer of the channel has it, and reads it back.
    ///
    /// # Errors
    ///
    /// A failed call, or an invalid transaction.
    pub async fn commit(&self, channel: &Channel, definition: &Definition) -> Result<(), DeployError> {
        let endorsers: Vec<PeerClient> =
            self.members(channel).filter_map(|organization| organization.peers.first().cloned()).collect();
        let committed = client::commit(&endorsers, &channel.name, definition, self.deadline()).await?;
        let peers: Vec<PeerClient> = self.channel_peers(channel).cloned().collect();
        client::await_commit(&peers, &channel.name, &committed.transaction_id, self.deadline()).await?;
        let peer = peers.first().ok_or(DeployError::Nothing { what: "peer" })?;
        peer.query_committed(&channel.name, &definition.name, self.deadline()).await?;
        Ok(())
    }

    /// The clients of a channel: for each organization its users, then its administrator, with the organization's first
    /// peer.
    ///
    /// # Errors
    ///
    /// An identity is invalid.
    pub fn clients(&self, channel: &Channel, bundle: &Bundle) -> Result<Vec<Client>, DeployError> {
        let mut clients = Vec::new();
        for organization in self.members(channel) {
            let of_same = |identities: &&OrganizationIdentities| identities.msp_id == organization.msp_id;
            let identities = bundle.identities.peer_organizations.iter().find(of_same);
            let (Some(identities), Some(peer)) = (identities, organization.peers.first()) else { continue };
            let users = (1..).map(|number| format!("User{number}")).zip(&identities.users);
            for (user, credential) in users.chain([("Admin".to_owned(), &identities.admin)]) {
                clients.push(Client {
                    user,
                    organization: organization.name.clone(),
                    domain: identities.domain.clone(),
                    gateway: peer.with_signer(signer(credential, self.seed.as_ref())?),
                });
            }
        }
        Ok(clients)
    }

    /// The default client: the first peer of the channel's first organization with its first user, or with its
    /// administrator if there are no users.
    ///
    /// # Errors
    ///
    /// There is no such peer.
    pub fn gateway(&self, channel: &Channel, bundle: &Bundle) -> Result<PeerClient, DeployError> {
        let first = self.clients(channel, bundle)?.into_iter().next();
        first.map(|client| client.gateway).ok_or(DeployError::Nothing { what: "peer" })
    }

    /// The name and MSP ID of each organization of the channel.
    pub fn organizations(&self, channel: &Channel) -> Vec<(String, String)> {
        self.members(channel).map(|member| (member.name.clone(), member.msp_id.clone())).collect()
    }

    fn members<'a>(&'a self, channel: &'a Channel) -> impl Iterator<Item = &'a Organization> {
        let all = channel.organizations.is_empty();
        self.organizations.iter().filter(move |other| all || channel.organizations.contains(&other.name))
    }

    /// The peers of the channel's organizations, with their administrators as clients.
    pub fn channel_peers<'a>(&'a self, channel: &'a Channel) -> impl Iterator<Item = &'a PeerClient> {
        self.members(channel).flat_map(|organization| &organization.peers)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }
}

fn expect_package_id(peer: &PeerClient, package: &Package, seen: &str) -> Result<(), DeployError> {
    if seen == package.id {
        return Ok(());
    }
    Err(DeployError::PackageId { peer: peer.name().to_owned(), expected: package.id.clone(), seen: seen.to_owned() })
}

fn signer(credential: &Credential, seed: Option<&Arc<Seed>>) -> Result<Arc<Signer>, DeployError> {
    let Credential { msp_id, certificate_pem, private_key_pem } = credential;
    let signer = match seed {
        Some(seed) => Signer::seeded(msp_id, certificate_pem, private_key_pem.as_pem(), Arc::clone(seed)),
        None => Signer::new(msp_id, certificate_pem, private_key_pem.as_pem()),
    };
    signer.map(Arc::new).map_err(|source| DeployError::Signer { owner: msp_id.clone(), source })
}

async fn peer_client(node: &RunningNode, signer: &Arc<Signer>, tls: &TlsPair) -> Result<PeerClient, DeployError> {
    let connection = Node::connect(&node.name, &node.grpc, Some(tls)).await?;
    Ok(PeerClient::new(connection, Arc::clone(signer)))
}
