//! What a Hyperledger Fabric network *is*: a topology and a placement in, files out.
//!
//! The crate is pure. It opens no sockets, starts no processes, reads no clock and no
//! environment; the only side effect in it is [`Bundle::write_to`](bundle::Bundle::write_to).
//! Making a network run is the business of the harness.

pub mod bundle;
pub mod chaincode;
pub mod channel;
pub mod couchdb;
mod files;
pub mod identity;
pub mod node;
pub mod placement;
pub mod release;
pub mod render;
pub mod topology;
