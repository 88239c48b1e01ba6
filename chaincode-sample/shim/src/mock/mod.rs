//! A ledger in memory, for tests of a contract without a network.
//!
//! Plays the peer towards the same session that serves real peers, so the
//! contract is unchanged and what it may do is what a peer lets it do: reads
//! see only what is committed, collections must be declared, reads are checked
//! again at commit. Endorsement policies are stored and not enforced; rich
//! queries know a part of CouchDB's language.
//!
//! ```
//! use chaincode_shim::mock::{MockIdentity, MockLedger};
//! use chaincode_shim::{Contract, Error, Stub};
//!
//! async fn claim(stub: Stub, name: String) -> Result<(), Error> {
//!     let client = stub.client_identity()?;
//!     if stub.get_state(&name).await?.is_some() {
//!         return Err(Error::new(format!("{name} is taken")));
//!     }
//!     stub.set_event("Claimed", name.as_str())?;
//!     Ok(stub.put_state(&name, client.msp_id()).await?)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut ledger = MockLedger::new(Contract::new("Names").submit("Claim", claim));
//! ledger.set_client(MockIdentity::new("Org2MSP"));
//!
//! // Simulated, looked at, then committed; dropping it would discard it.
//! let claimed = ledger.transaction(["Claim", "anna"]).simulate().await;
//! assert_eq!(claimed.written("anna"), Some(&b"Org2MSP"[..]));
//! assert_eq!(claimed.event.as_ref().unwrap().name, "Claimed");
//! assert_eq!(ledger.state("anna"), None);
//! ledger.commit(claimed)?;
//! assert_eq!(ledger.state("anna"), Some(&b"Org2MSP"[..]));
//!
//! // Simulated and, if it succeeds, committed.
//! let again = ledger.submit(["Claim", "anna"]).await;
//! assert_eq!(again.error(), Some("anna is taken"));
//! # Ok(())
//! # }
//! ```

mod identity;
mod mango;
mod peer;
mod simulation;
#[cfg(test)]
mod tests;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::chaincode::Runnable;
use crate::protocol::Features;
use crate::{Chaincode, Response};

pub use identity::MockIdentity;
use peer::Proposal;
use simulation::{Recorded, Simulation};
use world::World;
pub use world::{Change, CommitError, Read, Write};

/// The name under which [`MockLedger::new`] deploys its chaincode.
pub const CHAINCODE: &str = "chaincode";

/// A channel with chaincodes and a ledger.
pub struct MockLedger {
    world: World,
    chaincodes: BTreeMap<String, Arc<dyn Runnable>>,
    collections: BTreeSet<String>,
    channel_id: String,
    client: MockIdentity,
    now: SystemTime,
    features: Features,
    transactions: u64,
}

/// A transaction to be simulated.
#[must_use = "a transaction does nothing until it is simulated"]
pub struct Transaction<'a> {
    ledger: &'a mut MockLedger,
    proposal: Proposal,
}

/// The event of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockEvent {
    /// Its name.
    pub name: String,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// What a transaction came to. Nothing of it is on the ledger before
/// [`MockLedger::commit`].
#[derive(Debug, Clone)]
pub struct Simulated {
    /// Its ID.
    pub tx_id: String,
    /// The chaincode's answer.
    pub response: Response,
    /// The event, which clients get at commit.
    pub event: Option<MockEvent>,
    /// What was read, in order.
    pub reads: Vec<Read>,
    /// What would be written: the last change of each key, by chaincode,
    /// collection and key.
    pub writes: Vec<Write>,
    recorded: Recorded,
    time: SystemTime,
}

impl Simulated {
    /// The message of a failure; none for a success.
    pub fn error(&self) -> Option<&str> {
        self.response.is_error().then_some(self.response.message.as_str())
    }

    /// The payload as text; bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Panics
    ///
    /// When the transaction failed, with its message.
    #[track_caller]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.payload()).into_owned()
    }

    /// The payload read as JSON.
    ///
    /// # Panics
    ///
    /// When the transaction failed, or its payload is something else.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        let payload = self.payload();
        match serde_json::from_slice(payload) {
            Ok(value) => value,
            Err(error) => panic!("the payload {:?} cannot be read: {error}", String::from_utf8_lossy(payload)),
        }
    }

    /// What would be written to a key of [`CHAINCODE`]'s world state; none
    /// for a deletion, too.
    pub fn written(&self, key: &str) -> Option<&[u8]> {
        self.writes.iter().find_map(|write| match &write.change {
            Change::Put(value) if write.chaincode == CHAINCODE && write.collection.is_empty() && write.key == key => {
                Some(value.as_slice())
            }
            _ => None,
        })
    }

    #[track_caller]
    fn payload(&self) -> &[u8] {
        assert!(!self.response.is_error(), "the transaction failed: {}", self.response.message);
        &self.response.payload
    }
}

impl MockLedger {
    /// A channel `mychannel` with this chaincode and an empty ledger. The
    /// client is a member of `Org1MSP`; the first transaction is made at the
    /// beginning of the year 2000, each further one a second later.
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

    /// A further chaincode of the channel, for calls from one to the other.
    #[must_use]
    pub fn with_chaincode(mut self, name: &str, chaincode: impl Chaincode) -> Self {
        self.chaincodes.insert(name.to_owned(), Arc::new(chaincode));
        self
    }

    /// A private data collection, of which the peer is a member.
    #[must_use]
    pub fn with_collection(mut self, name: &str) -> Self {
        self.collections.insert(name.to_owned());
        self
    }

    /// Offers what Fabric 3 offers: write batches and several keys at a time.
    #[must_use]
    pub fn with_batches(mut self) -> Self {
        self.features = Features { write_batch: Some(1000), get_multiple: Some(1000) };
        self
    }

    /// Who sends the transactions from now on.
    pub fn set_client(&mut self, client: MockIdentity) {
        self.client = client;
    }

    /// The time of the next transaction.
    pub fn set_time(&mut self, time: SystemTime) {
        self.now = time;
    }

    /// Prepares a transaction of [`CHAINCODE`]: the function's name, then its
    /// arguments.
    pub fn transaction<A: Into<Vec<u8>>>(&mut self, args: impl IntoIterator<Item = A>) -> Transaction<'_> {
        self.transactions += 1;
        let time = self.now;
        self.now += Duration::from_secs(1);
        let tx_id = hex::encode(Sha256::digest(self.transactions.to_be_bytes()));
        let proposal = Proposal {
            tx_id,
            channel_id: self.channel_id.clone(),
            args: args.into_iter().map(Into::into).collect(),
            creator: self.client.creator(),
            transient: BTreeMap::new(),
            decorations: BTreeMap::new(),
            time,
            is_init: false,
        };
        Transaction { ledger: self, proposal }
    }

    /// Simulates a transaction, and commits it if it succeeds.
    pub async fn submit<A: Into<Vec<u8>>>(&mut self, args: impl IntoIterator<Item = A>) -> Simulated {
        self.transaction(args).submit().await
    }

    /// Simulates a transaction, and discards what it writes.
    pub async fn evaluate<A: Into<Vec<u8>>>(&mut self, args: impl IntoIterator<Item = A>) -> Simulated {
        self.transaction(args).simulate().await
    }

    /// Commits a transaction, as a block of its own.
    ///
    /// # Errors
    ///
    /// When it failed, or when what it read has changed since.
    pub fn commit(&mut self, transaction: Simulated) -> Result<(), CommitError> {
        if transaction.response.is_error() {
            return Err(CommitError::Failed(transaction.response.message));
        }
        self.world.commit(&transaction.tx_id, transaction.time, &transaction.recorded)
    }

    /// A committed value of [`CHAINCODE`]'s world state.
    pub fn state(&self, key: &str) -> Option<&[u8]> {
        self.world.value(CHAINCODE, "", key)
    }

    /// Everything in [`CHAINCODE`]'s world state, in the order of its keys.
    pub fn states(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.world.values(CHAINCODE, "")
    }

    /// A committed value of a collection of [`CHAINCODE`].
    pub fn private_data(&self, collection: &str, key: &str) -> Option<&[u8]> {
        self.world.value(CHAINCODE, collection, key)
    }

    /// A key's own endorsement policy in [`CHAINCODE`]'s world state.
    pub fn policy(&self, key: &str) -> Option<&[u8]> {
        self.world.policy(CHAINCODE, "", key)
    }

    /// Puts a value into [`CHAINCODE`]'s world state, as an earlier
    /// transaction would have.
    pub fn put_state(&mut self, key: &str, value: impl Into<Vec<u8>>) {
        self.world.seed(CHAINCODE, "", key, value.into(), self.now);
    }

    /// Puts a value into a collection of [`CHAINCODE`].
    pub fn put_private_data(&mut self, collection: &str, key: &str, value: impl Into<Vec<u8>>) {
        self.world.seed(CHAINCODE, collection, key, value.into(), self.now);
    }
}

impl Transaction<'_> {
    /// Another client.
    pub fn client(mut self, client: &MockIdentity) -> Self {
        self.proposal.creator = client.creator();
        self
    }

    /// Another time.
    pub fn at(mut self, time: SystemTime) -> Self {
        self.proposal.time = time;
        self
    }

    /// Transient data.
    pub fn transient(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.proposal.transient.insert(name.to_owned(), value.into());
        self
    }

    /// What a decorator of the peer would add.
    pub fn decoration(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.proposal.decorations.insert(name.to_owned(), value.into());
        self
    }

    /// Calls `init`, as for a definition with `--init-required`.
    pub fn init(mut self) -> Self {
        self.proposal.is_init = true;
        self
    }

    /// Runs it; the ledger stays as it is.
    pub async fn simulate(self) -> Simulated {
        let Self { ledger, proposal } = self;
        let mut simulation = Simulation::new(&ledger.world, &ledger.collections);
        let (response, event) = peer::endorse(ledger.peer(), &mut simulation, &proposal).await;
        let recorded = simulation.into_recorded();
        Simulated {
            tx_id: proposal.tx_id,
            response,
            event,
            reads: recorded.reads.clone(),
            writes: recorded.writes(),
            recorded,
            time: proposal.time,
        }
    }

    /// Runs it, and commits it if it succeeds.
    pub async fn submit(self) -> Simulated {
        let Self { ledger, proposal } = self;
        let simulated = Transaction { ledger: &mut *ledger, proposal }.simulate().await;
        if !simulated.response.is_error() {
            // Nothing came between, so what was read is as it was.
            let committed = ledger.world.commit(&simulated.tx_id, simulated.time, &simulated.recorded);
            debug_assert_eq!(committed, Ok(()));
        }
        simulated
    }
}

impl MockLedger {
    fn peer(&self) -> peer::Peer<'_> {
        peer::Peer { chaincodes: &self.chaincodes, channel_id: &self.channel_id, features: self.features }
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
