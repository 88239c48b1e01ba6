//! Why a genesis block could not be made. Each message says what is wrong and what is allowed.

use std::time::{Duration, SystemTime};

use super::input::HostPort;
use crate::release::Release;

/// The input is one that Fabric would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The channel's name (`common/configtx/validator.go`).
    #[error(
        "`{name}` is no channel name: use at most 249 lower-case letters, digits, `.` and `-`, starting with a letter"
    )]
    Name {
        /// The name given.
        name: String,
    },
    /// The name of an organization's group (`common/configtx/validator.go`).
    #[error("`{name}` is no organization name: use at most 249 letters, digits, `.` and `-`")]
    OrganizationName {
        /// The name given.
        name: String,
    },
    /// An empty MSP ID.
    #[error("organization {organization} has no MSP ID")]
    MspId {
        /// The organization's name.
        organization: String,
    },
    /// A list that must not be empty.
    #[error("channel {channel} has no {what}: give at least one")]
    Nothing {
        /// The channel's name.
        channel: String,
        /// What is missing, such as `consenter`.
        what: &'static str,
    },
    /// Something that must be there only once.
    #[error("{what} {value} is there twice")]
    Twice {
        /// What it is, such as `organization name`.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// Text that should be a certificate.
    #[error("{what} of {owner} is no PEM certificate")]
    NotPem {
        /// Whose it is: an MSP ID or an address.
        owner: String,
        /// Which one it is, such as `CA certificate`.
        what: &'static str,
    },
    /// An address without host or port.
    #[error("`{address}` is no address: give a host and a port that is not 0")]
    Address {
        /// The address given.
        address: HostPort,
    },
    /// A time of zero, or longer than Go can express.
    #[error("{what} of {given:?}: give more than zero and less than 292 years")]
    Time {
        /// Which one it is, such as `batch timeout`.
        what: &'static str,
        /// The time given.
        given: Duration,
    },
    /// Limits of a batch that exclude each other.
    #[error("batch of {given}: {rule}")]
    Batch {
        /// Which limit it is, with its value.
        given: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// BFT on a release line that has none.
    #[error("Fabric {release} has no BFT ordering: use etcdraft, or Fabric 3.1")]
    Bft {
        /// The release line given.
        release: Release,
    },
    /// A time that the block cannot carry.
    #[error("{given:?} is before 1970: give the present time")]
    Created {
        /// The time given.
        given: SystemTime,
    },
}
