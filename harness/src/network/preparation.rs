//! Everything that is known before anything runs: the network's files, the packages and the servers.
//!
//! Pure, except for the system's time and randomness.

use super::error::RunError;
use crate::check::definition::ChaincodeSection;
use crate::check::own_package::{Content, PeerOfRun, Supplied};
use crate::check::package_verdict::{PackageReport, evaluate};
use crate::client::Definition;
use crate::deploy::{DeployError, Package};
use crate::plan::NetworkPlan;
use crate::runtime::{ChaincodePlacement, ChaincodeSpec, Placed, Runtime, RuntimeError, ServerRequest};
use crate::server::{self, Server, TlsMode};
use ccaas_builder::connection::{Connection, Field};
use ccaas_builder::package::{self, package_id};
use ccaas_builder::{config, template};
use fabric_network::bundle::{Bundle, File};
use fabric_network::identity::{OrganizationIdentities, Validity};
use fabric_network::render::{RenderOptions, render};
use fabric_network::topology::{NodeKind, Topology};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How long certificates are valid: a year.
const LIFETIME: Duration = Duration::from_hours(365 * 24);

/// A definition, a package, and the server of that package.
///
/// Each name of the chaincode has its own, because a peer identifies a server by its package, and a
/// server can take part in a transaction only once. With a server per organization, each of them has its own too.
#[derive(Debug)]
pub(super) struct Deployment {
    pub(super) definition: Definition,
    pub(super) package: Package,
    pub(super) server: ChaincodeSpec,
}

/// A chaincode server of a plan.
#[derive(Debug, Clone)]
pub(super) struct PlannedServer {
    /// The definition's name, with the organization's after a dot if the server is only for it.
    name: String,
    definition: Definition,
    /// The MSP ID of its organization; `None` if all share it.
    organization: Option<String>,
}

/// The chaincode servers of a plan: for each definition one, or one for each organization with peers.
pub(super) fn planned_servers(plan: &NetworkPlan) -> Vec<PlannedServer> {
    let with_peers = plan.topology.organizations.iter().filter(|organization| !organization.peers.is_empty());
    let owners: Vec<_> = if plan.server.per_organization { with_peers.map(Some).collect() } else { vec![None] };
    let planned = |definition: Definition| {
        owners.iter().map(move |owner| PlannedServer {
            name: owner.map_or_else(|| definition.name.clone(), |owner| format!("{}.{}", definition.name, owner.name)),
            definition: definition.clone(),
            organization: owner.map(|owner| owner.msp_id.clone()),
        })
    };
    plan.chaincode.definitions().into_iter().flat_map(planned).collect()
}

/// The chaincode servers to place.
pub(super) fn server_requests<'a>(plan: &'a NetworkPlan, servers: &'a [PlannedServer]) -> Vec<ServerRequest<'a>> {
    let request = |server: &'a PlannedServer| {
        let request = ServerRequest::new(&server.name, &plan.server.source);
        let own = plan.chaincode.own_package();
        let (addresses, names) = own.map(|own| addresses(own, &plan.chaincode, &plan.topology)).unwrap_or_default();
        ServerRequest { addresses, names, ..request }
    };
    servers.iter().map(request).collect()
}

/// The addresses and server names that the run's peers read in the package. No addresses if one is unknown, depends
/// on the place of the server, or is supplied by the operators' peers.
fn addresses(own: &Content, chaincode: &ChaincodeSection, topology: &Topology) -> (BTreeSet<String>, BTreeSet<String>) {
    if chaincode.values.name_the_server() || chaincode.supplied_by_peers.contains(&Supplied(Field::Address)) {
        return <(BTreeSet<String>, BTreeSet<String>)>::default();
    }
    let peers = topology.nodes().filter(|node| node.kind == NodeKind::Peer);
    let values: Vec<_> = peers.map(|peer| chaincode.values.of_peer(&peer.name, "", &own.id)).collect();
    let addresses: Option<_> = values.iter().map(|values| own.text_on(values, Field::Address)).collect();
    let names = values.iter().filter_map(|values| own.text_on(values, Field::Domain)).collect();
    (addresses.unwrap_or_default(), names)
}

/// Renders the network's files, and makes the package and the specification of each server. The report is about the
/// user's package, if there is one.
pub(super) fn prepare(
    plan: &NetworkPlan,
    runtime: &dyn Runtime,
    placed: &Placed,
    servers: Vec<PlannedServer>,
) -> Result<(Bundle, Vec<Deployment>, PackageReport), RunError> {
    let seed = runtime.seed();
    let validity = seed.map_or_else(|| Validity::starting(SystemTime::now(), LIFETIME), |_| Validity::fixed());
    let peers = plan.topology.nodes().filter(|node| node.kind == NodeKind::Peer).map(|node| node.name);
    let couchdb = peers.zip(plan.couchdb.iter().cloned()).collect();
    let options = RenderOptions {
        couchdb,
        seed,
        logging: plan.logging.clone(),
        ..RenderOptions::new(runtime.release(), validity)
    };
    let mut bundle = render(&plan.topology, &placed.placement, &options)?;
    let mut report = PackageReport::default();
    let deployments = servers.into_iter().map(|PlannedServer { name, definition, organization }| {
        let place = placed.chaincodes.get(&name).ok_or_else(|| RuntimeError::NotPlaced { name: name.clone() })?;
        let connection = connection_to(place, plan.tls, owner(&bundle, organization.as_deref())?);
        let package = match plan.chaincode.own_package() {
            Some(own) => {
                let keeps_address = placed.at_package_addresses.contains(&name);
                report = configure_builders(&mut bundle, own, &plan.chaincode, &connection, keeps_address);
                let connection = text_of(&connection);
                Package { id: own.id.clone(), bytes: own.bytes.clone(), connection, organization }
            }
            None => make_package(plan, &definition, connection, organization)?,
        };
        let server = chaincode_server(plan, &name, place, &bundle, &package)?;
        Ok(Deployment { definition, package, server })
    });
    let deployments = deployments.collect::<Result<Vec<_>, RunError>>()?;
    log_configuration(&bundle, &deployments);
    Ok((bundle, deployments, report))
}

/// Logs commands and configuration, which `-vv` shows. They contain no keys.
fn log_configuration(bundle: &Bundle, deployments: &[Deployment]) {
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

/// The connection.json: the server's address and root certificate, but no key. Each peer's environment
/// names its client key.
fn connection_to(place: &ChaincodePlacement, tls: TlsMode, owner: &OrganizationIdentities) -> Connection {
    Connection {
        address: place.address.clone(),
        dial_timeout: "10s".to_owned(),
        tls_required: tls != TlsMode::Off,
        client_auth_required: tls == TlsMode::Mtls,
        root_cert: if tls == TlsMode::Off { String::new() } else { owner.tls_ca_pem.clone() },
        ..Connection::default()
    }
}

/// The organization that owns a server: the one with this MSP ID; the first one, if all share the server.
fn owner<'a>(bundle: &'a Bundle, msp_id: Option<&str>) -> Result<&'a OrganizationIdentities, DeployError> {
    let mut organizations = bundle.identities.peer_organizations.iter();
    let owner = organizations.find(|one| msp_id.is_none_or(|msp_id| one.msp_id == msp_id));
    owner.ok_or(DeployError::Nothing { what: "organization" })
}

/// Configures each peer's builder to connect an unmodified package to the server.
fn configure_builders(
    bundle: &mut Bundle,
    package: &Content,
    chaincode: &ChaincodeSection,
    connection: &Connection,
    keeps_address: bool,
) -> PackageReport {
    const SETTINGS: &str = "builder.json";
    let (mut report, mut peers) = (PackageReport::default(), BTreeMap::new());
    for peer in bundle.nodes.iter_mut().filter(|node| node.kind == NodeKind::Peer) {
        let values = chaincode.values.of_peer(&peer.name, &connection.address, &package.id);
        let on_peer = PeerOfRun { values: &values, connection, keeps_address };
        let (settings, replaced) = package.settings(&on_peer, &chaincode.supplied_by_peers);
        report.replaced.extend(replaced);
        if keeps_address {
            report.resolved.extend(package.text_on(&values, Field::Address));
        }
        let file = peer.placement.config_dir.join(SETTINGS).to_string_lossy().into_owned();
        peer.environment.insert(config::VARIABLE.to_owned(), file);
        peer.environment.insert(template::VARIABLE.to_owned(), Value::from(values.clone()).to_string());
        bundle.files.insert(peer.directory.join(SETTINGS), File::public(settings.to_string()));
        peers.insert(peer.name.clone(), values);
    }
    report.case = Some(evaluate(package, &peers, &chaincode.supplied_by_peers, connection));
    report
}

fn text_of(connection: &Connection) -> String {
    String::from_utf8_lossy(&connection.to_bytes()).into_owned()
}

fn make_package(
    plan: &NetworkPlan,
    definition: &Definition,
    connection: Connection,
    organization: Option<String>,
) -> Result<Package, RunError> {
    let text = text_of(&connection);
    let label = plan.chaincode.label(definition);
    let extra_files = plan.chaincode.indexes.files();
    let content = package::Package { label: label.clone(), kind: "ccaas".to_owned(), connection, extra_files };
    let bytes = content.to_bytes()?;
    Ok(Package { id: package_id(&label, &bytes), bytes, connection: text, organization })
}

/// The specification of a chaincode server, which trusts the peers of its organizations.
fn chaincode_server(
    plan: &NetworkPlan,
    name: &str,
    place: &ChaincodePlacement,
    bundle: &Bundle,
    package: &Package,
) -> Result<ChaincodeSpec, RunError> {
    const CERTIFICATE: &str = "server.crt";
    const KEY: &str = "server.key";
    const CLIENT_CA: &str = "client-ca.crt";
    let owner = owner(bundle, package.organization.as_deref())?;
    let clients = match package.organization {
        Some(_) => std::slice::from_ref(owner),
        None => bundle.identities.peer_organizations.as_slice(),
    };
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
    if plan.tls != TlsMode::Off {
        let identity = &owner.chaincode_server;
        files.insert(Path::new(CERTIFICATE).to_owned(), File::public(identity.certificate_pem.as_str()));
        files.insert(Path::new(KEY).to_owned(), File::private(identity.private_key_pem.as_pem()));
        values.insert(server::TLS_CERT.to_owned(), path(CERTIFICATE));
        values.insert(server::TLS_KEY.to_owned(), path(KEY));
    }
    if let [owner] = clients {
        values.insert(server::LOCAL_MSP_ID.to_owned(), owner.msp_id.clone());
    }
    if plan.tls == TlsMode::Mtls {
        let trusted: String = clients.iter().map(|organization| organization.tls_ca_pem.as_str()).collect();
        files.insert(Path::new(CLIENT_CA).to_owned(), File::public(trusted));
        values.insert(server::CLIENT_CA.to_owned(), path(CLIENT_CA));
    }
    let Server { source, arguments, environment, per_organization: _, origin: _ } = &plan.server;
    let arguments = arguments.iter().map(|argument| argument.fill(&values)).collect();
    let own: Vec<_> = environment.iter().map(|(name, value)| (name.clone(), value.fill(&values))).collect();
    values.extend(own);
    Ok(ChaincodeSpec { name: name.to_owned(), source: source.clone(), arguments, environment: values, files })
}
