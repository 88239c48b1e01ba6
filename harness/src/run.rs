//! The whole way through, from a plan to a report, and nothing left behind.

use crate::check::cases::Before;
use crate::check::{self, Target};
use crate::client::{ClientError, Definition};
use crate::couchdb::{CouchDbError, Databases};
use crate::deploy::{Administration, DeployError, Package};
use crate::interrupt::Interrupt;
use crate::options::{Plan, TlsMode};
use crate::report::Report;
use crate::report::evidence::Evidence;
use crate::report::timeline::Timeline;
use crate::runtime::{ChaincodePlacement, ChaincodeSpec, Death, Placed, Running, Runtime, RuntimeError};
use ccaas_builder::connection::Connection;
use ccaas_builder::package::{self, PackageError, package_id};
use fabric_network::bundle::{Bundle, File};
use fabric_network::identity::Validity;
use fabric_network::render::{RenderError, RenderOptions, render};
use fabric_network::topology::{Channel, NodeKind};
use futures::future::try_join_all;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Name of the chaincode's server, and in its definition unless the cases say otherwise.
pub const CHAINCODE: &str = "asset-transfer";
/// The name of the step that ends with the first query's answer.
pub const FIRST_QUERY: &str = "first query";

/// How long certificates are valid: a year.
const LIFETIME: Duration = Duration::from_hours(365 * 24);

/// What came of a run that was finished.
#[derive(Debug)]
pub struct Finished {
    /// The cases.
    pub report: Report,
    /// From the first step to the first query's answer.
    pub to_first_query: Duration,
}

/// A run that could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The nodes can't be placed or started.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A CouchDB can't be used.
    #[error(transparent)]
    CouchDb(#[from] CouchDbError),
    /// The files can't be made.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The package can't be made.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The chaincode can't be deployed.
    #[error("the chaincode can't be deployed")]
    Deploy(#[from] DeployError),
    /// The chaincode does not answer.
    #[error("the first query failed")]
    FirstQuery(#[source] ClientError),
    /// The gateway can't endorse.
    #[error("the chaincode is committed, but its transactions can't be endorsed")]
    Endorsers(#[source] ClientError),
    /// It went wrong after a node or server had ended by itself.
    #[error("{}", .deaths.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Died {
        /// Who ended, and how.
        deaths: Vec<Death>,
        /// What could not be done then.
        #[source]
        source: Box<RunError>,
    },
    /// A signal came.
    #[error("ended by {0}")]
    Interrupted(&'static str),
}

/// Runs the plan once, or until it is interrupted. Dropping the future ends whatever was started.
///
/// What is worth keeping is put into `evidence`, whatever the end.
///
/// # Errors
///
/// What kept the run from being finished; by then everything that was started is gone.
pub async fn run(
    plan: &Plan,
    runtime: &Runtime,
    timeline: &Timeline,
    evidence: &mut Evidence,
    interrupt: &Interrupt,
) -> Result<Finished, RunError> {
    if plan.couchdb.is_empty() {
        return run_network(plan, runtime, timeline, evidence, interrupt).await;
    }
    let reaches = |address| runtime.reaches(address);
    let claim = Databases::claim(&plan.couchdb, &plan.topology, plan.timeout, reaches);
    let databases = unless(interrupt, timeline.step("claim each CouchDB", claim)).await??;
    let finished = Box::pin(run_network(plan, runtime, timeline, evidence, interrupt)).await;
    let removed = timeline.step("remove the channels' databases", databases.release()).await;
    let left: Vec<String> = removed.err().unwrap_or_default().iter().map(crate::report::error_text).collect();
    match finished {
        Ok(mut finished) => {
            finished.report.left.extend(left);
            Ok(finished)
        }
        Err(error) => {
            warn_of(&left);
            Err(error)
        }
    }
}

/// Warns of what is left behind, for a run that has no report to tell it in.
fn warn_of(left: &[String]) {
    for left in left {
        tracing::warn!("left behind: {left}");
    }
}

async fn run_network(
    plan: &Plan,
    runtime: &Runtime,
    timeline: &Timeline,
    evidence: &mut Evidence,
    interrupt: &Interrupt,
) -> Result<Finished, RunError> {
    let names = server_names(plan);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let place = timeline.step("place the nodes", runtime.place(&plan.topology, &names));
    let placed = unless(interrupt, place).await??;
    let (bundle, deployments) =
        timeline.step("render the network and the package", async { prepare(plan, runtime, &placed) }).await?;
    evidence.add_configuration(&bundle);
    for (Deployment { package, .. }, name) in deployments.iter().zip(&names) {
        let directory = if *name == CHAINCODE { "package".to_owned() } else { format!("package-of-{name}") };
        evidence.add(format!("{directory}/connection.json"), package.connection.clone());
        evidence.add(format!("{directory}/{}.tar.gz", package.id.replace(':', "-")), package.bytes.clone());
    }

    let servers: Vec<_> = deployments.iter().map(|deployment| deployment.server.clone()).collect();
    let start = timeline.step("start the nodes and the chaincode server", placed.start(&bundle, &servers));
    let running = unless(interrupt, start).await?.map_err(|error| {
        evidence.add_logs(error.logs);
        *error.source
    })?;
    let checks = Box::pin(deploy_and_check(plan, &bundle, &deployments, &running, timeline));
    let finished = unless(interrupt, checks).await.and_then(|finished| finished);
    let deaths = running.deaths().await;
    evidence.add_logs(running.logs().await);
    let left = timeline.step("stop, and remove everything", running.stop()).await.err().unwrap_or_default();
    let left: Vec<String> = left.iter().map(crate::report::error_text).collect();
    if finished.is_err() {
        warn_of(&left);
    }
    match finished {
        Ok(finished) => Ok(Finished { report: Report { deaths, left, ..finished.report }, ..finished }),
        Err(error) if deaths.is_empty() => Err(error),
        Err(error) => Err(RunError::Died { deaths, source: Box::new(error) }),
    }
}

/// Does the work, or drops it when a signal comes, which ends what it had started.
async fn unless<T>(interrupt: &Interrupt, work: impl Future<Output = T>) -> Result<T, RunError> {
    tokio::select! {
        done = work => Ok(done),
        signal = interrupt.came() => Err(RunError::Interrupted(signal)),
    }
}

/// A definition, the package that it refers to, and the server of that package.
///
/// Each name of the chaincode has its own: a peer knows a chaincode server by its package, and lets
/// one that is running a transaction take part in it once only.
struct Deployment {
    definition: Definition,
    package: Package,
    server: ChaincodeSpec,
}

/// The name of each chaincode server, in the order of the definitions.
fn server_names(plan: &Plan) -> Vec<String> {
    let further = (2..).map(|number| format!("{CHAINCODE}-{number}")).take(plan.cases.chaincode.also_named.len());
    std::iter::once(CHAINCODE.to_owned()).chain(further).collect()
}

/// Everything that is known before anything runs: the network's files, the packages, the servers.
fn prepare(plan: &Plan, runtime: &Runtime, placed: &Placed) -> Result<(Bundle, Vec<Deployment>), RunError> {
    let validity = Validity::starting(SystemTime::now(), LIFETIME);
    let peers = plan.topology.nodes().filter(|node| node.kind == NodeKind::Peer).map(|node| node.name);
    let couchdb = peers.zip(plan.couchdb.iter().cloned()).collect();
    let options = RenderOptions { couchdb, ..RenderOptions::new(runtime.release(), validity) };
    let bundle = render(&plan.topology, &placed.placement, &options)?;
    let definitions = plan.cases.chaincode.definitions(CHAINCODE);
    let deployments = server_names(plan).into_iter().zip(definitions).map(|(name, definition)| {
        let place = placed.chaincodes.get(&name).ok_or(RuntimeError::NotPlaced { name: name.clone() })?;
        let package = make_package(plan.tls, &name, place, &bundle)?;
        let server = chaincode_server(plan, &name, place, &bundle, &package);
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
        tracing::debug!("{}: {}\n{environment}", server.name, server.program.display());
    }
}

fn lines(title: &str, values: &BTreeMap<String, String>) -> String {
    let lines = values.iter().map(|(name, value)| format!("\n  {name}={value}"));
    std::iter::once(title.to_owned()).chain(lines).collect()
}

async fn deploy_and_check(
    plan: &Plan,
    bundle: &Bundle,
    deployments: &[Deployment],
    running: &Running,
    timeline: &Timeline,
) -> Result<Finished, RunError> {
    let connect = Administration::connect(&plan.topology, bundle, running.nodes(), plan.timeout);
    let administration = timeline.step("connect to the nodes", connect).await?;
    let packages: Vec<&Package> = deployments.iter().map(|deployment| &deployment.package).collect();
    administration.join_and_install_all(&plan.topology, bundle, &packages, timeline).await?;
    let channels = &plan.topology.channels;
    let everywhere = || channels.iter().flat_map(|channel| deployments.iter().map(move |one| (channel, one)));
    let approve = everywhere().map(|(channel, one)| administration.approve(channel, &one.definition, &one.package));
    timeline.step("approve for each organization", try_join_all(approve)).await?;
    let check = everywhere().map(|(channel, one)| administration.check_readiness(channel, &one.definition));
    timeline.step("check the commit readiness", try_join_all(check)).await?;
    let commit = everywhere().map(|(channel, one)| administration.commit(channel, &one.definition));
    timeline.step("commit", try_join_all(commit)).await?;

    let target = target(plan, &administration, bundle)?;
    let cases = &plan.cases.cases;
    let probe = cases.first().ok_or(DeployError::Nothing { what: "case" })?;
    timeline.step(FIRST_QUERY, target.first_answer(probe)).await.map_err(RunError::FirstQuery)?;
    let to_first_query = timeline.elapsed();
    timeline
        .step("wait until the endorsers are known", target.endorsers_are_known(probe))
        .await
        .map_err(RunError::Endorsers)?;
    let cases = check::run(cases, &target, async |before| match before {
        Before::RestartChaincode => restart_chaincodes(running).await,
    });
    let cases = timeline.step("run the cases", async { Ok::<_, RunError>(cases.await) }).await?;
    Ok(Finished { report: Report { cases, ..Report::default() }, to_first_query })
}

fn target(plan: &Plan, administration: &Administration, bundle: &Bundle) -> Result<Target, RunError> {
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
        chaincode: plan.cases.chaincode.name.as_ref().map_or(CHAINCODE, |name| &name.0).to_owned(),
        couchdb: !plan.couchdb.is_empty(),
        timeout: plan.timeout,
    })
}

async fn restart_chaincodes(running: &Running) -> Result<(), String> {
    for server in running.chaincodes() {
        server.restart().await.map_err(|error| crate::report::error_text(&error))?;
    }
    Ok(())
}

/// The package: the address, the root certificate to trust, and never a key. Which key a peer shows
/// is its own environment's matter.
fn make_package(tls: TlsMode, name: &str, place: &ChaincodePlacement, bundle: &Bundle) -> Result<Package, RunError> {
    let owner = bundle.identities.peer_organizations.first().ok_or(DeployError::Nothing { what: "organization" })?;
    let connection = Connection {
        address: place.address.clone(),
        dial_timeout: "10s".to_owned(),
        tls_required: tls != TlsMode::Off,
        client_auth_required: tls == TlsMode::Mtls,
        root_cert: if tls == TlsMode::Off { String::new() } else { owner.tls_ca_pem.clone() },
        ..Connection::default()
    };
    let text = String::from_utf8_lossy(&connection.to_bytes()).into_owned();
    let label = format!("{name}_1.0");
    let content =
        package::Package { label: label.clone(), kind: "ccaas".to_owned(), connection, extra_files: BTreeMap::new() };
    let bytes = content.to_bytes()?;
    Ok(Package { id: package_id(&label, &bytes), bytes, connection: text })
}

/// The chaincode server, which trusts the client certificates of every organization's peers.
fn chaincode_server(
    plan: &Plan,
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
    let mut environment = BTreeMap::from([
        ("CHAINCODE_ID".to_owned(), package.id.clone()),
        ("CHAINCODE_SERVER_ADDRESS".to_owned(), place.listen.clone()),
        ("CHAINCODE_TLS_DISABLED".to_owned(), (plan.tls == TlsMode::Off).to_string()),
    ]);
    let mut files = BTreeMap::new();
    if let (Some(owner), true) = (organizations.first(), plan.tls != TlsMode::Off) {
        let server = &owner.chaincode_server;
        files.insert(Path::new(CERTIFICATE).to_owned(), File::public(server.certificate_pem.as_str()));
        files.insert(Path::new(KEY).to_owned(), File::private(&server.private_key_pem));
        environment.insert("CHAINCODE_TLS_CERT".to_owned(), path(CERTIFICATE));
        environment.insert("CHAINCODE_TLS_KEY".to_owned(), path(KEY));
    }
    if plan.tls == TlsMode::Mtls {
        let trusted: String = organizations.iter().map(|organization| organization.tls_ca_pem.as_str()).collect();
        files.insert(Path::new(CLIENT_CA).to_owned(), File::public(trusted));
        environment.insert("CHAINCODE_CLIENT_CA_CERT".to_owned(), path(CLIENT_CA));
    }
    let (name, program) = (name.to_owned(), plan.chaincode.clone());
    ChaincodeSpec { name, program, arguments: Vec::new(), environment, files }
}
