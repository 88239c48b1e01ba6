//! The ledger that a test creates, and the transactions that it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fabric_primitives::limits::NONCE_BYTES;

use super::identity::MockIdentity;
use super::peer::{self, Peer, Proposal};
use super::simulation::Simulation;
use super::transaction::{CHAINCODE, Simulated};
use super::world::{CommitError, World};
use crate::chaincode::{Chaincode, DynChaincode};
use crate::protocol::Features;

/// A channel with chaincodes and a ledger.
///
/// ```
/// # use chaincode_shim::mock::MockLedger;
/// # use chaincode_shim::{Contract, Error, Stub};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let contract = Contract::new("Keys").submit("Put", |stub: Stub, key: String, value: String| async move {
///     stub.put_state(&key, value).await
/// });
/// let mut ledger = MockLedger::new(contract);
/// ledger.put_state("a", "1");
/// let put = ledger.submit(["Put", "b", "2"]).await;
/// assert_eq!(put.writes.len(), 1);
/// assert_eq!(ledger.states().count(), 2);
/// # }
/// ```
pub struct MockLedger {
    world: World,
    chaincodes: BTreeMap<String, Arc<dyn DynChaincode>>,
    collections: BTreeSet<String>,
    channel_id: String,
    client: MockIdentity,
    now: SystemTime,
    features: Features,
    transactions: u64,
}

/// A transaction to simulate.
#[must_use = "a transaction does nothing until it is simulated"]
pub struct Transaction<'a> {
    ledger: &'a mut MockLedger,
    proposal: Proposal,
}

impl MockLedger {
    /// A channel `mychannel` with this chaincode and an empty ledger. The client is a member of
    /// `Org1MSP`. The first transaction has the timestamp 2000-01-01T00:00:00Z, each further one is a
    /// second later.
    pub fn new(chaincode: impl Chaincode) -> Self {
        Self {
            world: World::default(),
            chaincodes: BTreeMap::new(),
            collections: BTreeSet::new(),
            channel_id: "mychannel".to_owned(),
            client: MockIdentity::new("Org1MSP"),
            now: SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 10_957),
            features: Features::default(),
            transactions: 0,
        }
        .with_chaincode(CHAINCODE, chaincode)
    }

    /// Adds another chaincode to the channel, for calls between chaincodes.
    #[must_use]
    pub fn with_chaincode(mut self, name: &str, chaincode: impl Chaincode) -> Self {
        self.chaincodes.insert(name.to_owned(), Arc::new(chaincode));
        self
    }

    /// Adds a private data collection of which the peer is a member.
    #[must_use]
    pub fn with_collection(mut self, name: &str) -> Self {
        self.collections.insert(name.to_owned());
        self
    }

    /// Offers the features of Fabric 3: write batches and reads of several keys.
    #[must_use]
    pub fn with_batches(mut self) -> Self {
        self.features = Features { write_batch: Some(1000), get_multiple: Some(1000) };
        self
    }

    /// Sets the client of the following transactions.
    pub fn set_client(&mut self, client: MockIdentity) {
        self.client = client;
    }

    /// Sets the timestamp of the next transaction.
    pub fn set_time(&mut self, time: SystemTime) {
        self.now = time;
    }

    /// Prepares a transaction of [`CHAINCODE`]: the function's name and its arguments.
    pub fn transaction<A: Into<Vec<u8>>>(&mut self, args: impl IntoIterator<Item = A>) -> Transaction<'_> {
        self.transactions += 1;
        let time = self.now;
        self.now += Duration::from_secs(1);
        let mut nonce = [0; NONCE_BYTES];
        nonce[..8].copy_from_slice(&self.transactions.to_be_bytes());
        let mut proposal = Proposal {
            nonce,
            creator: Vec::new(),
            tx_id: String::new(),
            channel_id: self.channel_id.clone(),
            args: args.into_iter().map(Into::into).collect(),
            transient: BTreeMap::new(),
            decorations: BTreeMap::new(),
            time,
            is_init: false,
        };
        proposal.set_creator(self.client.creator());
        Transaction { ledger: self, proposal }
    }

    /// Simulates a transaction and, if that succeeds, commits it.
    pub async fn submit<A: Into<Vec<u8>>>(&mut self, args: impl IntoIterator<Item = A>) -> Simulated {
        self.transaction(args).submit().await
    }

    /// Simulates a transaction and discards its writes.
    pub async fn evaluate<A: Into<Vec<u8>>>(&mut self, args: impl IntoIterator<Item = A>) -> Simulated {
        self.transaction(args).simulate().await
    }

    /// Commits a transaction in a new block.
    ///
    /// # Errors
    ///
    /// When the transaction failed, or a value that it read has changed.
    pub fn commit(&mut self, transaction: Simulated) -> Result<(), CommitError> {
        if transaction.response.is_error() {
            return Err(CommitError::Failed(transaction.response.message));
        }
        self.world.commit(&transaction.tx_id, transaction.time, &transaction.rwset)
    }

    /// A committed value of [`CHAINCODE`]'s world state.
    pub fn state(&self, key: &str) -> Option<&[u8]> {
        self.world.value(CHAINCODE, "", key)
    }

    /// All keys and values of [`CHAINCODE`]'s world state, ordered by key.
    pub fn states(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.world.values(CHAINCODE, "")
    }

    /// A committed value of a collection of [`CHAINCODE`].
    pub fn private_data(&self, collection: &str, key: &str) -> Option<&[u8]> {
        self.world.value(CHAINCODE, collection, key)
    }

    /// The endorsement policy of a key in [`CHAINCODE`]'s world state.
    pub fn policy(&self, key: &str) -> Option<&[u8]> {
        self.world.policy(CHAINCODE, "", key)
    }

    /// Commits a value to [`CHAINCODE`]'s world state, to set up a test.
    pub fn put_state(&mut self, key: &str, value: impl Into<Vec<u8>>) {
        self.world.put(CHAINCODE, "", key, value.into(), self.now);
    }

    /// Commits a value to a collection of [`CHAINCODE`], to set up a test.
    pub fn put_private_data(&mut self, collection: &str, key: &str, value: impl Into<Vec<u8>>) {
        self.world.put(CHAINCODE, collection, key, value.into(), self.now);
    }
}

impl Transaction<'_> {
    /// Sets the client of this transaction.
    pub fn client(mut self, client: &MockIdentity) -> Self {
        self.proposal.set_creator(client.creator());
        self
    }

    /// Sets the timestamp of this transaction.
    pub fn at(mut self, time: SystemTime) -> Self {
        self.proposal.time = time;
        self
    }

    /// Adds transient data.
    pub fn transient(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.proposal.transient.insert(name.to_owned(), value.into());
        self
    }

    /// Adds an entry of a peer's decorator.
    pub fn decoration(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.proposal.decorations.insert(name.to_owned(), value.into());
        self
    }

    /// Calls `init`, as for a chaincode whose definition has `--init-required`.
    pub fn init(mut self) -> Self {
        self.proposal.is_init = true;
        self
    }

    /// Runs the transaction without changing the ledger.
    pub async fn simulate(self) -> Simulated {
        let Self { ledger, proposal } = self;
        let peer = Peer { chaincodes: &ledger.chaincodes, channel_id: &ledger.channel_id, features: ledger.features };
        let mut simulation = Simulation::new(&ledger.world, &ledger.collections);
        let answer = peer::endorse(peer, &mut simulation, &proposal, CHAINCODE).await;
        Simulated::new(proposal.tx_id, answer, simulation.into_rwset(), proposal.time)
    }

    /// Runs the transaction and, if it succeeds, commits it.
    pub async fn submit(self) -> Simulated {
        let Self { ledger, proposal } = self;
        let simulated = Transaction { ledger: &mut *ledger, proposal }.simulate().await;
        if !simulated.response.is_error() {
            // Nothing was committed in between, so there cannot be a conflict.
            let committed = ledger.world.commit(&simulated.tx_id, simulated.time, &simulated.rwset);
            debug_assert_eq!(committed, Ok(()));
        }
        simulated
    }
}

impl std::fmt::Debug for MockLedger {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("MockLedger")
            .field("channel_id", &self.channel_id)
            .field("chaincodes", &self.chaincodes.keys())
            .field("world", &self.world)
            .finish_non_exhaustive()
    }
}
