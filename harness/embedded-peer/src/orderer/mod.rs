//! An orderer: accepts transactions, cuts blocks and delivers them.

mod blocks;
mod broadcast;
pub(crate) mod chain;
pub mod configuration;
mod cutter;
pub(crate) mod participation;
pub(crate) mod registrar;
mod resources;
pub(crate) mod service;
mod signatures;
pub(crate) mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};

use fabric_network::release::Release;
use tokio_rustls::TlsAcceptor;

use crate::clock::Clock;
use crate::node::{NodeError, NodeFiles, Parts};
use crate::signer::Signer;
use crate::trace::{EventKind, Tracer};
use configuration::OrdererConfiguration;
use registrar::{Membership, Ordering};

const CONFIGURATION: &str = "orderer.yaml";

/// An orderer.
#[derive(Debug)]
pub struct Orderer {
    /// Its full name, such as `orderer.example.com`.
    pub name: String,
    /// The MSP ID of its organization.
    pub msp_id: String,
    /// Its address for others, `HOST:PORT`.
    pub endpoint: String,
    /// Its identity and key.
    pub signer: Signer,
    /// Its settings from orderer.yaml.
    pub configuration: OrdererConfiguration,
    /// The Fabric release that it behaves as.
    pub release: Release,
    /// Its clock.
    pub clock: Clock,
    /// Its name in events.
    label: Arc<str>,
    tracer: Tracer,
    tls_certificate: Vec<u8>,
    memberships: RwLock<BTreeMap<String, Membership>>,
    ordering: Ordering,
    stopped: AtomicBool,
}

impl Orderer {
    pub(crate) fn new(parts: &Parts<'_>, ordering: &Ordering) -> Result<Self, NodeError> {
        let Parts { spec, files, .. } = parts;
        let path = Path::new(CONFIGURATION);
        let unreadable = |reason| NodeError::Configuration { path: spec.directory.join(path), reason };
        let configuration = OrdererConfiguration::from_orderer_yaml(files.text(path)?).map_err(unreadable)?;
        let msp = &configuration.general.local_msp_dir;
        Ok(Self {
            name: spec.name.clone(),
            label: spec.name.as_str().into(),
            tracer: parts.tracer.clone(),
            msp_id: spec.msp_id.clone(),
            endpoint: spec.placement.endpoint(spec.placement.ports.grpc),
            signer: files.signer(&spec.msp_id, msp, parts.randomness.clone())?,
            release: parts.release,
            clock: parts.clock.clone(),
            tls_certificate: files.bytes(&configuration.general.tls.certificate)?.to_vec(),
            memberships: RwLock::default(),
            ordering: ordering.clone(),
            stopped: AtomicBool::default(),
            configuration,
        })
    }

    /// Whether it is stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Stops or starts its part in the network, other than its listeners. A stopped one does not count for a quorum.
    pub(crate) fn set_stopped(&self, is_stopped: bool) {
        self.stopped.store(is_stopped, std::sync::atomic::Ordering::Relaxed);
        for membership in self.memberships().into_values() {
            match membership.number {
                Some(number) if is_stopped => membership.chain.leave(number),
                Some(number) => membership.chain.join(number, self.signer.clone()),
                None => {}
            }
        }
    }

    /// Emits an event.
    pub(crate) fn trace(&self, kind: impl FnOnce() -> EventKind) {
        self.tracer.emit(&self.label, kind);
    }

    pub(crate) fn tls(&self, files: NodeFiles<'_>) -> Result<TlsAcceptor, NodeError> {
        let tls = &self.configuration.general.tls;
        let roots = tls.client_auth_required.then_some(&*tls.client_root_cas);
        files.tls(&tls.certificate, &tls.private_key, roots, b"h2")
    }

    /// The TLS of the operations service.
    pub(crate) fn operations_tls(&self, files: NodeFiles<'_>) -> Result<TlsAcceptor, NodeError> {
        let tls = &self.configuration.operations.tls;
        files.operations_tls(&tls.certificate, &tls.private_key, &tls.client_root_cas, tls.client_auth_required)
    }

    /// The TLS of the channel participation API.
    pub(crate) fn admin_tls(&self, files: NodeFiles<'_>) -> Result<TlsAcceptor, NodeError> {
        let tls = &self.configuration.admin.tls;
        let roots = tls.client_auth_required.then_some(&*tls.client_root_cas);
        files.tls(&tls.certificate, &tls.private_key, roots, b"http/1.1")
    }
}
