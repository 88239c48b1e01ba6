//! An in-memory ledger for tests of a contract without a network. Requires the feature `mock`.
//!
//! It takes the peer's place in the session that serves real peers. The contract runs unchanged, and
//! the peer's rules apply: reads return committed values only, collections must be declared, and
//! reads are validated again at commit. Endorsement policies are stored but not enforced; rich
//! queries support a subset of CouchDB's query language.
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
//! // Simulate, inspect and commit. Without the commit, nothing would be written.
//! let claimed = ledger.transaction(["Claim", "anna"]).simulate().await;
//! assert_eq!(claimed.written("anna"), Some(&b"Org2MSP"[..]));
//! assert_eq!(claimed.event.as_ref().unwrap().name, "Claimed");
//! assert_eq!(ledger.state("anna"), None);
//! ledger.commit(claimed)?;
//! assert_eq!(ledger.state("anna"), Some(&b"Org2MSP"[..]));
//!
//! // Simulate and, if that succeeds, commit.
//! let again = ledger.submit(["Claim", "anna"]).await;
//! assert_eq!(again.error(), Some("anna is taken"));
//! # Ok(())
//! # }
//! ```

mod identity;
mod ledger;
mod mango;
mod peer;
mod rwset;
mod simulation;
#[cfg(test)]
mod tests;
mod transaction;
mod world;

pub use identity::MockIdentity;
pub use ledger::{MockLedger, Transaction};
pub use rwset::{Change, Read, Write};
pub use transaction::{CHAINCODE, MockEvent, Simulated};
pub use world::CommitError;
