//! Messages and services of Hyperledger Fabric: prost messages, and tonic clients and servers for any transport.
//!
//! The files in `proto/` are written for this project. The names and numbers of packages, messages, services and
//! fields are those of the repository fabric-protos, so the encoding is the same. Modules are named after the
//! protobuf packages. Maps are `BTreeMap`s, so a message always encodes to the same bytes.
//!
//! `cargo run -p fabric-protos --features codegen --bin fabric-protos-codegen` generates `src/generated/`.
//!
//! ```
//! use fabric_protos::{msp::SerializedIdentity, prost::Message};
//!
//! let creator = SerializedIdentity { mspid: "Org1MSP".into(), id_bytes: b"PEM".to_vec() };
//! assert_eq!(creator.encode_to_vec(), b"\x0a\x07Org1MSP\x12\x03PEM");
//! ```

#[cfg(feature = "codegen")]
pub mod codegen;

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use bytes;
pub use prost;
pub use prost_types;

/// Includes one generated file as a module.
macro_rules! package {
    ($(#[$attribute:meta])* $name:ident, $file:literal) => {
        $(#[$attribute])*
        #[allow(
            clippy::all,
            clippy::pedantic,
            missing_docs,
            rust_2018_idioms,
            unreachable_pub,
            reason = "generated code"
        )]
        pub mod $name {
            include!(concat!("generated/", $file, ".rs"));
        }
    };
}

package!(
    /// Envelopes, blocks, policies and the channel configuration.
    common, "common"
);
package!(
    /// The discovery service.
    discovery, "discovery"
);
package!(
    /// Consenters and options of the Raft orderer.
    etcdraft, "etcdraft"
);
package!(
    /// The gateway service.
    gateway, "gateway"
);
package!(
    /// The gossip messages that the discovery service returns.
    gossip, "gossip"
);
package!(
    /// Read-write sets of keys.
    kvrwset, "kvrwset"
);
package!(
    /// Arguments and results of `_lifecycle`.
    lifecycle, "lifecycle"
);
package!(
    /// Identities and membership service providers.
    msp, "msp"
);
package!(
    /// The orderer's service and the values of the orderer group.
    orderer, "orderer"
);
package!(
    /// The peer's services, the chaincode stream, proposals and transactions.
    protos, "protos"
);
package!(
    /// Entries of range queries and of a key's history.
    queryresult, "queryresult"
);
package!(
    /// The status details that the gateway attaches to its errors.
    rpc, "google.rpc"
);
package!(
    /// Read-write sets by namespace.
    rwset, "rwset"
);
package!(
    /// Options of the BFT orderer.
    smartbft, "orderer.smartbft"
);
package!(
    /// Private data between endorsement and commit.
    transientstore, "transientstore"
);
