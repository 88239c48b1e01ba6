//! How the chaincode's server comes to run: what `--chaincode` and the section `[server]` of a chaincode
//! file say. Starts nothing.

mod address;
mod section;
mod template;

pub use address::Address;
pub(crate) use section::ServerSection;
pub use template::Template;

use clap::ValueEnum;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The package ID, as every peer will give it.
pub const ID: &str = "CHAINCODE_ID";
/// `HOST:PORT` to listen on.
pub const ADDRESS: &str = "CHAINCODE_SERVER_ADDRESS";
/// The host of it.
pub const HOST: &str = "CHAINCODE_SERVER_HOST";
/// The port of it.
pub const PORT: &str = "CHAINCODE_SERVER_PORT";
/// `true` or `false`.
pub const TLS_DISABLED: &str = "CHAINCODE_TLS_DISABLED";
/// The file of the server's certificate; with TLS only.
pub const TLS_CERT: &str = "CHAINCODE_TLS_CERT";
/// The file of its private key; with TLS only.
pub const TLS_KEY: &str = "CHAINCODE_TLS_KEY";
/// The file of the certificates that clients' certificates are of; with mutual TLS only.
pub const CLIENT_CA: &str = "CHAINCODE_CLIENT_CA_CERT";

/// The variables that a server is given, and that `${…}` stands for. Their names are those of the
/// chaincodes of fabric-samples.
pub const VARIABLES: [&str; 8] = [ID, ADDRESS, HOST, PORT, TLS_DISABLED, TLS_CERT, TLS_KEY, CLIENT_CA];

/// A server that was asked for. What it names is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// What it is.
    pub source: ServerSource,
    /// Its arguments.
    pub arguments: Vec<Template>,
    /// Its environment beyond [`VARIABLES`], and instead of them.
    pub environment: BTreeMap<String, Template>,
    /// Where that is said, for messages: an option, or file, line and column.
    pub origin: String,
}

impl Server {
    /// Without arguments, and with no environment beyond [`VARIABLES`].
    pub fn new(source: ServerSource, origin: &str) -> Self {
        Self { source, arguments: Vec::new(), environment: BTreeMap::new(), origin: origin.to_owned() }
    }
}

/// What a chaincode server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerSource {
    /// A program of this machine. Static, so that it also runs in a container, where the nodes do.
    Program(PathBuf),
    /// A program of this machine, which runs on it in this directory, wherever the nodes run.
    Command {
        /// The program.
        program: PathBuf,
        /// Its working directory.
        directory: PathBuf,
    },
    /// An image of the Docker engine or of the cluster, with the entry point that it has. Not without
    /// containers.
    Image(String),
    /// A server that somebody else starts: nothing is started, and nothing ended.
    Address {
        /// Where it is found from this machine.
        address: Address,
        /// Where its files are put. Default: in the run's directory.
        directory: Option<PathBuf>,
    },
}

impl ServerSource {
    /// Whether it is started and ended here.
    pub fn is_ours(&self) -> bool {
        !matches!(self, Self::Address { .. })
    }
}

impl Default for ServerSource {
    fn default() -> Self {
        Self::Program(PathBuf::new())
    }
}

impl fmt::Display for ServerSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(program) | Self::Command { program, .. } => program.display().fmt(formatter),
            Self::Image(image) => write!(formatter, "the image {image}"),
            Self::Address { address, .. } => write!(formatter, "started by its user, at {address}"),
        }
    }
}

/// TLS between a peer and the chaincode server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// Plain text.
    Off,
    /// The server shows a certificate.
    Tls,
    /// Both sides show a certificate.
    #[default]
    Mtls,
}

impl fmt::Display for TlsMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Off => "off",
            Self::Tls => "tls",
            Self::Mtls => "mtls",
        })
    }
}
