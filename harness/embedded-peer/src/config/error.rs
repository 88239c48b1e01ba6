//! Why a configuration, or an update of it, is refused.

use crate::msp::MspError;
use crate::policy::PolicyError;

/// A configuration or an update of it is refused. The texts are Fabric's, which an orderer passes
/// on to the client.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A block without data.
    #[error("block contains no data")]
    EmptyBlock,
    /// Bytes that are not the message that they should be.
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
    /// A value can't be used.
    #[error("initializing channelconfig failed: {0}")]
    Value(String),
    /// An MSP can't be used.
    #[error(
        "initializing channelconfig failed: could not create channel {group} sub-group config: setting up the MSP manager failed: {source}"
    )]
    Msp {
        /// The group that its organization is in.
        group: String,
        /// What is wrong with it.
        #[source]
        source: MspError,
    },
    /// A policy can't be used.
    #[error("initializing policymanager failed: {0}")]
    Policies(#[source] PolicyError),
    /// The channel's name, or the name of an element, is not allowed.
    #[error("initializing configtx manager failed: {0}")]
    Name(String),
    /// An update does not fit or is not allowed.
    #[error("{0}")]
    Update(String),
}

impl ConfigError {
    /// The same, when it is about a value of that group.
    pub(super) fn in_group(self, group: &str) -> Self {
        match self {
            Self::Value(cause) => Self::Value(format!("could not create channel {group} sub-group config: {cause}")),
            other => other,
        }
    }

    /// As the cause of a refused value.
    pub(super) fn value(cause: impl Into<String>) -> Self {
        Self::Value(cause.into())
    }
}
