//! How the chaincode server is started: what `--chaincode` and the section `[server]` of a chaincode file
//! specify. Starts nothing.

mod address;
mod section;
mod template;

pub use address::Address;
pub(crate) use section::ServerSection;
pub use template::Template;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The package ID.
pub const ID: &str = "CHAINCODE_ID";
/// `HOST:PORT` to listen on.
pub const ADDRESS: &str = "CHAINCODE_SERVER_ADDRESS";
/// The host to listen on.
pub const HOST: &str = "CHAINCODE_SERVER_HOST";
/// The port to listen on.
pub const PORT: &str = "CHAINCODE_SERVER_PORT";
/// Whether TLS is disabled: `true` or `false`.
pub const TLS_DISABLED: &str = "CHAINCODE_TLS_DISABLED";
/// File with the server's certificate; only with TLS.
pub const TLS_CERT: &str = "CHAINCODE_TLS_CERT";
/// File with the server's private key; only with TLS.
pub const TLS_KEY: &str = "CHAINCODE_TLS_KEY";
/// File with the CA certificates of the clients; only with mutual TLS.
pub const CLIENT_CA: &str = "CHAINCODE_CLIENT_CA_CERT";

/// The MSP ID of the server's organization; not for a server that several organizations share. A peer sets it for a
/// chaincode that it starts itself.
pub const LOCAL_MSP_ID: &str = "CORE_PEER_LOCALMSPID";

/// The environment variables of a server, which `${…}` also refers to. The chaincodes of fabric-samples
/// use the same names.
pub const VARIABLES: [&str; 9] = [ID, ADDRESS, HOST, PORT, TLS_DISABLED, TLS_CERT, TLS_KEY, CLIENT_CA, LOCAL_MSP_ID];

/// The requested server. Its files exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// What is started.
    pub source: ServerSource,
    /// Its arguments.
    pub arguments: Vec<Template>,
    /// Additional environment variables. They override [`VARIABLES`].
    pub environment: BTreeMap<String, Template>,
    /// Whether each organization has its own server, at the address in its own package. Default: all organizations
    /// share one.
    pub per_organization: bool,
    /// The place of the specification, for messages: an option, or file, line and column.
    pub origin: String,
}

impl Server {
    /// A server without arguments and additional environment variables.
    pub fn new(source: ServerSource, origin: &str) -> Self {
        Self { source, origin: origin.to_owned(), ..Self::default() }
    }
}

/// What is started as a chaincode server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerSource {
    /// A program. Statically linked, because it may run in a container.
    Program(PathBuf),
    /// A program that runs on this machine, wherever the nodes run.
    Command {
        /// The program.
        program: PathBuf,
        /// Its working directory.
        directory: PathBuf,
    },
    /// A container image with its own entry point. Only in Docker and Kubernetes.
    Image(String),
    /// A server that the user starts and stops.
    Address {
        /// Its address, as seen from this machine.
        address: Address,
        /// Directory for its files. Default: in the run's directory.
        directory: Option<PathBuf>,
    },
}

impl ServerSource {
    /// Whether the harness starts and stops it.
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
            Self::Address { address, .. } => write!(formatter, "started by the user, at {address}"),
        }
    }
}

/// TLS between a peer and the chaincode server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// No TLS.
    Off,
    /// TLS with a server certificate.
    Tls,
    /// Mutual TLS.
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
