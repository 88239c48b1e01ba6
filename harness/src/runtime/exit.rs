//! The unexpected exit of a node: its status, the likely cause from its log, and what to do.

use std::fmt;

use crate::wait::log_lines;

/// A node or chaincode server that exited although nobody stopped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnexpectedExit {
    /// Its name.
    pub name: String,
    /// Its status, such as `exit status: 1`.
    pub how: String,
    /// The likely cause, from the log.
    pub cause: Option<Cause>,
    /// The last lines of its log.
    pub log: String,
}

impl UnexpectedExit {
    /// Looks for the likely cause in the last lines of the log.
    pub(super) fn new(name: &str, how: String, log: String) -> Self {
        Self { name: name.to_owned(), cause: Cause::read(&how, &log), how, log }
    }
}

impl fmt::Display for UnexpectedExit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} exited: {}", self.name, self.how)?;
        if let Some(cause) = self.cause {
            write!(formatter, "\n  likely cause: {cause}")?;
        }
        if self.log.trim().is_empty() {
            return formatter.write_str("\n  its log is empty");
        }
        formatter.write_str(&log_lines(&self.log))
    }
}

impl std::error::Error for UnexpectedExit {}

/// Why a node exits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Another program listens on a port that was free when it was chosen.
    PortInUse,
    /// The disk, or the quota, is full.
    DiskFull,
    /// The kernel killed it: memory ran out, or a container's limit was reached.
    OutOfMemory,
    /// It lacks the permission for a file.
    PermissionDenied,
    /// The machine has no IPv4 address besides the loopback, which a peer demands.
    NoNetwork,
    /// A certificate is not valid now.
    Clock,
    /// Too many open files.
    FileLimit,
}

impl Cause {
    /// Texts of a log and their causes, in the order in which they are looked for.
    const SIGNS: [(&'static str, Self); 11] = [
        ("address already in use", Self::PortInUse),
        // A Docker engine.
        ("port is already allocated", Self::PortInUse),
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

    /// Whether an error is that a port is in use.
    pub(super) fn is_port_in_use(error: &str) -> bool {
        Self::read(error, "") == Some(Self::PortInUse)
    }

    fn read(how: &str, log: &str) -> Option<Self> {
        let text = format!("{log}\n{how}").to_lowercase();
        Self::SIGNS.iter().find(|(sign, _)| text.contains(sign)).map(|(_, cause)| *cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::PortInUse => "another program took one of its ports; run again, which takes other ports",
            Self::DiskFull => "the disk is full (an orderer needs 128 MB for each channel); free space, or set TMPDIR to a larger disk",
            Self::OutOfMemory => "it was killed, as when memory runs out; free memory, or use a smaller topology",
            Self::PermissionDenied => "permission denied for a file that its log names",
            Self::NoNetwork => "a peer needs an IPv4 address besides 127.0.0.1; connect the machine to a network, or add a dummy interface with an address",
            Self::Clock => "a certificate is not valid now; compare the clocks of this machine and of the Docker engine",
            Self::FileLimit => "too many open files; raise the limit with `ulimit -n`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_status_cause_and_log() {
        let log = "one\nlisten tcp 127.0.0.1:7051: bind: address already in use";
        let exit = UnexpectedExit::new("peer0.org1.example.com", "exit status: 1".into(), log.into());
        assert_eq!(
            exit.to_string(),
            "peer0.org1.example.com exited: exit status: 1\n  \
             likely cause: another program took one of its ports; run again, which takes other ports\n  \
             last lines of its log:\n    one\n    listen tcp 127.0.0.1:7051: bind: address already in use"
        );
    }

    #[test]
    fn an_unknown_cause_is_not_guessed() {
        let exit = UnexpectedExit::new("x", "exit status: 2".into(), String::new());
        assert_eq!(exit.to_string(), "x exited: exit status: 2\n  its log is empty");
    }
}
