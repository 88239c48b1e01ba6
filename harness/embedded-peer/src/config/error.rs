//! Errors of a configuration and of its updates.

use crate::msp::MspError;
use crate::policy::PolicyError;

/// A configuration or an update is invalid. The texts are Fabric's, which an orderer returns to the client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A block without data.
    #[error("block contains no data")]
    EmptyBlock,
    /// A message cannot be decoded.
    #[error("failed to unmarshal a message of the configuration: {0}")]
    Decode(#[source] prost::DecodeError),
    /// No header.
    #[error("envelope header cannot be nil")]
    NoHeader,
    /// No configuration.
    #[error("channelconfig Config cannot be nil")]
    NoConfig,
    /// An empty configuration.
    #[error("config must contain a channel group")]
    NoGroup,
    /// A value is invalid.
    #[error("initializing channelconfig failed: {0}")]
    Value(String),
    /// An MSP is invalid.
    #[error(
        "initializing channelconfig failed: could not create channel {group} sub-group config: setting up the MSP manager failed: {source}"
    )]
    Msp {
        /// The group of its organization.
        group: String,
        /// The error.
        #[source]
        source: MspError,
    },
    /// A policy is invalid.
    #[error("initializing policymanager failed: {0}")]
    Policies(#[source] PolicyError),
    /// The name of the channel or of an element is invalid.
    #[error("initializing configtx manager failed: {0}")]
    Name(String),
    /// An update is invalid or unauthorized.
    #[error("{0}")]
    Update(String),
}

impl ConfigError {
    /// The error of a value in this group.
    pub(super) fn in_group(self, group: &str) -> Self {
        match self {
            Self::Value(cause) => Self::Value(format!("could not create channel {group} sub-group config: {cause}")),
            other => other,
        }
    }

    /// An invalid value.
    pub(super) fn value(cause: impl Into<String>) -> Self {
        Self::Value(cause.into())
    }
}
