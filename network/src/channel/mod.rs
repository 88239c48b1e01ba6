//! Channel configuration: the genesis block with which orderers and peers join a channel.
//!
//! [`genesis_block`] builds the same messages as `configtxgen` from the profiles that Fabric ships
//! (`sampleconfig/configtx.yaml`, and those of the test network):
//!
//! ```text
//! Channel                  HashingAlgorithm, BlockDataHashingStructure, Capabilities
//! ├── Application          Capabilities, ACLs; LifecycleEndorsement, Endorsement
//! │   └── Org1 …           MSP, AnchorPeers; Readers, Writers, Admins, Endorsement
//! └── Orderer              ConsensusType, BatchSize, BatchTimeout, ChannelRestrictions,
//!     │                    Capabilities, with BFT also Orderers; BlockValidation
//!     └── Orderer          MSP, Endpoints; Readers, Writers, Admins
//! ```
//!
//! The three upper groups have implicit-meta policies: `Readers` and `Writers` (any), `Admins` (majority).
//! Organizations have signature policies over their roles. `Admins` modify everything. The same input always
//! gives the same bytes.
//!
//! Nothing here reads a clock, a file or a topology, or makes configuration updates.

mod block;
mod consensus;
mod error;
mod group;
mod input;
mod msp;
mod policy;
mod validate;

pub use self::error::ChannelError;
pub use self::input::{
    ChannelInput, Consensus, ConsenterInput, HostPort, MspInput, OrderingInput, OrganizationInput, default_acls,
};

/// Builds the genesis block of a channel: an encoded `common.Block` with number 0.
///
/// # Errors
///
/// When Fabric would reject the input, or when a part would be lost, such as one of two organizations with the
/// same name.
pub fn genesis_block(channel: &ChannelInput) -> Result<Vec<u8>, ChannelError> {
    validate::validate(channel)?;
    let configuration = group::channel(channel);
    block::genesis(&channel.name, channel.created, configuration)
}
