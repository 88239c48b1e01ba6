//! Clients of Fabric's services: signing, lifecycle, gateway, channel joining, readiness.
//!
//! Everything speaks gRPC (or, for an orderer's channel participation, HTTP) to nodes that already
//! run, and it makes no difference what runs them. Every call takes the deadline until which it may
//! wait, and its errors name the node. Nothing here starts a process, chooses a port or keeps state
//! between calls.

pub mod channel;
pub mod discovery;
pub mod endorser;
pub mod error;
pub mod events;
pub mod gateway;
pub mod lifecycle;
pub mod participation;
pub mod proposal;
pub mod readiness;
pub mod signer;
pub mod transport;

pub use discovery::await_endorsers;
pub use endorser::PeerClient;
pub use error::{ClientError, NodeFailure};
pub use events::{Event, EventStart, Events};
pub use gateway::{Committed, Submitted, await_commit};
pub use lifecycle::{Definition, EndorsementPolicy, Installation, approve_for_my_org, commit};
pub use participation::{ChannelInfo, Participation};
pub use proposal::{Invocation, Proposal, Transaction};
pub use readiness::answers;
pub use signer::{Seed, Signer, SignerError};
pub use transport::{Endpoint, Node, connect};

#[cfg(test)]
mod tests;
