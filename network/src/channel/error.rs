//! Why a genesis block cannot be built. Each message has what is wrong and what is allowed.

use std::time::{Duration, SystemTime};

use fabric_primitives::names::InvalidName;

use super::input::HostPort;
use crate::release::Release;

/// Input that Fabric would reject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The channel's name (`common/configtx/validator.go`).
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The name of an organization's group (`common/configtx/validator.go`).
    #[error("invalid organization name `{name}`: use at most 249 letters, digits, `.` and `-`")]
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
    #[error("channel {channel} has no {what}; give at least one")]
    Missing {
        /// The channel's name.
        channel: String,
        /// What is missing, such as `consenter`.
        what: &'static str,
    },
    /// A value that must be unique.
    #[error("duplicate {what}: {value}")]
    Duplicate {
        /// What it is, such as `organization name`.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// Text that should be a certificate.
    #[error("{what} of {owner} is not a PEM certificate")]
    NotPem {
        /// Its owner: an MSP ID or an address.
        owner: String,
        /// Which one it is, such as `CA certificate`.
        what: &'static str,
    },
    /// An address without a host or port.
    #[error("invalid address `{address}`: give a host and a port other than 0")]
    Address {
        /// The address given.
        address: HostPort,
    },
    /// A duration of zero, or longer than Go can express.
    #[error("invalid {what} of {given:?}: give more than zero and less than 292 years")]
    Time {
        /// Which one it is, such as `batch timeout`.
        what: &'static str,
        /// The duration given.
        given: Duration,
    },
    /// Contradictory limits of a batch.
    #[error("invalid batch of {given}: {rule}")]
    Batch {
        /// Which limit it is, with its value.
        given: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// BFT on a release line that has none.
    #[error("Fabric {release} has no BFT ordering; use etcdraft, or Fabric {}", Release::NEWEST)]
    Bft {
        /// The release line given.
        release: Release,
    },
    /// A time that a block cannot hold.
    #[error("invalid creation time {given:?}: it is before 1970; give the current time")]
    Created {
        /// The time given.
        given: SystemTime,
    },
}
