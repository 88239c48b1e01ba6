//! A network with its chaincode in a process of its own, and that process as its parent sees it.
//!
//! The process prints what a client needs in a line of JSON, and ends when its input does.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, SystemTime};

use ccaas_builder::connection::Connection;
use ccaas_builder::package::{self, package_id};
use fabric_harness::client::Definition;
use fabric_harness::client::Endpoint;
use fabric_harness::console::timeline::Timeline;
use fabric_harness::deploy::{Administration, Package};
use fabric_harness::runtime::embedded::EmbeddedRuntime;
use fabric_harness::runtime::process::ProcessRuntime;
use fabric_harness::runtime::{ChaincodePlacement, ChaincodeSpec, Runtime, RuntimeOptions, ServerRequest};
use fabric_harness::server::ServerSource;
use fabric_network::identity::Validity;
use fabric_network::release::Release;
use fabric_network::render::{RenderOptions, render};
use fabric_network::topology::{NodeKind, Topology};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::usage::{Usage, children};

/// Makes this program the network that is measured.
const SETTINGS: &str = "BENCH_NETWORK";
/// The chaincode's name.
pub(crate) const CHAINCODE: &str = "bench";
const BOUND: Duration = Duration::from_mins(1);

/// What a network is started with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Fabric's programs; none for embedded nodes.
    pub(crate) fabric_bin: Option<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) max_messages: u32,
}

/// What a client knows of a network.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct View {
    pub(crate) channel: String,
    pub(crate) uri: String,
    pub(crate) server_name: String,
    pub(crate) tls_ca_pem: String,
    pub(crate) msp_id: String,
    pub(crate) certificate_pem: String,
    pub(crate) private_key_pem: String,
}

/// A network's process. Dropping it ends it.
pub(crate) struct Nodes {
    child: Child,
    input: Option<ChildStdin>,
    view: View,
    counted: Vec<u32>,
}

impl Settings {
    /// What this process is to serve, if it is one that serves.
    pub(crate) fn of_this_process() -> Result<Option<Self>> {
        match std::env::var(SETTINGS) {
            Ok(settings) => Ok(Some(serde_json::from_str(&settings)?)),
            Err(_) => Ok(None),
        }
    }
}

impl Nodes {
    /// Returns when the chaincode is committed.
    pub(crate) fn start(settings: &Settings) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(SETTINGS, serde_json::to_string(settings)?).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let input = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let counted = if settings.fabric_bin.is_some() {
            let nodes = |(name, number): (String, u32)| ["peer", "orderer"].contains(&&*name).then_some(number);
            children(child.id())?.into_iter().filter_map(nodes).collect()
        } else {
            vec![child.id()]
        };
        let view = serde_json::from_str(&line).map_err(|error| format!("the network did not start: {error}"));
        match view {
            Ok(view) => Ok(Self { child, input, view, counted }),
            Err(error) => {
                // It has ended by itself, or is of no use.
                let _ = child.kill();
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Of peer and orderer together.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::sum(&self.counted)
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        drop(self.input.take());
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("a network ended with {status}").into()) }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        drop(self.input.take());
        // It cleans up behind itself.
        let _ = self.child.wait();
    }
}

pub(crate) fn program(variable: &str) -> Result<PathBuf> {
    Ok(std::env::var_os(variable).ok_or_else(|| format!("{variable} is not set; run cargo xtask bench peer"))?.into())
}

/// Runs a network until the input ends.
pub(crate) async fn serve(settings: &Settings) -> Result<()> {
    let options = RuntimeOptions::new(program("CCAAS_BUILDER")?);
    let runtime: Box<dyn Runtime> = match &settings.fabric_bin {
        Some(directory) => Box::new(ProcessRuntime::find(options, Some(directory)).await?),
        None => Box::new(EmbeddedRuntime::new(options, Release::V3_1)),
    };
    let mut topology = Topology::solo();
    topology.ordering.batch.timeout = settings.timeout;
    topology.ordering.batch.max_messages = settings.max_messages;
    let source = ServerSource::Program(program("CHAINCODE_CONFORMANCE")?);
    let placed = runtime.place(&topology, &[ServerRequest::new(CHAINCODE, &source)]).await?;
    let validity = Validity::starting(SystemTime::now(), Duration::from_hours(24));
    let bundle = render(&topology, &placed.placement, &RenderOptions::new(runtime.release(), validity))?;
    let (package, server) = chaincode(&placed.chaincodes[CHAINCODE], source)?;
    let running = placed.start(&bundle, &[server]).await?;

    let administration = Administration::connect(&topology, &bundle, running.nodes(), BOUND).await?;
    administration.join_and_install(&topology, &bundle, &package, &Timeline::begin(true)).await?;
    let channel = &topology.channels[0];
    let definition = Definition::new(CHAINCODE, "1.0");
    administration.approve(channel, &definition, &package).await?;
    administration.commit(channel, &definition).await?;

    let peer = running.nodes().iter().find(|node| node.kind == NodeKind::Peer).ok_or("no peer")?;
    let user = &bundle.identities.peer_organizations[0].users[0];
    let Endpoint { uri, server_name, tls_ca_pem } = peer.grpc.clone();
    let view = View {
        channel: channel.name.clone(),
        uri,
        server_name,
        tls_ca_pem,
        msp_id: user.msp_id.clone(),
        certificate_pem: user.certificate_pem.clone(),
        private_key_pem: user.private_key_pem.as_pem().to_owned(),
    };
    println!("{}", serde_json::to_string(&view)?);
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    running.stop().await.map_err(|left| left.first().map_or_else(String::new, ToString::to_string))?;
    Ok(())
}

/// The chaincode that makes every call there is, without TLS.
fn chaincode(place: &ChaincodePlacement, source: ServerSource) -> Result<(Package, ChaincodeSpec)> {
    let connection = Connection { address: place.address.clone(), ..Connection::default() };
    let text = String::from_utf8_lossy(&connection.to_bytes()).into_owned();
    let label = format!("{CHAINCODE}_1.0");
    let content =
        package::Package { label: label.clone(), kind: "ccaas".to_owned(), connection, extra_files: BTreeMap::new() };
    let bytes = content.to_bytes()?;
    let id = package_id(&label, &bytes);
    let environment = [
        ("CHAINCODE_ID", id.as_str()),
        ("CHAINCODE_SERVER_ADDRESS", &place.listen),
        ("CHAINCODE_TLS_DISABLED", "true"),
    ];
    let server = ChaincodeSpec {
        name: CHAINCODE.to_owned(),
        source,
        environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..ChaincodeSpec::default()
    };
    Ok((Package { bytes, id, connection: text, organization: None }, server))
}
