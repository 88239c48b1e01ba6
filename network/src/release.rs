//! The release lines of Fabric that this project supports, and in what they differ.
//!
//! Everything else asks a release for a capability and never compares releases, so a new line means
//! changes in this file alone. Where the programs or images of a line come from is not known here.

use std::fmt;
use std::str::FromStr;

/// A release line of Hyperledger Fabric.
///
/// The default is the newest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Release {
    /// The long-term support line, 2.5.x.
    V2_5,
    /// The current line, 3.1.x.
    V3_1,
}

impl Release {
    /// Every release line, oldest first.
    pub const ALL: [Self; 2] = [Self::V2_5, Self::V3_1];

    /// The newest release line.
    pub const NEWEST: Self = Self::V3_1;

    /// The line's name: `2.5`.
    pub const fn line(self) -> &'static str {
        match self {
            Self::V2_5 => "2.5",
            Self::V3_1 => "3.1",
        }
    }

    /// The newest version of the line that this project is tested with, such as `2.5.16`; also the tag of
    /// its images.
    pub const fn tested_version(self) -> &'static str {
        match self {
            Self::V2_5 => "2.5.16",
            Self::V3_1 => "3.1.5",
        }
    }

    /// Whether `SmartBFT` ordering exists: with it the channel capability `V3_0`, and gateways that submit to
    /// a quorum of orderers.
    pub fn has_bft(self) -> bool {
        self >= Self::V3_1
    }

    /// Whether the peer may offer chaincode to write and read many keys in one message
    /// (`chaincode.runtimeParams` in core.yaml).
    pub fn has_key_batches(self) -> bool {
        self >= Self::V3_1
    }

    /// Whether the peer uses `domain` of a connection.json as the server's name.
    pub fn has_connection_domain(self) -> bool {
        self >= Self::V3_1
    }

    /// Whether the peer has the system chaincode `lscc` of the old lifecycle.
    pub fn has_lscc(self) -> bool {
        self < Self::V3_1
    }

    /// Whether `_lifecycle` has `QueryApprovedChaincodeDefinitions`.
    pub fn has_approved_definitions_query(self) -> bool {
        self >= Self::V3_1
    }

    /// Whether `CheckCommitReadiness` of `_lifecycle` also reports in what the approvals differ.
    pub fn has_readiness_mismatches(self) -> bool {
        self >= Self::V3_1
    }

    /// Whether an organization may approve a committed definition again without a change; the transaction
    /// writes nothing.
    pub fn accepts_repeated_approval(self) -> bool {
        self < Self::V3_1
    }

    /// Whether `QueryApprovedChaincodeDefinition` reports a definition that it did not find with the sequence
    /// that it looked for. Otherwise it reports the one that it was asked for, which may be 0.
    pub fn reports_resolved_sequence(self) -> bool {
        self >= Self::V3_1
    }

    /// Whether orderers can have a system channel.
    pub fn has_system_channel(self) -> bool {
        self < Self::V3_1
    }

    /// The default `FABRIC_LOGGING_SPEC` of peers. Why a TLS handshake with a chaincode server failed may be in a
    /// message of the gRPC library alone, which 3.1 logs at level warn, and 2.5 at level debug: some lines for each
    /// connection, none for a call.
    pub fn peer_logging(self) -> &'static str {
        match self {
            Self::V2_5 => "info:grpc=debug",
            Self::V3_1 => "info:grpc=warn",
        }
    }

    /// The default `FABRIC_LOGGING_SPEC` of orderers.
    pub fn orderer_logging(self) -> &'static str {
        match self {
            Self::V2_5 => "info:grpc=error",
            Self::V3_1 => "info:grpc=warn",
        }
    }

    /// Whether the orderer's channel participation API gives out blocks and accepts updates of channels.
    pub fn has_participation_updates(self) -> bool {
        self >= Self::V3_1
    }
}

impl Default for Release {
    fn default() -> Self {
        Self::NEWEST
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.line())
    }
}

/// The text names no supported release line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unsupported Fabric release `{given}`; use {}, or a version of these lines such as {}",
    Release::ALL.map(Release::line).join(" or "),
    Release::NEWEST.tested_version()
)]
pub struct ReleaseError {
    given: String,
}

impl FromStr for Release {
    type Err = ReleaseError;

    /// Accepts a line (`2.5`) or any version of it (`2.5.16`, `3.1.5-rc1`, `v3.1.5`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let version = text.strip_prefix('v').unwrap_or(text);
        Self::ALL
            .into_iter()
            .find(|release| {
                version
                    .strip_prefix(release.line())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with('-'))
            })
            .ok_or_else(|| ReleaseError { given: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_their_versions_are_parsed() {
        for (text, release) in [
            ("2.5", Release::V2_5),
            ("2.5.16", Release::V2_5),
            ("3.1", Release::V3_1),
            ("v3.1.5", Release::V3_1),
            ("3.1.5-rc1", Release::V3_1),
        ] {
            assert_eq!(text.parse(), Ok(release), "{text}");
        }
    }

    #[test]
    fn other_lines_are_rejected_with_the_supported_ones() {
        for text in ["", "2", "2.50", "2.4.9", "3.0", "3.10", "latest"] {
            let error = text.parse::<Release>().unwrap_err().to_string();
            assert!(error.contains("2.5 or 3.1"), "{text}: {error}");
        }
    }
}
