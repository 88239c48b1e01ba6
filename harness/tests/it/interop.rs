//! The embedded peer and orderer under clients and chaincode that are not ours: Fabric's own
//! command-line tools, and what npm has for Node.js.
//!
//! `CCAAS_BUILDER`, `CHAINCODE_SAMPLE` and `CHAINCODE_CONFORMANCE` are built by `cargo
//! xtask test`. `FABRIC_BIN` is the directory of Fabric's programs, or they are on PATH. `NODE_PROJECT` is a
//! directory with a `node_modules` that has `@hyperledger/fabric-gateway`, `@grpc/grpc-js` and
//! `fabric-shim`.

mod node;
mod peer_tool;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use ccaas_builder::connection::Connection;
use ccaas_builder::package::{self, package_id};
use fabric_harness::runtime::embedded::EmbeddedRuntime;
use fabric_harness::runtime::{ChaincodePlacement, ChaincodeSpec, Running, Runtime, RuntimeOptions, ServerRequest};
use fabric_harness::server::ServerSource;
use fabric_network::bundle::{Bundle, File};
use fabric_network::identity::Validity;
use fabric_network::placement::NodePlacement;
use fabric_network::release::Release;
use fabric_network::render::{RenderOptions, render};
use fabric_network::topology::Topology;

/// The name of the chaincode server's place.
const SERVER: &str = "basic";

pub(super) fn program(variable: &str) -> PathBuf {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set")).into()
}

/// A network of two organizations with a chaincode server, and the files that a client needs.
pub(super) struct Interop {
    scratch: tempfile::TempDir,
    running: Option<Running>,
    nodes: BTreeMap<String, NodePlacement>,
    /// The chaincode's package.
    pub(super) package_id: String,
}

impl Interop {
    /// `chaincode` makes the server out of its place and the package's ID.
    pub(super) async fn start(
        release: Release,
        chaincode: impl FnOnce(&ChaincodePlacement, &Bundle, &str) -> ChaincodeSpec,
        has_tls: bool,
    ) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let runs = scratch.path().join("runs");
        std::fs::create_dir(&runs).unwrap();
        let options = RuntimeOptions { parent: runs, ..RuntimeOptions::new(program("CCAAS_BUILDER")) };
        let topology = Topology::duo();
        let runtime = EmbeddedRuntime::new(options, release);
        let placed = runtime.place(&topology, &[ServerRequest::new(SERVER, &ServerSource::default())]).await.unwrap();
        let validity = Validity::starting(SystemTime::now(), Duration::from_hours(24));
        let bundle = render(&topology, &placed.placement, &RenderOptions::new(runtime.release(), validity)).unwrap();
        bundle.write_to(&scratch.path().join("bundle")).unwrap();

        let place = &placed.chaincodes[SERVER];
        let connection = Connection {
            address: place.address.clone(),
            dial_timeout: "10s".to_owned(),
            tls_required: has_tls,
            root_cert: if has_tls { bundle.identities.peer_organizations[0].tls_ca_pem.clone() } else { String::new() },
            ..Connection::default()
        };
        let label = "basic_1.0".to_owned();
        let content = package::Package {
            label: label.clone(),
            kind: "ccaas".to_owned(),
            connection,
            extra_files: BTreeMap::new(),
        };
        let bytes = content.to_bytes().unwrap();
        std::fs::write(scratch.path().join("basic.tar.gz"), &bytes).unwrap();
        let package_id = package_id(&label, &bytes);
        let server = chaincode(place, &bundle, &package_id);
        let nodes = placed.placement.nodes.clone();
        let running = placed.start(&bundle, &[server]).await.unwrap();
        Self { scratch, running: Some(running), nodes, package_id }
    }

    pub(super) async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await.unwrap();
        }
    }

    pub(super) fn package(&self) -> PathBuf {
        self.scratch.path().join("basic.tar.gz")
    }

    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A file or directory of the bundle.
    pub(super) fn file(&self, path: &str) -> String {
        let path = self.scratch.path().join("bundle").join(path);
        assert!(path.exists(), "{} is not in the bundle", path.display());
        path.display().to_string()
    }

    /// Where a node answers.
    pub(super) fn address(&self, node: &str) -> String {
        let place = &self.nodes[node];
        place.endpoint(place.ports.grpc)
    }

    /// Where an orderer is administrated.
    pub(super) fn admin(&self, orderer: &str) -> String {
        let place = &self.nodes[orderer];
        place.endpoint(place.ports.admin.unwrap())
    }
}

/// The sample chaincode, without TLS.
pub(super) fn sample(place: &ChaincodePlacement, _: &Bundle, package_id: &str) -> ChaincodeSpec {
    ours("CHAINCODE_SAMPLE", place, package_id)
}

/// The chaincode that makes every call there is, without TLS.
pub(super) fn conformance(place: &ChaincodePlacement, _: &Bundle, package_id: &str) -> ChaincodeSpec {
    ours("CHAINCODE_CONFORMANCE", place, package_id)
}

fn ours(variable: &str, place: &ChaincodePlacement, package_id: &str) -> ChaincodeSpec {
    ChaincodeSpec {
        name: SERVER.to_owned(),
        source: ServerSource::Program(program(variable)),
        arguments: Vec::new(),
        environment: BTreeMap::from([
            ("CHAINCODE_ID".to_owned(), package_id.to_owned()),
            ("CHAINCODE_SERVER_ADDRESS".to_owned(), place.listen.clone()),
            ("CHAINCODE_TLS_DISABLED".to_owned(), "true".to_owned()),
        ]),
        files: BTreeMap::<PathBuf, File>::new(),
    }
}

/// Runs a command to its end, without blocking the nodes, which live in this process.
pub(super) async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Standard output and error, of a command that must end with this status.
pub(super) fn text(output: &Output, succeeds: bool) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.success(), succeeds, "{text}");
    text
}
