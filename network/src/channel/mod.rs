//! Channel configuration: the genesis block by which orderers and peers join a channel.
//!
//! [`genesis_block`] builds what `configtxgen` builds from the profiles that Fabric ships
//! (`sampleconfig/configtx.yaml`, and the test network's), directly as messages:
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
//! The three upper groups have implicit-meta policies `Readers` and `Writers` (any) and `Admins`
//! (majority), organizations have signature policies over their roles. Everything is modified by
//! `Admins`. The same input always gives the same bytes.
//!
//! Nothing here reads a clock, a file or a topology. What has been joined is changed by
//! configuration updates, which are not made here.

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
/// When the input is one that Fabric would refuse, or that would silently lose a part, such as
/// two organizations of one name.
pub fn genesis_block(channel: &ChannelInput) -> Result<Vec<u8>, ChannelError> {
    validate::validate(channel)?;
    let configuration = group::channel(channel);
    block::genesis(&channel.name, channel.created, configuration)
}
