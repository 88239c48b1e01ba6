//! Launches chaincodes after a commit or an install.
//!
//! A chaincode is launched as soon as it is defined, approved and installed, before its first call
//! (`core/chaincode/lifecycle/custodian.go`).

use std::sync::Arc;

use super::Peer;
use crate::channel::PeerChannel;
use crate::ledger::CheckedTransaction;
use crate::lifecycle::{self, definitions, local_definition};

/// Whether a block may have made a chaincode runnable.
pub(super) fn concerns_lifecycle(transactions: &[CheckedTransaction]) -> bool {
    let sets = transactions.iter().filter_map(|transaction| transaction.writes.as_ref());
    sets.flat_map(|sets| &sets.namespaces).any(|set| set.namespace == lifecycle::NAMESPACE)
}

impl Peer {
    /// Launches the chaincodes that are defined, approved and installed, and do not run yet.
    pub fn launch_runnable(self: &Arc<Self>) {
        for name in self.channels() {
            if let Some(channel) = self.channel(&name) {
                self.launch_runnable_on(&channel);
            }
        }
    }

    pub(super) fn launch_runnable_on(self: &Arc<Self>, channel: &PeerChannel) {
        let installed: Vec<String> = self.support.packages().list().into_iter().map(|one| one.package_id).collect();
        if installed.is_empty() {
            return;
        }
        let state = channel.ledger.state();
        for (name, _) in definitions(&state) {
            let installed = installed.iter().map(String::as_str);
            let Some(local) = local_definition(&state, &name, &self.msp_id, installed) else { continue };
            let Some(package_id) = local.package_id.filter(|_| local.approved) else { continue };
            let peer = Arc::clone(self);
            self.life.spawn(async move {
                if let Err(error) = peer.support.launch(&package_id).await {
                    tracing::warn!("{}: cannot launch chaincode {name}: {error}", peer.name);
                }
            });
        }
    }
}
