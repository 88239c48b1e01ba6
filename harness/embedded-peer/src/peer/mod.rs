//! A peer: its identity, configuration and channels.
//!
//! It serves blocks and snapshot requests itself. Its other services are `endorser`, `gateway` and `discovery`.

pub(crate) mod access;
mod blocks;
pub(crate) mod calls;
pub mod configuration;
pub(crate) mod deliver;
pub(crate) mod distribution;
mod events;
mod members;
mod nodes;
pub(crate) mod snapshots;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::SystemTime;

use fabric_network::release::Release;
use fabric_protos::common::Block;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::chaincode::{ChaincodeConfig, ChaincodeSupport};
use crate::channel::PeerChannel;
use crate::clock::Clock;
use crate::faults::Faults;
use crate::msp::MspManager;
use crate::node::{Lifetime, NodeError, NodeFiles, Parts};
use crate::orderer::registrar::Ordering;
use crate::signer::Signer;
use crate::trace::{EventKind, Tracer};
use configuration::PeerConfiguration;
pub(crate) use members::{Member, members};
pub use nodes::Nodes;

const CONFIGURATION: &str = "core.yaml";

/// A peer.
pub struct Peer {
    /// Its full name, such as `peer0.org1.example.com`.
    pub name: String,
    /// The MSP ID of its organization.
    pub msp_id: String,
    /// Its address for others, `HOST:PORT`.
    pub endpoint: String,
    /// Its identity and key.
    pub signer: Signer,
    /// Its settings from core.yaml.
    pub configuration: PeerConfiguration,
    /// The Fabric release that it behaves as.
    pub release: Release,
    /// Its organization's MSP, from its files.
    pub local_msp: MspManager,
    /// Its clock.
    pub clock: Clock,
    /// When it was started, which its gossip messages contain.
    pub(crate) started: SystemTime,
    /// Its chaincodes.
    pub support: ChaincodeSupport,
    /// Receives its events.
    pub tracer: Tracer,
    /// Faults to inject.
    pub faults: Faults,
    channels: RwLock<BTreeMap<String, Arc<PeerChannel>>>,
    /// Its name in events.
    label: Arc<str>,
    nodes: Weak<Nodes>,
    ordering: Ordering,
    life: Lifetime,
    /// Whether it is stopped: it takes no blocks, and the other nodes do not see it.
    stopped: watch::Sender<bool>,
}

impl Peer {
    pub(crate) fn new(parts: &Parts<'_>, ordering: &Ordering, nodes: &Weak<Nodes>) -> Result<Self, NodeError> {
        let Parts { spec, files, .. } = parts;
        let path = Path::new(CONFIGURATION);
        let unreadable = |reason| NodeError::Configuration { path: spec.directory.join(path), reason };
        let text = files.text(path)?;
        let configuration = PeerConfiguration::from_core_yaml(text).map_err(&unreadable)?;
        let directory = &spec.placement.config_dir;
        let mut environment = spec.full_environment();
        if let Some(temporary) = parts.temporary {
            environment.insert("TMPDIR".to_owned(), temporary.display().to_string());
        }
        let mut chaincode = ChaincodeConfig::from_core_yaml(text, directory, &environment)
            .map_err(|error| unreadable(error.to_string()))?;
        chaincode.release = parts.release;
        let support = ChaincodeSupport::new(&spec.name, &chaincode, parts.tracer.clone(), parts.faults.clone())
            .map_err(|source| NodeError::Directory { path: chaincode.file_system_path.clone(), source })?;
        let msp = &configuration.peer.msp_config_path;
        Ok(Self {
            name: spec.name.clone(),
            label: spec.name.as_str().into(),
            msp_id: spec.msp_id.clone(),
            endpoint: spec.placement.endpoint(spec.placement.ports.grpc),
            signer: files.signer(&spec.msp_id, msp, parts.randomness.clone())?,
            local_msp: files.local_msp(&spec.msp_id, msp)?,
            channels: RwLock::default(),
            ordering: ordering.clone(),
            release: parts.release,
            started: parts.clock.now(),
            clock: parts.clock.clone(),
            support,
            tracer: parts.tracer.clone(),
            faults: parts.faults.clone(),
            nodes: nodes.clone(),
            life: parts.life.clone(),
            stopped: watch::Sender::default(),
            configuration,
        })
    }

    /// A joined channel.
    pub fn channel(&self, name: &str) -> Option<Arc<PeerChannel>> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The names of the joined channels.
    pub fn channels(&self) -> Vec<String> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The joined channels, by name.
    pub(crate) fn joined(&self) -> BTreeMap<String, Arc<PeerChannel>> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Leaves a channel and deletes its ledger.
    pub(crate) fn forget(&self, name: &str) {
        if let Some(channel) = self.channels.write().unwrap_or_else(PoisonError::into_inner).remove(name) {
            channel.forget();
        }
    }

    /// Joins the channel of a genesis block, and starts to receive its blocks.
    ///
    /// # Errors
    ///
    /// Fabric's text.
    pub fn join(self: &Arc<Self>, name: &str, genesis: Block) -> Result<(), String> {
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        if channels.contains_key(name) {
            return Err(format!(
                "cannot create ledger from genesis block: ledger [{name}] already exists with state [ACTIVE]"
            ));
        }
        let channel =
            self.begin(genesis).map_err(|reason| format!("cannot create ledger from genesis block: {reason}"))?;
        self.trace(|| EventKind::Note(format!("joined the channel {name}")));
        let channel = Arc::new(channel);
        self.life.spawn(Arc::clone(self).follow(Arc::clone(&channel)));
        channels.insert(name.to_owned(), channel);
        Ok(())
    }

    /// Whether it is stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Stops or starts its part in the network, other than its listeners. A block that it is committing is complete
    /// when this returns.
    pub(crate) async fn set_stopped(&self, is_stopped: bool) {
        self.stopped.send_replace(is_stopped);
        for channel in self.joined().into_values() {
            drop(channel.pause().await);
        }
    }

    /// Emits an event.
    pub fn trace(&self, kind: impl FnOnce() -> EventKind) {
        self.tracer.emit(&self.label, kind);
    }

    /// The nodes of its network; `None` once the network has been dropped.
    pub fn nodes(&self) -> Option<Arc<Nodes>> {
        self.nodes.upgrade()
    }

    /// Runs a task that stops with the network.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.life.spawn(work);
    }

    /// The TLS of the operations service.
    pub(crate) fn operations_tls(&self, files: NodeFiles<'_>) -> Result<TlsAcceptor, NodeError> {
        let tls = &self.configuration.operations.tls;
        files.operations_tls(&tls.cert.file, &tls.key.file, &tls.client_root_cas.files, tls.client_auth_required)
    }

    pub(crate) fn tls(&self, files: NodeFiles<'_>) -> Result<TlsAcceptor, NodeError> {
        let tls = &self.configuration.peer.tls;
        let roots = tls.client_auth_required.then_some(&*tls.client_root_cas.files);
        files.tls(&tls.cert.file, &tls.key.file, roots, b"h2")
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Peer").field("name", &self.name).finish_non_exhaustive()
    }
}
