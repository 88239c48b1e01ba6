//! The exit codes of the programs, in one place. A peer reports the number and nothing else to
//! the client that installs a package, so each cause has its own. Prints nothing.

/// How a program of this builder ended.
///
/// The peer shows the client `exit status N` for `build` and `release`; for `detect` any code
/// but [`Exit::Success`] means "try the next builder", logged at debug level only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done. From `detect`: this package is ours.
    Success = 0,
    /// A file or directory could not be read or written; nothing was left half-written.
    Io = 1,
    /// Wrong arguments, or a program name that is none of ours.
    Usage = 2,
    /// The package is of a type that this builder does not take.
    UnsupportedType = 3,
    /// metadata.json is missing, too large, or not what Fabric writes.
    Metadata = 4,
    /// connection.json, with the settings of this peer applied, could not work.
    Connection = 5,
    /// The package holds a link, a special file, a path or a size that is not taken.
    Unsafe = 6,
    /// `run` was called. Chaincode that runs as a service is never started by the peer.
    NothingToRun = 7,
    /// `package`, `inspect` or `explain`: a package that no peer would take.
    Package = 8,
}

impl Exit {
    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
