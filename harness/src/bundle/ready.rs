//! `ready`: asks a server once whether it is ready, for health checks of images that have nothing to
//! ask with.

use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::client::{ClientError, Node, answers};
use crate::options::read_text;
use crate::runtime::Endpoint;

/// The options of `ready`.
#[derive(Debug, Clone, clap::Args)]
pub struct ReadyOptions {
    /// HOST:PORT of the server.
    pub address: String,
    /// A node of Fabric, which is ready when it answers a call over TLS: the name in its certificate.
    #[arg(long, value_name = "NAME", required_unless_present = "listening", requires = "ca")]
    pub server_name: Option<String>,
    /// The root certificate of the node's, a PEM file.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// A chaincode server, which is ready as soon as it listens.
    #[arg(long, conflicts_with_all = ["server_name", "ca"])]
    pub listening: bool,
    /// Longest wait for the answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub timeout: u64,
}

/// It is not ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReady {
    #[error("--ca {}", path.display())]
    Ca {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Silent(#[from] ClientError),
    #[error("nothing listens at {address}")]
    Deaf {
        address: String,
        #[source]
        source: std::io::Error,
    },
}

pub(super) async fn ready(options: &ReadyOptions) -> Result<(), NotReady> {
    let deadline = Instant::now() + Duration::from_secs(options.timeout);
    let address = options.address.clone();
    let (Some(server_name), Some(ca)) = (&options.server_name, &options.ca) else {
        let connected = timeout_at(deadline, TcpStream::connect(&address)).await;
        let connected = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        return connected.map(drop).map_err(|source| NotReady::Deaf { address, source });
    };
    let tls_ca_pem = read_text(ca).map_err(|source| NotReady::Ca { path: ca.clone(), source })?;
    let endpoint = Endpoint { uri: format!("https://{address}"), server_name: server_name.clone(), tls_ca_pem };
    let node = Node::connect(server_name, &endpoint, None).await?;
    Ok(answers(&node, deadline).await?)
}
