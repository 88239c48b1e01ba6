//! The release lines of Fabric that files are rendered for.
//!
//! A release line decides which settings a node knows and which consensus there is. It says
//! nothing about where the programs or images of that line come from.

use std::fmt;
use std::str::FromStr;

/// A release line of Hyperledger Fabric.
///
/// The default is the newest one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Release {
    /// The long-term support line: 2.5.x. Raft only.
    V2_5,
    /// The current line: 3.1.x. Raft and BFT.
    #[default]
    V3_1,
}

impl Release {
    /// Every release line, oldest first.
    pub const ALL: [Self; 2] = [Self::V2_5, Self::V3_1];

    /// Whether `SmartBFT` ordering exists, and with it the channel capability `V3_0`.
    pub fn has_bft(self) -> bool {
        self >= Self::V3_1
    }

    /// Whether the peer may offer chaincode to write and read many keys in one message
    /// (`chaincode.runtimeParams` in core.yaml).
    pub fn has_key_batches(self) -> bool {
        self >= Self::V3_1
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V2_5 => "2.5",
            Self::V3_1 => "3.1",
        })
    }
}

/// The text names no release line that files can be rendered for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no supported Fabric release: use 2.5 or 3.1, or a version of these lines such as 2.5.16")]
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
                let line = release.to_string();
                version
                    .strip_prefix(&line)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with('-'))
            })
            .ok_or_else(|| ReleaseError { given: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_their_versions_are_understood() {
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
    fn other_lines_are_refused_with_the_ones_there_are() {
        for text in ["", "2", "2.50", "2.4.9", "3.0", "3.10", "latest"] {
            let error = text.parse::<Release>().unwrap_err().to_string();
            assert!(error.contains("2.5 or 3.1"), "{text}: {error}");
        }
    }
}
