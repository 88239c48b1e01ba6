//! What a node logs: Fabric's `FABRIC_LOGGING_SPEC`.
//!
//! Source of the grammar: `common/flogging/loggerlevels.go` and `levels.go`.

use std::fmt;
use std::str::FromStr;

/// The levels that Fabric knows, each in lower or in upper case.
const LEVELS: [&str; 11] =
    ["payload", "debug", "info", "notice", "warn", "warning", "error", "critical", "dpanic", "panic", "fatal"];

/// A valid logging specification, such as `info:grpc=warn:chaincode,endorser=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingSpec(String);

impl LoggingSpec {
    /// The variable that Fabric's programs read.
    pub const VARIABLE: &'static str = "FABRIC_LOGGING_SPEC";

    /// The specification.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LoggingSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The text is not a logging specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid part `{part}`; give levels ({}), for some loggers as LOGGER[,LOGGER…]=LEVEL, separated by colons, \
     such as info:grpc=warn",
    LEVELS.join(", ")
)]
pub struct LoggingSpecError {
    part: String,
}

impl FromStr for LoggingSpec {
    type Err = LoggingSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHOWN: usize = 60;
        match text.split(':').find(|part| !is_part(part)) {
            None => Ok(Self(text.to_owned())),
            Some(part) => Err(LoggingSpecError { part: part.chars().take(SHOWN).collect() }),
        }
    }
}

fn is_part(part: &str) -> bool {
    let mut halves = part.split('=');
    match (halves.next(), halves.next(), halves.next()) {
        // An empty part is Fabric's default level.
        (Some(level), None, _) => level.is_empty() || is_level(level),
        (Some(loggers), Some(level), None) => loggers.split(',').all(is_logger) && is_level(level),
        _ => false,
    }
}

fn is_level(text: &str) -> bool {
    LEVELS.iter().any(|level| text == *level || text == level.to_ascii_uppercase())
}

/// A final period makes it one logger, without those below it.
fn is_logger(name: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_#-".contains(c));
    name.strip_suffix('.').unwrap_or(name).split('.').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Release;

    #[test]
    fn specifications_that_fabric_accepts_are_accepted() {
        for text in
            ["", "info", "DEBUG", "info:grpc=warn", "a,b.c=payload::error", "chaincode.=debug:warning", "a#1=FATAL"]
        {
            assert_eq!(text.parse::<LoggingSpec>().unwrap().as_str(), text);
        }
        for default in Release::ALL.map(|release| [release.peer_logging(), release.orderer_logging()]).concat() {
            assert!(default.parse::<LoggingSpec>().is_ok(), "{default}");
        }
    }

    #[test]
    fn an_invalid_part_is_named() {
        for (text, part) in [
            ("bogus", "bogus"),
            ("info:grpc=loud", "grpc=loud"),
            ("=info", "=info"),
            ("a=b=info", "a=b=info"),
            ("info:a b=info", "a b=info"),
            ("Info", "Info"),
            (".a=info", ".a=info"),
            ("grpc=", "grpc="),
            ("info\nX=1", "info\nX=1"),
        ] {
            let error = text.parse::<LoggingSpec>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("invalid part `{part}`; ")), "{text}: {error}");
        }
    }
}
