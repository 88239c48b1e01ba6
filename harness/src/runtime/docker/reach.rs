//! The addresses by which this program and containers reach each other.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::InspectNetworkOptions;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::engine::{Engine, EngineError};
use super::{EVERYWHERE, LOOPBACK};

/// How long ports that are published on loopback may take to appear there.
const LOOPBACK_BOUND: Duration = Duration::from_secs(1);

/// How this program reaches a published port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reach {
    /// The address of the engine's machine on which ports are published.
    pub(super) publish: String,
    /// The host that this program dials.
    pub(super) host: String,
}

impl Reach {
    /// The loopback, or the name of a remote engine.
    pub(super) fn of(engine: &Engine) -> Self {
        Self::by_name(remote_host(engine.uri()).unwrap_or(LOOPBACK))
    }

    /// The gateway of containers, if this program may run in one that has the engine's socket.
    pub(super) async fn by_gateway(engine: &Engine, docker: &Docker) -> Result<Option<Self>, EngineError> {
        if remote_host(engine.uri()).is_some() || !may_be_in_a_container() {
            return Ok(None);
        }
        let gateway = gateway(engine, docker).await?;
        Ok(gateway.map(|gateway| Self { publish: gateway.clone(), host: gateway }))
    }

    fn by_name(host: &str) -> Self {
        let is_here = matches!(host, "localhost" | LOOPBACK | "::1");
        let (publish, host) = if is_here { (LOOPBACK, LOOPBACK) } else { (EVERYWHERE, host) };
        Self { publish: publish.to_owned(), host: host.to_owned() }
    }
}

/// Whether these ports, published on the loopback of the engine's machine, are on that of this program. Machines
/// made from images have the files of a container, but are not containers.
pub(super) async fn is_loopback_shared(ports: impl Iterator<Item = u16>) -> bool {
    let deadline = Instant::now() + LOOPBACK_BOUND;
    for port in ports {
        while !is_reserved(port) && !is_open(port).await {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    true
}

/// Whether another program has this port, listening or not. A container that does not listen yet refuses
/// connections.
fn is_reserved(port: u16) -> bool {
    let bound = TcpSocket::new_v4().and_then(|socket| socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

async fn is_open(port: u16) -> bool {
    let connect = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    tokio::time::timeout(LOOPBACK_BOUND, connect).await.is_ok_and(|connected| connected.is_ok())
}

/// The address of the gateway of containers.
async fn gateway(engine: &Engine, docker: &Docker) -> Result<Option<String>, EngineError> {
    let bridge = docker.inspect_network("bridge", None::<InspectNetworkOptions>);
    let bridge = engine.ask("inspect its bridge network", bridge).await?;
    let gateways = bridge.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    Ok(gateways.into_iter().find_map(|config| config.gateway))
}

/// How containers reach a server on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    /// Its address, for the containers' hosts file: `host-gateway` has the engine choose.
    pub(super) address: String,
    /// The host that this program dials for a server that containers reach.
    pub(super) seen: String,
}

impl Machine {
    pub(super) async fn of(engine: &Engine, docker: &Docker) -> Result<Self, EngineError> {
        let gateway = gateway(engine, docker).await?;
        let remote = remote_host(engine.uri()).map(ToOwned::to_owned);
        let is_elsewhere = remote.is_some() || may_be_in_a_container();
        let own = remote.as_ref().or(gateway.as_ref()).and_then(|host| own_address(host));
        Ok(match own.map(|own| own.to_string()) {
            Some(own) if Some(&own) == gateway.as_ref() => Self { address: HOST_GATEWAY.to_owned(), seen: own },
            // The engine is on another machine, or this program runs in a container.
            Some(own) if is_elsewhere => Self { address: own.clone(), seen: own },
            // As in Docker Desktop, where the gateway is not an address of this machine.
            _ => Self { address: HOST_GATEWAY.to_owned(), seen: LOOPBACK.to_owned() },
        })
    }
}

const HOST_GATEWAY: &str = "host-gateway";

/// The address of this machine on the route to `host`. Sends nothing.
fn own_address(host: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((host, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The host of an address such as `tcp://host:2376`; `None` for a socket.
fn remote_host(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once("://")?;
    if !matches!(scheme, "tcp" | "http" | "https") {
        return None;
    }
    let authority = rest.split('/').next().unwrap_or(rest);
    let bracketed = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    Some(match bracketed {
        Some((address, _)) => address,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    })
}

/// Whether there are the files by which engines mark containers.
fn may_be_in_a_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_engine_is_read_from_its_address() {
        for (uri, host) in [
            ("unix:///var/run/docker.sock", None),
            ("tcp://docker:2376", Some("docker")),
            ("tcp://10.0.0.7:2375/", Some("10.0.0.7")),
            ("https://engine.example.com", Some("engine.example.com")),
            ("tcp://[fd00::1]:2375", Some("fd00::1")),
            ("nonsense", None),
        ] {
            assert_eq!(remote_host(uri), host, "{uri}");
        }
    }

    #[test]
    fn ports_are_published_to_other_machines_only_if_necessary() {
        assert_eq!(Reach::by_name("localhost").publish, LOOPBACK);
        assert_eq!(Reach::by_name("docker").publish, EVERYWHERE);
    }

    #[tokio::test]
    async fn the_loopback_is_shared_if_every_port_is_taken_there() {
        let taken = TcpSocket::new_v4().unwrap();
        taken.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let taken = taken.local_addr().unwrap().port();
        assert!(is_loopback_shared([taken].into_iter()).await, "reserved by somebody who does not listen");
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listening = listener.local_addr().unwrap().port();
        assert!(is_loopback_shared([listening].into_iter()).await);
        drop(listener);
        assert!(!is_loopback_shared([listening].into_iter()).await);
    }
}
