//! `ready`: asks a server once whether it is ready, for health checks of images that have nothing to
//! ask with.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::Endpoint;
use crate::client::{ClientError, Node, answers};
use crate::console::read_text;

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
    /// A chaincode server, which is ready as soon as it listens. It is not called, only looked for among
    /// the listening sockets of this network namespace (Linux): a server with TLS would log every call.
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
    #[error("{address}: expected HOST:PORT")]
    Address { address: String },
    #[error("nothing listens at port {port}")]
    Deaf { port: u16 },
    #[error("the listening sockets can't be read")]
    Sockets {
        #[source]
        source: std::io::Error,
    },
}

pub(super) async fn ready(options: &ReadyOptions) -> Result<(), NotReady> {
    let deadline = Instant::now() + Duration::from_secs(options.timeout);
    let address = options.address.clone();
    let (Some(server_name), Some(ca)) = (&options.server_name, &options.ca) else {
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        return listening(port.ok_or(NotReady::Address { address })?);
    };
    let tls_ca_pem = read_text(ca).map_err(|source| NotReady::Ca { path: ca.clone(), source })?;
    let endpoint = Endpoint { uri: format!("https://{address}"), server_name: server_name.clone(), tls_ca_pem };
    let node = Node::connect(server_name, &endpoint, None).await?;
    Ok(answers(&node, deadline).await?)
}

/// Looks for a listening socket of this port, as proc(5) lists them.
fn listening(port: u16) -> Result<(), NotReady> {
    let read = |path: &str| std::fs::read_to_string(path);
    let ipv4 = read("/proc/net/tcp").map_err(|source| NotReady::Sockets { source })?;
    // Where IPv6 is off there is no such file.
    let ipv6 = read("/proc/net/tcp6").unwrap_or_default();
    if [ipv4, ipv6].iter().any(|table| table.lines().any(|line| listens(line, port))) {
        Ok(())
    } else {
        Err(NotReady::Deaf { port })
    }
}

/// A line is a number, the local address, the remote one, and the state: `0A` is listening.
fn listens(line: &str, port: u16) -> bool {
    let mut columns = line.split_whitespace().skip(1);
    let local = columns.next().and_then(|address| address.rsplit_once(':'));
    let is_port = local.is_some_and(|(_, found)| u16::from_str_radix(found, 16) == Ok(port));
    is_port && columns.nth(1) == Some("0A")
}

#[cfg(test)]
mod tests {
    use super::listens;

    #[test]
    fn only_a_listening_socket_of_the_port_counts() {
        let listening = "   0: 00000000:270F 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 1";
        assert!(listens(listening, 9999));
        assert!(!listens(listening, 9998));
        assert!(!listens("   1: 0100007F:270F 0100007F:C350 01 00000000:00000000 00:00000000 00000000 0 0 1", 9999));
        assert!(listens("   0: 00000000000000000000000000000000:270F 00000000000000000000000000000000:0000 0A", 9999));
        for other in ["  sl  local_address rem_address   st", "", "0: :", "0: x:270F y 0B"] {
            assert!(!listens(other, 9999), "{other}");
        }
    }
}
