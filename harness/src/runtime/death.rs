//! A node that ended by itself: how, why as far as its log tells, and what to do.

use std::fmt;

use crate::wait::log_lines;

/// A node or chaincode server that ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// Its name.
    pub name: String,
    /// How it ended, such as `exit status: 1`.
    pub how: String,
    /// What its log lets one conclude.
    pub cause: Option<Cause>,
    /// The last lines of its log.
    pub log: String,
}

impl Death {
    /// Looks for the cause in the log's last lines.
    pub(super) fn new(name: &str, how: String, log: String) -> Self {
        Self { name: name.to_owned(), cause: Cause::read(&how, &log), how, log }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ended: {}", self.name, self.how)?;
        if let Some(cause) = self.cause {
            write!(formatter, "\n  likely cause: {cause}")?;
        }
        if self.log.trim().is_empty() {
            return formatter.write_str("\n  its log is empty");
        }
        formatter.write_str(&log_lines(&self.log))
    }
}

impl std::error::Error for Death {}

/// Why a node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Another program listens on a port that was free when it was chosen.
    PortInUse,
    /// The disk, or the quota, is full.
    DiskFull,
    /// The kernel, or a container's limit, ended it for its memory.
    OutOfMemory,
    /// A file that it may not read or execute.
    PermissionDenied,
    /// The peer insists on an address of this machine besides the loopback.
    NoNetwork,
    /// A certificate that is not valid now.
    Clock,
    /// Too many open files.
    FileLimit,
}

impl Cause {
    /// In the order in which they are looked for.
    const SIGNS: [(&'static str, Self); 10] = [
        ("address already in use", Self::PortInUse),
        ("no space left on device", Self::DiskFull),
        ("disk quota exceeded", Self::DiskFull),
        ("out of memory", Self::OutOfMemory),
        ("cannot allocate memory", Self::OutOfMemory),
        ("too many open files", Self::FileLimit),
        ("certificate has expired or is not yet valid", Self::Clock),
        // internal/peer/common, GetLocalIP.
        ("no non-loopback, ipv4 interface found", Self::NoNetwork),
        ("permission denied", Self::PermissionDenied),
        ("signal: 9", Self::OutOfMemory),
    ];

    fn read(how: &str, log: &str) -> Option<Self> {
        let text = format!("{log}\n{how}").to_lowercase();
        Self::SIGNS.iter().find(|(sign, _)| text.contains(sign)).map(|(_, cause)| *cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::PortInUse => "another program took one of its ports meanwhile; run again, other ports are chosen then",
            Self::DiskFull => "no space is left (an orderer needs 128 MB for each channel); free some, or set TMPDIR to a larger disk",
            Self::OutOfMemory => "it was killed, as the kernel does when memory runs out; free some, or use a smaller topology",
            Self::PermissionDenied => "it may not read or execute a file that its log names",
            Self::NoNetwork => "a peer needs an IPv4 address besides 127.0.0.1; connect the machine to a network, or add an address to a dummy interface",
            Self::Clock => "a certificate is not valid now; compare the clocks of this machine and of the Docker engine",
            Self::FileLimit => "the limit of open files is reached; raise it with `ulimit -n`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_how_why_and_the_log() {
        let log = "one\nlisten tcp 127.0.0.1:7051: bind: address already in use";
        let death = Death::new("peer0.org1.example.com", "exit status: 1".into(), log.into());
        assert_eq!(
            death.to_string(),
            "peer0.org1.example.com ended: exit status: 1\n  \
             likely cause: another program took one of its ports meanwhile; run again, other ports are chosen then\n  \
             last lines of its log:\n    one\n    listen tcp 127.0.0.1:7051: bind: address already in use"
        );
    }

    #[test]
    fn an_unknown_cause_is_not_guessed() {
        let death = Death::new("x", "exit status: 2".into(), String::new());
        assert_eq!(death.to_string(), "x ended: exit status: 2\n  its log is empty");
    }
}
