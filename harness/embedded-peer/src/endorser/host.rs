//! The peer's services for a running chaincode: collections, and calls of other chaincodes.

use std::sync::{Arc, Mutex};

use fabric_protos::protos::{ChaincodeInput, ChaincodeMessage};
use futures::future::BoxFuture;

use super::invocation::{Failure, Invocation};
use crate::chaincode::{CollectionAccess, Host};
use crate::channel::{PeerChannel, is_system};
use crate::ledger::{SharedSimulation, lock};
use crate::peer::{Peer, access};
use crate::policy::SignedData;
use crate::proposal::UnpackedProposal;

/// The host of the chaincodes in a proposal.
pub(super) struct ProposalHost {
    peer: Arc<Peer>,
    channel: Arc<PeerChannel>,
    proposal: Arc<UnpackedProposal>,
    simulation: SharedSimulation,
}

impl ProposalHost {
    pub(super) fn new(invocation: &Invocation<'_>) -> Self {
        Self {
            peer: Arc::clone(invocation.peer),
            channel: Arc::clone(invocation.channel),
            proposal: Arc::clone(invocation.proposal),
            simulation: Arc::clone(invocation.simulation),
        }
    }

    async fn call(
        &self,
        target: &str,
        input: ChaincodeInput,
        simulation: SharedSimulation,
    ) -> Result<ChaincodeMessage, String> {
        let own = self.channel.ledger.channel();
        let (chaincode, channel) = target.split_once('/').unwrap_or((target, own));
        if !is_system(chaincode) {
            let signed = SignedData {
                message: self.proposal.message.clone(),
                identity: self.proposal.creator.clone(),
                signature: self.proposal.signature.clone(),
            };
            access::check(&self.peer, "peer/ChaincodeToChaincode", channel, &signed)?;
        }
        let (joined, simulation) = if channel == own {
            (Arc::clone(&self.channel), simulation)
        } else {
            let joined = self.peer.channel(channel);
            let joined = joined.ok_or_else(|| format!("failed to find ledger for channel: {channel}"))?;
            // Calls on another channel are read-only: the simulation is dropped.
            let simulation = joined.ledger.simulate(self.proposal.transaction_id());
            (joined, Arc::new(Mutex::new(simulation)))
        };
        let found = joined.find(chaincode, &mut lock(&simulation));
        let runnable = found.map_err(|error| {
            format!(
                "execute failed: invalid invocation: [channel {channel}] failed to get chaincode container info for {chaincode}: {error}"
            )
        })?;
        let invocation =
            Invocation { peer: &self.peer, channel: &joined, proposal: &self.proposal, simulation: &simulation };
        // A recursive future must be boxed.
        let running: BoxFuture<'_, _> = Box::pin(invocation.run(chaincode, runnable, input));
        running.await.map_err(|failure| match failure {
            Failure::Invalid(error) => format!("execute failed: invalid invocation: {error}"),
            Failure::System(error) => format!("execute failed: {error}"),
            Failure::Execute(error) => format!("execute failed: {}", error.reason),
        })
    }
}

impl Host for ProposalHost {
    fn collection(&self, namespace: &str, collection: &str) -> Result<CollectionAccess, String> {
        self.channel.collection_access(&self.simulation, namespace, collection, &self.proposal.creator)
    }

    fn invoke(
        &self,
        target: &str,
        input: ChaincodeInput,
        simulation: SharedSimulation,
    ) -> BoxFuture<'_, Result<ChaincodeMessage, String>> {
        let target = target.to_owned();
        Box::pin(async move { self.call(&target, input, simulation).await })
    }

    fn purge_private_data(&self) -> Result<(), String> {
        if self.channel.config().capabilities().purge_private_data() {
            return Ok(());
        }
        Err("purge private data is not enabled, channel application capability of V2_5 or later is required".to_owned())
    }
}
