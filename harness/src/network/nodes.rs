//! The nodes and chaincode servers of a plan: started, given the chaincode, stopped.

use super::error::{RunError, unless, warn_of};
use crate::check::cases::Case;
use crate::check::own_package::{self, Values};
use crate::check::{self, Target};
use crate::client::Definition;
use crate::console::timeline::Timeline;
use crate::couchdb::Databases;
use crate::deploy::{Administration, DeployError, Package};
use crate::evidence::Evidence;
use crate::interrupt::Interrupt;
use crate::plan::NetworkPlan;
use crate::runtime::{
    ChaincodePlacement, ChaincodeSpec, Death, Placed, Running, Runtime, RuntimeError, ServerSource, VARIABLES_FILE,
};
use crate::server::{self, Server, ServerSource, TlsMode};
use ccaas_builder::connection::Connection;
use ccaas_builder::package::{self, package_id};
use ccaas_builder::{config, template};
use fabric_network::bundle::{Bundle, File};
use fabric_network::identity::Validity;
use fabric_network::render::{RenderOptions, render};
use fabric_network::topology::{Channel, NodeKind};
use futures::future::try_join_all;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The name of the step that ends with the first query's answer.
pub const FIRST_QUERY: &str = "first query";

/// How long certificates are valid: a year.
const LIFETIME: Duration = Duration::from_hours(365 * 24);

/// Nodes and chaincode servers that answer. Dropping it ends them, but leaves what the peers put into
/// a CouchDB to the next run.
#[derive(Debug)]
pub struct Nodes {
    /// The plan that they are of.
    pub plan: NetworkPlan,
    /// Their files and identities.
    pub bundle: Bundle,
    /// What runs.
    pub running: Running,
    deployments: Vec<Deployment>,
    databases: Option<Databases>,
}

/// How nodes ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// Those that had ended by themselves before.
    pub deaths: Vec<Death>,
    /// The whole logs, by node and chaincode server.
    pub logs: BTreeMap<String, String>,
    /// What could not be removed.
    pub left: Vec<String>,
}

impl Nodes {
    /// Starts what the plan asks for, and waits until it answers. Dropping the future ends whatever was
    /// started. Configuration, packages and, after a failure, logs are added to `evidence`.
    ///
    /// # Errors
    ///
    /// What kept them from answering; by then everything that was started is gone.
    pub async fn start(
        plan: &NetworkPlan,
        runtime: &Runtime,
        timeline: &Timeline,
        evidence: &mut Evidence,
        interrupt: &Interrupt,
    ) -> Result<Self, RunError> {
        let databases = if plan.couchdb.is_empty() {
            None
        } else {
            let reaches = |address| runtime.reaches(address);
            let claim = Databases::claim(&plan.couchdb, &plan.topology, plan.timeout, reaches);
            Some(unless(interrupt, timeline.step("claim each CouchDB", claim)).await??)
        };
        match Box::pin(bring_up(plan, runtime, timeline, evidence, interrupt)).await {
            Ok((bundle, deployments, running)) => {
                Ok(Self { plan: plan.clone(), bundle, running, deployments, databases })
            }
            Err(error) => {
                warn_of(&release(databases, timeline).await);
                Err(error)
            }
        }
    }

    /// Brings the chaincode to every channel: joins, installs, approves, commits, and waits until it
    /// answers `probe` and can be endorsed. The answer itself does not matter.
    ///
    /// # Errors
    ///
    /// The first refusal.
    pub async fn deploy(&self, probe: &Case, timeline: &Timeline) -> Result<Target, RunError> {
        let (topology, deployments) = (&self.plan.topology, &self.deployments);
        let connect = Administration::connect(topology, &self.bundle, self.running.nodes(), self.plan.timeout);
        let administration = timeline.step("connect to the nodes", connect).await?.noting(timeline.journal());
        let packages: Vec<&Package> = deployments.iter().map(|deployment| &deployment.package).collect();
        administration.join_and_install_all(topology, &self.bundle, &packages, timeline).await?;
        let everywhere =
            || topology.channels.iter().flat_map(|channel| deployments.iter().map(move |one| (channel, one)));
        let approve = everywhere().map(|(channel, one)| administration.approve(channel, &one.definition, &one.package));
        timeline.step("approve for each organization", try_join_all(approve)).await?;
        let check = everywhere().map(|(channel, one)| administration.check_readiness(channel, &one.definition));
        timeline.step("check the commit readiness", try_join_all(check)).await?;
        let commit = everywhere().map(|(channel, one)| administration.commit(channel, &one.definition));
        timeline.step("commit", try_join_all(commit)).await?;

        let target = target(&self.plan, &administration, &self.bundle)?;
        timeline.step(FIRST_QUERY, target.first_answer(probe)).await.map_err(RunError::FirstQuery)?;
        let known = target.endorsers_are_known(probe);
        timeline.step("wait until the endorsers are known", known).await.map_err(RunError::Endorsers)?;
        Ok(target)
    }

    /// The package of each chaincode name, that of the chaincode under test first.
    pub fn packages(&self) -> impl Iterator<Item = &Package> {
        self.deployments.iter().map(|deployment| &deployment.package)
    }

    /// What each chaincode server is started with, in the order of the packages.
    pub fn servers(&self) -> impl Iterator<Item = &ChaincodeSpec> {
        self.deployments.iter().map(|deployment| &deployment.server)
    }

    /// Stops the chaincode servers and starts them again.
    ///
    /// # Errors
    ///
    /// The first that can't be stopped or started.
    pub async fn restart_chaincodes(&self) -> Result<(), RuntimeError> {
        for server in self.running.chaincodes() {
            server.restart().await?;
        }
        Ok(())
    }

    /// Stops every peer and starts it again, one after the other.
    ///
    /// # Errors
    ///
    /// The first that can't be restarted.
    pub async fn restart_peers(&self) -> Result<(), RuntimeError> {
        for node in self.running.nodes().iter().filter(|node| node.kind == NodeKind::Peer) {
            self.running.restart(&node.name).await?;
        }
        Ok(())
    }

    /// Ends everything and removes all of it.
    pub async fn stop(self, timeline: &Timeline) -> Ended {
        let deaths = self.running.deaths().await;
        let logs = self.running.logs().await;
        self.running.tell_messages(&logs, timeline.journal()).await;
        let left = timeline.step("stop, and remove everything", self.running.stop()).await.err().unwrap_or_default();
        let mut left: Vec<String> = left.iter().map(crate::console::error_text).collect();
        left.extend(release(self.databases, timeline).await);
        Ended { deaths, logs, left }
    }
}

/// Gives each CouchDB back; what could not be removed from them.
async fn release(databases: Option<Databases>, timeline: &Timeline) -> Vec<String> {
    let Some(databases) = databases else { return Vec::new() };
    let removed = timeline.step("remove the channels' databases", databases.release()).await;
    removed.err().unwrap_or_default().iter().map(crate::console::error_text).collect()
}

async fn bring_up(
    plan: &NetworkPlan,
    runtime: &Runtime,
    timeline: &Timeline,
    evidence: &mut Evidence,
    interrupt: &Interrupt,
) -> Result<(Bundle, Vec<Deployment>, Running), RunError> {
    let definitions = plan.chaincode.definitions();
    // A server has the name of its definition.
    let servers: Vec<_> = definitions.iter().map(|one| (one.name.as_str(), &plan.server.source)).collect();
    let place = timeline.step("place the nodes", runtime.place(&plan.topology, &servers));
    let placed = unless(interrupt, place).await??;
    let (bundle, deployments) =
        timeline.step("render the network and the package", async { prepare(plan, runtime, &placed) }).await?;
    evidence.add_configuration(&bundle);
    for (number, Deployment { package, server, .. }) in deployments.iter().enumerate() {
        let directory = if number == 0 { "package".to_owned() } else { format!("package-of-{}", server.name) };
        evidence.add(format!("{directory}/connection.json"), package.connection.clone());
        match plan.chaincode.own_package() {
            // The user has it, and it may hold a key.
            Some(own) => evidence.add(format!("{directory}/contents.txt"), own.description.clone()),
            None => evidence.add(format!("{directory}/{}.tar.gz", package.id.replace(':', "-")), package.bytes.clone()),
        }
    }
    let servers: Vec<_> = deployments.iter().map(|deployment| deployment.server.clone()).collect();
    placed.hand_over(&servers)?;
    for Deployment { package, server, .. } in &deployments {
        if let ServerSource::Address { address, .. } = &server.source
            && let Some(place) = placed.chaincodes.get(&server.name)
        {
            let (seconds, id) = (plan.timeout.as_secs(), &package.id);
            let variables = place.directory.join(VARIABLES_FILE);
            timeline.print(&format!(
                "waiting up to {seconds} s for the chaincode server at {address}: start it with the variables of {}, \
                 CHAINCODE_ID={id}",
                variables.display()
            ));
        }
    }
    let start = timeline.step("start the nodes and the chaincode server", placed.start(&bundle, &servers));
    let running = unless(interrupt, start).await?.map_err(|error| {
        evidence.add_logs(error.logs);
        *error.source
    })?;
    Ok((bundle, deployments, running))
}

/// A definition, the package that it refers to, and the server of that package.
///
/// Each name of the chaincode has its own: a peer knows a chaincode server by its package, and lets
/// one that is running a transaction take part in it once only.
#[derive(Debug)]
struct Deployment {
    definition: Definition,
    package: Package,
    server: ChaincodeSpec,
}

/// Everything that is known before anything runs: the network's files, the packages, the servers.
fn prepare(plan: &NetworkPlan, runtime: &Runtime, placed: &Placed) -> Result<(Bundle, Vec<Deployment>), RunError> {
    let seed = runtime.seed();
    let validity = seed.map_or_else(|| Validity::starting(SystemTime::now(), LIFETIME), |_| Validity::fixed());
    let peers = plan.topology.nodes().filter(|node| node.kind == NodeKind::Peer).map(|node| node.name);
    let couchdb = peers.zip(plan.couchdb.iter().cloned()).collect();
    let options = RenderOptions { couchdb, seed, ..RenderOptions::new(runtime.release(), validity) };
    let mut bundle = render(&plan.topology, &placed.placement, &options)?;
    let definitions = plan.chaincode.definitions();
    let deployments = definitions.into_iter().map(|definition| {
        let name = &definition.name;
        let place = placed.chaincodes.get(name).ok_or(RuntimeError::NotPlaced { name: name.clone() })?;
        let connection = connection_to(place, plan.tls, &bundle)?;
        let package = match plan.chaincode.own_package() {
            Some(own) => {
                lead(&mut bundle, own, &plan.chaincode.values, &connection);
                let connection = text_of(&connection);
                Package { id: own.id.clone(), bytes: own.bytes.clone(), connection }
            }
            None => make_package(plan, &definition, connection)?,
        };
        let server = chaincode_server(plan, name, place, &bundle, &package);
        Ok(Deployment { definition, package, server })
    });
    let deployments = deployments.collect::<Result<Vec<_>, RunError>>()?;
    tell(&bundle, &deployments);
    Ok((bundle, deployments))
}

/// Commands and configuration, for who asked for them by `-vv`. Keys are not among them.
fn tell(bundle: &Bundle, deployments: &[Deployment]) {
    for node in &bundle.nodes {
        let command = format!("{} {}", node.program, node.arguments.join(" "));
        tracing::debug!("{}: {command}\n{}", node.name, lines("environment", &node.environment));
        for (name, value) in &node.secrets {
            tracing::debug!("  {name}={value}");
        }
        for (path, file) in bundle.files.range(node.directory.clone()..) {
            if path.starts_with(&node.directory) && path.extension().is_some_and(|extension| extension == "yaml") {
                tracing::debug!("{}:\n{}", path.display(), String::from_utf8_lossy(&file.bytes));
            }
        }
    }
    for Deployment { package, server, .. } in deployments {
        tracing::debug!("package {}\nconnection.json: {}", package.id, package.connection);
        let environment = lines("environment", &server.environment);
        let command = format!("{} {}", server.source, server.arguments.join(" "));
        tracing::debug!("{}: {command}\n{environment}", server.name);
    }
}

fn lines(title: &str, values: &BTreeMap<String, String>) -> String {
    let lines = values.iter().map(|(name, value)| format!("\n  {name}={value}"));
    std::iter::once(title.to_owned()).chain(lines).collect()
}

fn target(plan: &NetworkPlan, administration: &Administration, bundle: &Bundle) -> Result<Target, RunError> {
    let channel = |channel: &Channel| {
        Ok(check::Channel {
            name: channel.name.clone(),
            peers: administration.channel_peers(channel).cloned().collect(),
            clients: administration.clients(channel, bundle)?,
            organizations: administration.organizations(channel),
        })
    };
    Ok(Target {
        channels: plan.topology.channels.iter().map(channel).collect::<Result<_, DeployError>>()?,
        chaincode: plan.chaincode.name().to_owned(),
        couchdb: !plan.couchdb.is_empty(),
        can_restart: plan.server.source.is_ours(),
        timeout: plan.timeout,
    })
}

/// How peers reach the server: its address, the root certificate to trust, and never a key. Which key
/// a peer shows is its own environment's matter.
fn connection_to(place: &ChaincodePlacement, tls: TlsMode, bundle: &Bundle) -> Result<Connection, RunError> {
    let owner = bundle.identities.peer_organizations.first().ok_or(DeployError::Nothing { what: "organization" })?;
    Ok(Connection {
        address: place.address.clone(),
        dial_timeout: "10s".to_owned(),
        tls_required: tls != TlsMode::Off,
        client_auth_required: tls == TlsMode::Mtls,
        root_cert: if tls == TlsMode::Off { String::new() } else { owner.tls_ca_pem.clone() },
        ..Connection::default()
    })
}

/// Has each peer's builder lead a package that stays as it is to the server.
fn lead(bundle: &mut Bundle, package: &own_package::Content, values: &Values, connection: &Connection) {
    const SETTINGS: &str = "builder.json";
    let settings = package.settings(connection).to_string();
    for peer in bundle.nodes.iter_mut().filter(|node| node.kind == NodeKind::Peer) {
        let file = peer.placement.config_dir.join(SETTINGS).to_string_lossy().into_owned();
        peer.environment.insert(config::VARIABLE.to_owned(), file);
        if !values.is_empty() {
            let values = values.of_server(&connection.address, &package.id).to_string();
            peer.environment.insert(template::VARIABLE.to_owned(), values);
        }
        bundle.files.insert(peer.directory.join(SETTINGS), File::public(settings.as_str()));
    }
}

fn text_of(connection: &Connection) -> String {
    String::from_utf8_lossy(&connection.to_bytes()).into_owned()
}

fn make_package(plan: &NetworkPlan, definition: &Definition, connection: Connection) -> Result<Package, RunError> {
    let text = text_of(&connection);
    let label = plan.chaincode.label(definition);
    let extra_files = plan.chaincode.indexes.files();
    let content = package::Package { label: label.clone(), kind: "ccaas".to_owned(), connection, extra_files };
    let bytes = content.to_bytes()?;
    Ok(Package { id: package_id(&label, &bytes), bytes, connection: text })
}

/// The chaincode server, which trusts the client certificates of every organization's peers.
fn chaincode_server(
    plan: &NetworkPlan,
    name: &str,
    place: &ChaincodePlacement,
    bundle: &Bundle,
    package: &Package,
) -> ChaincodeSpec {
    const CERTIFICATE: &str = "server.crt";
    const KEY: &str = "server.key";
    const CLIENT_CA: &str = "client-ca.crt";
    let organizations = &bundle.identities.peer_organizations;
    let path = |name: &str| place.directory.join(name).to_string_lossy().into_owned();
    let (host, port) = place.listen.rsplit_once(':').unwrap_or((&place.listen, ""));
    let host = host.trim_matches(['[', ']']);
    let disabled = (plan.tls == TlsMode::Off).to_string();
    let values = [
        (server::ID, package.id.as_str()),
        (server::ADDRESS, &place.listen),
        (server::HOST, host),
        (server::PORT, port),
        (server::TLS_DISABLED, &disabled),
    ];
    let mut values: BTreeMap<String, String> =
        values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut files = BTreeMap::new();
    if let (Some(owner), true) = (organizations.first(), plan.tls != TlsMode::Off) {
        let identity = &owner.chaincode_server;
        files.insert(Path::new(CERTIFICATE).to_owned(), File::public(identity.certificate_pem.as_str()));
        files.insert(Path::new(KEY).to_owned(), File::private(&identity.private_key_pem));
        values.insert(server::TLS_CERT.to_owned(), path(CERTIFICATE));
        values.insert(server::TLS_KEY.to_owned(), path(KEY));
    }
    if plan.tls == TlsMode::Mtls {
        let trusted: String = organizations.iter().map(|organization| organization.tls_ca_pem.as_str()).collect();
        files.insert(Path::new(CLIENT_CA).to_owned(), File::public(trusted));
        values.insert(server::CLIENT_CA.to_owned(), path(CLIENT_CA));
    }
    let Server { source, arguments, environment, origin: _ } = &plan.server;
    let arguments = arguments.iter().map(|argument| argument.fill(&values)).collect();
    let own: Vec<_> = environment.iter().map(|(name, value)| (name.clone(), value.fill(&values))).collect();
    values.extend(own);
    ChaincodeSpec { name: name.to_owned(), source: source.clone(), arguments, environment: values, files }
}
