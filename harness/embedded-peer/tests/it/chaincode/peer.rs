//! The chaincode side of a peer in a temporary directory, with a ledger.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use embedded_peer::chaincode::{
    Call, ChaincodeConfig, ChaincodeSupport, CollectionAccess, ExecuteError, Executed, Host, InstallError,
};
use embedded_peer::faults::Faults;
use embedded_peer::ledger::{CheckedTransaction, Ledger, ReadWriteSets, SharedSimulation, TransactionKind};
use embedded_peer::trace::Tracer;
use fabric_protos::common::{Block, BlockData, BlockHeader, BlockMetadata};
use fabric_protos::prost::Message as _;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{ChaincodeInput, ChaincodeMessage, Proposal, Response, SignedProposal, TxValidationCode};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::future::BoxFuture;
use tempfile::TempDir;

pub(super) const CHANNEL: &str = "mychannel";
pub(super) const CHAINCODE: &str = "basic";

/// Accepts every package.
pub(super) const DETECT: &str = "exit 0";
pub(super) const BUILD: &str = "cp -r \"$1/.\" \"$3\"";
pub(super) const RELEASE: &str =
    "mkdir -p \"$2/chaincode/server\" && cp \"$1/connection.json\" \"$2/chaincode/server/\"";

pub(super) struct Peer {
    pub(super) support: ChaincodeSupport,
    pub(super) tracer: Tracer,
    pub(super) faults: Faults,
    pub(super) ledger: Ledger,
    pub(super) host: Arc<TestHost>,
    pub(super) config: ChaincodeConfig,
    directory: Arc<TempDir>,
}

/// A host that records the chaincode's requests.
#[derive(Default)]
pub(super) struct TestHost {
    pub(super) access: Mutex<BTreeMap<String, CollectionAccess>>,
    pub(super) asked: Mutex<Vec<String>>,
    pub(super) invoked: Mutex<Vec<(String, Vec<Vec<u8>>)>>,
    pub(super) refuses_purge: bool,
}

impl Host for TestHost {
    fn collection(&self, namespace: &str, collection: &str) -> Result<CollectionAccess, String> {
        self.asked.lock().unwrap().push(collection.to_owned());
        let access = self.access.lock().unwrap().get(collection).copied();
        access.ok_or_else(|| format!("collection {namespace}/{collection} could not be found"))
    }

    fn invoke(
        &self,
        target: &str,
        input: ChaincodeInput,
        _: SharedSimulation,
    ) -> BoxFuture<'_, Result<ChaincodeMessage, String>> {
        self.invoked.lock().unwrap().push((target.to_owned(), input.args.clone()));
        let ended = |kind: Type, payload: Vec<u8>| ChaincodeMessage {
            r#type: kind.into(),
            payload: payload.into(),
            ..ChaincodeMessage::default()
        };
        let result = match input.args.first().map(Vec::as_slice) {
            Some(b"refuse") => Err("execute failed: it was refused".to_owned()),
            Some(b"fail") => Ok(ended(Type::Error, b"it failed".to_vec())),
            _ => {
                let response = Response { status: 200, payload: b"called".to_vec(), ..Response::default() };
                Ok(ended(Type::Completed, response.encode_to_vec()))
            }
        };
        Box::pin(async move { result })
    }

    fn purge_private_data(&self) -> Result<(), String> {
        if self.refuses_purge {
            return Err(
                "purge private data is not enabled, channel application capability of V2_5 or later is required"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

impl Peer {
    /// A peer with the builder that releases a package's connection.json.
    pub(super) fn new() -> Self {
        Self::with(|_, _| {})
    }

    /// A peer whose builder and configuration are changed before it starts.
    pub(super) fn with(change: impl FnOnce(&Path, &mut ChaincodeConfig)) -> Self {
        let directory = Arc::new(tempfile::Builder::new().prefix("embedded-peer-test.").tempdir().unwrap());
        let builder = directory.path().join("builder");
        for (name, script) in [("detect", DETECT), ("build", BUILD), ("release", RELEASE)] {
            program(&builder, name, script);
        }
        let temporary = directory.path().join("tmp");
        fs::create_dir(&temporary).unwrap();
        let environment = BTreeMap::from([("TMPDIR".to_owned(), temporary.display().to_string())]);
        let yaml = format!(
            "peer: {{fileSystemPath: data}}\n\
             chaincode:\n  installTimeout: 60s\n  executetimeout: 60s\n  externalBuilders: [{{name: test, path: {}}}]\n\
             \x20 runtimeParams: {{useWriteBatch: true, useGetMultipleKeys: true}}\n",
            builder.display()
        );
        let mut config = ChaincodeConfig::from_core_yaml(&yaml, directory.path(), &environment).unwrap();
        change(&builder, &mut config);
        Self::start(directory, config)
    }

    fn start(directory: Arc<TempDir>, config: ChaincodeConfig) -> Self {
        let (tracer, faults) = (Tracer::new(), Faults::new());
        let support = ChaincodeSupport::new("peer0", &config, tracer.clone(), faults.clone()).unwrap();
        let (ledger, host) = (Ledger::new(CHANNEL), Arc::default());
        Self { support, tracer, faults, ledger, host, config, directory }
    }

    /// A new peer in the same directory.
    pub(super) fn restarted(self, change: impl FnOnce(&mut ChaincodeConfig)) -> Self {
        let Self { directory, mut config, support, .. } = self;
        drop(support);
        change(&mut config);
        Self::start(directory, config)
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// The files of a directory of the peer; empty if it does not exist.
    pub(super) fn files(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The directory of a package's build.
    pub(super) fn build_directory(package_id: &str) -> String {
        format!("data/externalbuilder/builds/{}", package_id.replace(':', "-"))
    }

    pub(super) async fn install(&self, package: &Bytes) -> Result<String, InstallError> {
        self.support.install(package.clone()).await.map(|installed| installed.package_id)
    }

    /// Installs a chaincode with this connection.json.
    pub(super) async fn connected_to(&self, connection: &str) -> String {
        let package = package("f1", &[("connection.json", connection)]);
        self.install(&package).await.expect("the package could not be installed")
    }

    /// Prepares a transaction; also returns its simulation.
    pub(super) fn call(&self, package_id: &str, transaction_id: &str) -> (Call, SharedSimulation) {
        let simulation = Arc::new(Mutex::new(self.ledger.simulate(transaction_id)));
        let call = Call {
            channel: CHANNEL.to_owned(),
            transaction_id: transaction_id.to_owned(),
            chaincode: CHAINCODE.to_owned(),
            package_id: package_id.to_owned(),
            input: ChaincodeInput { args: vec![b"go".to_vec()], ..ChaincodeInput::default() },
            is_init: false,
            signed_proposal: SignedProposal { proposal_bytes: b"proposal".to_vec(), signature: b"signature".to_vec() },
            proposal: Proposal::default(),
            simulation: simulation.clone(),
            host: self.host.clone(),
        };
        (call, simulation)
    }

    pub(super) async fn execute(&self, package_id: &str, transaction_id: &str) -> Result<Executed, ExecuteError> {
        self.support.execute(self.call(package_id, transaction_id).0).await
    }

    /// Executes a transaction in a separate task.
    pub(super) fn executing(
        &self,
        package_id: &str,
        transaction_id: &str,
    ) -> tokio::task::JoinHandle<Result<Executed, ExecuteError>> {
        let (support, call) = (self.support.clone(), self.call(package_id, transaction_id).0);
        tokio::spawn(async move { support.execute(call).await })
    }

    /// Commits these keys and values of the chaincode.
    pub(super) fn commit<'a>(&self, values: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
        let number = self.ledger.height();
        let id = format!("commit{number}");
        let mut simulation = self.ledger.simulate(&id);
        for (key, value) in values {
            simulation.set_state(CHAINCODE, key, value.to_vec()).unwrap();
        }
        let simulated = simulation.finish().unwrap();
        let writes = Arc::new(ReadWriteSets::parse(&simulated.public).unwrap());
        let header =
            BlockHeader { number, previous_hash: self.ledger.info().current_block_hash, data_hash: Vec::new() };
        let block = Block {
            header: Some(header),
            data: Some(BlockData { data: vec![Vec::new()] }),
            metadata: Some(BlockMetadata { metadata: vec![Vec::new(); 5] }),
        };
        let transaction = CheckedTransaction {
            id,
            code: TxValidationCode::Valid,
            writes: Some(writes),
            kind: TransactionKind::Endorser,
            event: None,
        };
        self.ledger.commit(block, vec![transaction], &()).unwrap();
    }
}

/// Writes a builder's program.
pub(super) fn program(builder: &Path, name: &str, script: &str) {
    let directory = builder.join("bin");
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A chaincode package with these files in its code.
pub(super) fn package(label: &str, files: &[(&str, &str)]) -> Bytes {
    let mut code = tar::Builder::new(Vec::new());
    for (name, content) in files {
        append(&mut code, name, content.as_bytes(), 0o640);
    }
    package_of(&format!(r#"{{"type":"ccaas","label":"{label}"}}"#), &compressed(&code.into_inner().unwrap()))
}

/// A package with this metadata and code.
pub(super) fn package_of(metadata: &str, code: &[u8]) -> Bytes {
    let mut outer = tar::Builder::new(Vec::new());
    append(&mut outer, "metadata.json", metadata.as_bytes(), 0o644);
    append(&mut outer, "code.tar.gz", code, 0o644);
    compressed(&outer.into_inner().unwrap()).into()
}

pub(super) fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, name, content).unwrap();
}

pub(super) fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// Waits until a condition is true.
pub(super) async fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_true() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("timed out waiting until {what}");
}

/// A peer and a chaincode's server that has registered.
pub(super) struct Connected {
    pub(super) peer: Peer,
    /// Keeps the server running.
    _server: super::server::ChaincodeProgram,
    pub(super) stream: super::server::Stream,
    pub(super) package_id: String,
}

impl Connected {
    pub(super) async fn new() -> Self {
        Self::with(Peer::new()).await
    }

    pub(super) async fn with(peer: Peer) -> Self {
        let mut server = super::server::ChaincodeProgram::plain().await;
        let connection = serde_json::json!({ "address": server.address.to_string() });
        let package_id = peer.connected_to(&connection.to_string()).await;
        let (support, id) = (peer.support.clone(), package_id.clone());
        let launching = tokio::spawn(async move { support.launch(&id).await });
        let stream = server.register(&package_id).await;
        launching.await.unwrap().unwrap();
        Self { peer, _server: server, stream, package_id }
    }

    /// Starts a transaction and receives its message on the chaincode's stream.
    pub(super) async fn begin(&mut self, transaction_id: &str) -> Begun {
        let (call, simulation) = self.peer.call(&self.package_id, transaction_id);
        self.begin_call(call, simulation).await
    }

    pub(super) async fn begin_call(&mut self, call: Call, simulation: SharedSimulation) -> Begun {
        let support = self.peer.support.clone();
        let executing = tokio::spawn(async move { support.execute(call).await });
        let call = self.stream.next().await;
        Begun { executing, simulation, call }
    }
}

/// A transaction that the chaincode has received.
pub(super) struct Begun {
    pub(super) executing: tokio::task::JoinHandle<Result<Executed, ExecuteError>>,
    pub(super) simulation: SharedSimulation,
    pub(super) call: fabric_protos::protos::ChaincodeMessage,
}
