//! Dials a chaincode server as Fabric's gRPC client does. Some failures are final; others are
//! retried until the dial timeout.
//!
//! Fabric reports only `context deadline exceeded` for the latter. Here the last failure is
//! appended.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_rustls::TlsConnector;

use super::connection::ServerInfo;
use super::link::{Link, Transport};
use super::{go, tls};

const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_FACTOR: f64 = 1.6;

/// Why a connection failed. Displays Fabric's text, after `error creating grpc connection to …: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The certificates or the key in connection.json are invalid.
    #[error("{0}")]
    Credentials(String),
    /// The connection was refused or the address is unknown.
    #[error("failed to create new connection: connection error: desc = \"transport: error while dialing: {0}\"")]
    Refused(String),
    /// The dial timeout expired.
    #[error("failed to create new connection: context deadline exceeded: {0}")]
    Deadline(String),
}

/// The failure of one attempt.
enum Failure {
    /// Not worth a retry.
    Final(String),
    /// May succeed later.
    Retryable(String),
}

/// Connects and waits until the server speaks HTTP/2. Calls `on_retry` with the reason of each
/// failed attempt that is retried.
pub(super) async fn dial(info: &ServerInfo, on_retry: impl Fn(&str)) -> Result<Link, DialError> {
    let target = Target::parse(&info.address);
    let tls = match &info.tls {
        None => None,
        Some(tls) => {
            let config = tls::client_config(tls).map_err(DialError::Credentials)?;
            let name = tls.server_name.clone().unwrap_or_else(|| target.host());
            Some((TlsConnector::from(Arc::new(config)), name))
        }
    };
    let authority = match info.tls.as_ref().and_then(|tls| tls.server_name.clone()) {
        Some(name) => name,
        None => target.authority(),
    };
    let time = Duration::from_nanos(u64::try_from(info.dial_timeout).unwrap_or(0));
    let deadline = Instant::now() + time;
    let mut backoff = BACKOFF;
    let mut last = None;
    loop {
        let attempt = async {
            let transport = connect(&target, tls.as_ref()).await?;
            Link::open(transport, tls.is_some(), &authority).await.map_err(Failure::Retryable)
        };
        match timeout_at(deadline, attempt).await {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(Failure::Final(reason))) => return Err(DialError::Refused(reason)),
            Ok(Err(Failure::Retryable(reason))) => {
                on_retry(&reason);
                last = Some(reason);
            }
            Err(_) => {
                let reason = last.unwrap_or_else(|| format!("{} did not answer within {time:?}", info.address));
                return Err(DialError::Deadline(reason));
            }
        }
        sleep_until(deadline.min(Instant::now() + backoff)).await;
        backoff = backoff.mul_f64(BACKOFF_FACTOR);
    }
}

async fn connect(target: &Target, tls: Option<&(TlsConnector, String)>) -> Result<Box<dyn Transport>, Failure> {
    let plain: Box<dyn Transport> = match target {
        Target::Tcp(address) => Box::new(connect_tcp(address).await?),
        Target::Unix(path) => Box::new(
            UnixStream::connect(path)
                .await
                .map_err(|error| Failure::Final(format!("dial unix {path}: connect: {}", go::os_error(&error))))?,
        ),
    };
    let Some((connector, name)) = tls else { return Ok(plain) };
    let server_name = ServerName::try_from(name.clone()).map_err(|_| {
        Failure::Retryable(format!("tls: failed to verify certificate: x509: invalid host name {name:?}"))
    })?;
    let stream = connector
        .connect(server_name, plain)
        .await
        .map_err(|error| Failure::Retryable(tls::connection_error(&error)))?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(Failure::Retryable("credentials: cannot check peer: missing selected ALPN property".to_owned()));
    }
    Ok(Box::new(stream))
}

async fn connect_tcp(address: &str) -> Result<TcpStream, Failure> {
    let (host, port) =
        split(address).map_err(|reason| Failure::Final(format!("dial tcp: address {address}: {reason}")))?;
    let port: u16 = port.parse().map_err(|_| Failure::Final(format!("dial tcp: lookup tcp/{port}: unknown port")))?;
    let host = if host.is_empty() { "localhost" } else { host };
    let addresses: Vec<SocketAddr> = match lookup_host((host, port)).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => return Err(lookup_failure(host, &error)),
    };
    let mut first = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Send small messages without delay.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => first = first.or(Some((address, error))),
        }
    }
    let Some((address, error)) = first else {
        return Err(Failure::Final(format!("dial tcp: lookup {host}: no such host")));
    };
    let reason = format!("dial tcp {address}: connect: {}", go::os_error(&error));
    Err(match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => Failure::Retryable(reason),
        _ => Failure::Final(reason),
    })
}

fn lookup_failure(host: &str, error: &io::Error) -> Failure {
    let text = error.to_string();
    if text.contains("Temporary failure") {
        return Failure::Retryable(format!("dial tcp: lookup {host}: temporary failure in name resolution"));
    }
    Failure::Final(format!("dial tcp: lookup {host}: no such host"))
}

/// A parsed gRPC target.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// Host and port, not yet validated.
    Tcp(String),
    /// A Unix socket.
    Unix(String),
}

impl Target {
    fn parse(address: &str) -> Self {
        if let Some(path) = address.strip_prefix("unix:") {
            return Self::Unix(path.strip_prefix("//").unwrap_or(path).to_owned());
        }
        let plain = address.strip_prefix("passthrough:///").unwrap_or(address);
        match plain.strip_prefix("dns:") {
            // The resolver has a default port; an authority before the name would be a DNS server.
            Some(name) => {
                let name =
                    name.strip_prefix("//").map_or(name, |rest| rest.split_once('/').map_or(rest, |(_, name)| name));
                Self::Tcp(if split(name).is_ok() { name.to_owned() } else { format!("{name}:443") })
            }
            None => Self::Tcp(plain.to_owned()),
        }
    }

    /// The `:authority` of the requests.
    fn authority(&self) -> String {
        match self {
            Self::Tcp(address) if address.starts_with(':') => format!("localhost{address}"),
            Self::Tcp(address) => address.clone(),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The name to verify in the server's certificate.
    fn host(&self) -> String {
        let authority = self.authority();
        split(&authority).map_or(authority.clone(), |(host, _)| host.to_owned())
    }
}

/// Splits host and port. The error is Go's text.
fn split(address: &str) -> Result<(&str, &str), &'static str> {
    const MISSING_PORT: &str = "missing port in address";
    const TOO_MANY_COLONS: &str = "too many colons in address";
    let (before, port) = address.rsplit_once(':').ok_or(MISSING_PORT)?;
    if let Some(rest) = address.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("missing ']' in address")?;
        return match after.strip_prefix(':') {
            None if after.is_empty() => Err(MISSING_PORT),
            Some(port) if !port.contains(':') => Ok((host, port)),
            _ => Err(TOO_MANY_COLONS),
        };
    }
    if before.contains(':') { Err(TOO_MANY_COLONS) } else { Ok((before, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_like_in_go() {
        for (address, split_up) in [
            ("127.0.0.1:9999", Ok(("127.0.0.1", "9999"))),
            ("[::1]:9999", Ok(("::1", "9999"))),
            (":9999", Ok(("", "9999"))),
            ("127.0.0.1", Err("missing port in address")),
            ("[::1]", Err("missing port in address")),
            ("::1:9999", Err("too many colons in address")),
            ("[::1", Err("missing ']' in address")),
        ] {
            assert_eq!(split(address), split_up, "{address}");
        }
    }

    #[test]
    fn other_grpc_targets_are_supported() {
        for (address, target, host) in [
            ("cc:9999", Target::Tcp("cc:9999".to_owned()), "cc"),
            ("dns:///cc", Target::Tcp("cc:443".to_owned()), "cc"),
            ("dns:cc:9999", Target::Tcp("cc:9999".to_owned()), "cc"),
            ("passthrough:///[::1]:7", Target::Tcp("[::1]:7".to_owned()), "::1"),
            (":7", Target::Tcp(":7".to_owned()), "localhost"),
            ("unix:///run/cc.sock", Target::Unix("/run/cc.sock".to_owned()), "localhost"),
        ] {
            assert_eq!(Target::parse(address), target, "{address}");
            assert_eq!(target.host(), host, "{address}");
        }
    }
}
