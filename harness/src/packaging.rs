//! `package` and `inspect`, as the builder's own program has them: its library does the work.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use ccaas_builder::report::{LEVEL_VARIABLE, Report};
use ccaas_builder::{Exit, commands};

use crate::console::ExitCode;

/// The options of `package`.
#[derive(Debug, Clone, clap::Args)]
pub struct PackageOptions {
    /// The file to write, such as `basic.tar.gz`.
    #[arg(value_name = "OUTPUT")]
    pub output: PathBuf,
    /// Directory whose files are packaged; a metadata.json at its top gives label and type.
    #[arg(long, value_name = "DIR")]
    pub from: Option<OsString>,
    /// The readable half of the package ID.
    #[arg(long)]
    pub label: Option<OsString>,
    /// The package's type. Default: ccaas.
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<OsString>,
    /// Where the peers dial the chaincode server.
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<OsString>,
    /// How long a peer tries, such as 10s.
    #[arg(long, value_name = "DURATION")]
    pub dial_timeout: Option<OsString>,
    /// The name that the server's certificate is verified against.
    #[arg(long)]
    pub domain: Option<OsString>,
    /// Whether the server speaks TLS.
    #[arg(long, value_name = "true|false")]
    pub tls_required: Option<OsString>,
    /// Whether the server asks peers for a certificate.
    #[arg(long, value_name = "true|false")]
    pub client_auth_required: Option<OsString>,
    /// The root certificate of the server's, PEM.
    #[arg(long, value_name = "FILE")]
    pub root_cert: Option<OsString>,
    /// The certificate that peers show, PEM.
    #[arg(long, value_name = "FILE")]
    pub client_cert: Option<OsString>,
}

/// The options of `inspect`.
#[derive(Debug, Clone, clap::Args)]
pub struct InspectOptions {
    /// A chaincode package.
    #[arg(value_name = "PACKAGE")]
    pub package: PathBuf,
}

/// Writes a package, and prints its ID.
pub(crate) fn package(options: &PackageOptions) -> ExitCode {
    let given = [
        ("--from", &options.from),
        ("--label", &options.label),
        ("--type", &options.kind),
        ("--address", &options.address),
        ("--dial-timeout", &options.dial_timeout),
        ("--domain", &options.domain),
        ("--tls-required", &options.tls_required),
        ("--client-auth-required", &options.client_auth_required),
        ("--root-cert", &options.root_cert),
        ("--client-cert", &options.client_cert),
    ];
    let given = given.iter().filter_map(|(name, value)| Some([Path::new(name), Path::new(value.as_ref()?)]));
    let arguments: Vec<&Path> = std::iter::once(options.output.as_path()).chain(given.flatten()).collect();
    ended(commands::package(&arguments, &mut report()))
}

/// Prints what is in a package.
pub(crate) fn inspect(options: &InspectOptions) -> ExitCode {
    ended(commands::inspect(&options.package, &mut report()))
}

fn report() -> Report<io::Stderr> {
    Report::new(std::env::var(LEVEL_VARIABLE).ok().as_deref(), io::stderr())
}

/// An invalid package is a result (1); anything else that fails means that it could not be checked (2).
fn ended(exit: Exit) -> ExitCode {
    match exit {
        Exit::Success => ExitCode::Passed,
        Exit::Io | Exit::Usage => ExitCode::CouldNotRun,
        _ => ExitCode::Failed,
    }
}
