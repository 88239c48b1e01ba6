//! The exit codes. The client that installs a package sees only this number, so each cause has its own.

/// The exit code of a program of this builder.
///
/// For `build` and `release`, the peer returns `exit status N` to the client. For `detect`, every code
/// except [`Exit::Success`] makes the peer try the next builder, and is logged at debug level only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Exit {
    /// Success. From `detect`: this builder accepts the package.
    Success = 0,
    /// A file or directory could not be read or written. No partial output remains.
    Io = 1,
    /// Invalid arguments or an unknown command.
    Usage = 2,
    /// The package has an unsupported type.
    UnsupportedType = 3,
    /// metadata.json is missing or invalid.
    Metadata = 4,
    /// connection.json, with the settings of this peer applied, is invalid.
    Connection = 5,
    /// The package contains a link, a special file, or more than the limits allow.
    Unsafe = 6,
    /// `run` was called, but the peer does not start chaincode that runs as a service.
    NothingToRun = 7,
    /// `package`, `inspect` or `explain`: peers would reject the package.
    Package = 8,
}

impl Exit {
    /// The exit code as a number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
