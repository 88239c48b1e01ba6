//! Tests of `_lifecycle` functions on networks of two organizations.

mod definitions;
mod refusals;

use fabric_network::topology::Topology;
use prost::Message;

use super::*;
use crate::ledger::Ledger;
use crate::testing::lifecycle::call;
use crate::testing::transaction::{commit_sets, ledger};
use crate::testing::{bundle, config};

pub(super) struct Network {
    pub(super) config: ChannelConfig,
    pub(super) ledger: Ledger,
}

impl Network {
    pub(super) fn new() -> Self {
        let bundle = bundle(&Topology::duo());
        let config = config(&bundle);
        Self { ledger: ledger(&bundle, &config), config }
    }

    /// A call of which only the response matters.
    pub(super) fn query<R: Message + Default>(&self, function: &str, argument: &impl Message) -> R {
        let (answer, _) = call(&self.ledger, &self.config, "Org1MSP", function, argument).unwrap();
        R::decode(&*answer).unwrap()
    }

    /// A call that is committed. Its private writes stay private.
    pub(super) fn submit(&self, msp_id: &str, function: &str, argument: &impl Message) {
        let (_, simulated) = call(&self.ledger, &self.config, msp_id, function, argument).unwrap();
        if let Some(private) = simulated.private {
            let id = format!("committed at {}", self.ledger.height());
            self.ledger.transient().put(&id, self.ledger.height(), private);
        }
        commit_sets(&self.ledger, &simulated.public);
    }

    pub(super) fn refused(&self, msp_id: &str, function: &str, argument: &impl Message) -> Failure {
        call(&self.ledger, &self.config, msp_id, function, argument).unwrap_err()
    }
}
