//! Images, and the addresses by which this machine and containers reach each other.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::query_parameters::InspectNetworkOptions;
use testcontainers::GenericImage;
use testcontainers::runners::AsyncRunner as _;

use super::container::Image;
use super::engine::{Engine, EngineError};
use super::{EVERYWHERE, Error, LOOPBACK};
use crate::console::error_text;
use crate::runtime::{ORDERER_IMAGE, PEER_IMAGE};

/// How long a pull may take. The images have about 170 MB together.
const PULL_BOUND: Duration = Duration::from_mins(10);

/// How long a registry may take to look for an image.
const REGISTRY_BOUND: Duration = Duration::from_secs(3);

/// Pulls an image unless the engine has it.
pub(super) async fn ensure(docker: &Docker, image: String) -> Result<(), Error> {
    if is_local(docker, &image).await? {
        return Ok(());
    }
    // Takes minutes, in which nothing else is printed.
    eprintln!("pulling {image} …");
    // With testcontainers, which knows the user's registry credentials.
    let Image { name, tag } = Image::parse(&image);
    let pull = GenericImage::new(name, tag).pull_image();
    match tokio::time::timeout(PULL_BOUND, pull).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Error::Image { image, reason: error_text(&error) }),
        Err(_) => {
            let reason = format!("the pull timed out after {} s", PULL_BOUND.as_secs());
            Err(Error::Image { image, reason })
        }
    }
}

/// [`ensure`] for the image of a chaincode server.
pub(super) async fn ensure_server(docker: &Docker, image: &str) -> Result<(), Error> {
    ensure(docker, image.to_owned()).await.map_err(|error| match error {
        Error::Image { image, reason } => Error::ServerImage { image, reason },
        other => other,
    })
}

async fn is_local(docker: &Docker, image: &str) -> Result<bool, Error> {
    let engine = Engine::from_environment();
    let answer = engine.ask("look for an image", docker.inspect_image(image)).await;
    match answer {
        Ok(_) => Ok(true),
        Err(EngineError::Refused {
            source: DockerError::DockerResponseServerError { status_code: 404, .. }, ..
        }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether [`DockerRuntime::find`](super::DockerRuntime::find) can be expected to succeed, without pulling
/// anything: an engine answers, and it or its registry has the images of this tag.
pub(super) async fn is_obtainable(tag: &str) -> Result<String, Error> {
    let engine = Engine::from_environment();
    let docker = engine.connect().await?;
    let mut absent = Vec::new();
    for name in [PEER_IMAGE, ORDERER_IMAGE] {
        let image = format!("{name}:{tag}");
        if !is_local(&docker, &image).await? {
            is_in_registry(&docker, &image).await?;
            absent.push(image);
        }
    }
    if absent.is_empty() {
        return Ok(format!("the engine at {} has the images {tag}", engine.uri()));
    }
    Ok(format!("the engine at {} can pull {}", engine.uri(), absent.join(" and ")))
}

async fn is_in_registry(docker: &Docker, image: &str) -> Result<(), Error> {
    let failed = |reason: String| Error::Image { image: image.to_owned(), reason };
    match tokio::time::timeout(REGISTRY_BOUND, docker.inspect_registry_image(image, None)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(failed(error_text(&error))),
        Err(_) => Err(failed(format!("the registry did not answer within {} s", REGISTRY_BOUND.as_secs()))),
    }
}

/// How this program reaches a published port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reach {
    /// The address of the engine's machine on which ports are published.
    pub(super) publish: &'static str,
    /// The host that this program dials.
    pub(super) host: String,
}

impl Reach {
    pub(super) async fn of(engine: &Engine, docker: &Docker) -> Result<Self, Error> {
        if let Some(host) = remote_host(engine.uri()) {
            return Ok(Self::by_name(host));
        }
        if !in_a_container() {
            return Ok(Self { publish: LOOPBACK, host: LOOPBACK.to_owned() });
        }
        // This program runs in a container that has the engine's socket: the engine's machine is its gateway.
        let gateway = gateway(engine, docker).await?;
        Ok(Self { publish: EVERYWHERE, host: gateway.unwrap_or_else(|| LOOPBACK.to_owned()) })
    }

    fn by_name(host: &str) -> Self {
        let here = matches!(host, "localhost" | LOOPBACK | "::1");
        if here {
            Self { publish: LOOPBACK, host: LOOPBACK.to_owned() }
        } else {
            Self { publish: EVERYWHERE, host: host.to_owned() }
        }
    }
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
        let is_elsewhere = remote.is_some() || in_a_container();
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

fn in_a_container() -> bool {
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
}
