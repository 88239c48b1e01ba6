//! Taps of a network in containers. They listen in this process, at the gateway of the containers, which is an
//! address of this machine if the engine runs on it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecOptions};
use bollard::query_parameters::InspectNetworkOptions;
use tokio::net::TcpListener;

use super::engine::EngineError;
use super::pod::Pod;
use super::{ChaincodePlacement, DockerRuntime, RuntimeError, Taps, chaincode};
use crate::console::error_text;
use crate::tap;

/// How long a connection from a container to this process may take. A firewall may drop it silently.
const BOUND: Duration = Duration::from_secs(5);

/// Places a tap for each chaincode server, if a test shows that containers reach this process.
pub(super) async fn place(
    runtime: &DockerRuntime,
    pod: &mut Pod,
    chaincodes: &mut BTreeMap<String, ChaincodePlacement>,
    hosts: &mut Vec<String>,
) -> Result<Taps, RuntimeError> {
    let pod = pod.ready().await?;
    let mut places = Vec::new();
    match listen(runtime, &pod.id, chaincodes.len()).await {
        Err(reason) => {
            let reason = format!("a tap would listen on this machine, but {reason}");
            return Ok(Taps::Impossible(reason));
        }
        Ok((gateway, listeners)) => {
            for ((name, place), listener) in chaincodes.iter_mut().zip(listeners) {
                let of_container = || {
                    let port = pod.published.get(&chaincode::port_of(place)).copied()?;
                    pod.reach.host.parse().ok().map(|host: IpAddr| SocketAddr::new(host, port))
                };
                let server = if place.dial.is_some() { place.socket_address() } else { of_container() };
                let (Some(server), Ok(own)) = (server, listener.local_addr()) else {
                    return Ok(Taps::Impossible("the address of this machine is unknown".to_owned()));
                };
                place.address = own.to_string();
                places.push(tap::Place { chaincode: name.clone(), listener, server });
            }
            hosts.push(gateway.to_string());
        }
    }
    Ok(Taps::Placed(places))
}

/// Listens at the gateway, and has a container connect to it. The error is why that fails.
async fn listen(
    runtime: &DockerRuntime,
    pod: &str,
    count: usize,
) -> Result<(IpAddr, Vec<std::net::TcpListener>), String> {
    let text = |error: EngineError| error_text(&error);
    let network = runtime.docker.inspect_network("bridge", None::<InspectNetworkOptions>);
    let network = runtime.engine.ask("inspect its bridge network", network).await.map_err(text)?;
    let configs = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    let gateway = configs.into_iter().find_map(|config| config.gateway?.parse::<IpAddr>().ok());
    let gateway = gateway.ok_or("the engine's bridge network has no gateway")?;
    let mut listeners = Vec::new();
    for _ in 0..count {
        let listener = TcpListener::bind((gateway, 0)).await;
        listeners.push(listener.map_err(|error| {
            format!("{gateway}, the gateway of the containers, is not an address of this machine: {error}")
        })?);
    }
    if let Some(first) = listeners.first() {
        let address = first.local_addr().map_err(|error| error.to_string())?;
        let connected = async {
            connect_from(runtime, pod, address).await.map_err(text)?;
            first.accept().await.map_err(|error| error.to_string())
        };
        match tokio::time::timeout(BOUND, connected).await {
            Ok(connected) => drop(connected?),
            Err(_) => {
                return Err(format!("no container reaches {address} on this machine; a firewall may be in between"));
            }
        }
    }
    let listeners = listeners.into_iter().map(TcpListener::into_std).collect::<Result<_, _>>();
    Ok((gateway, listeners.map_err(|error| error.to_string())?))
}

/// Has the shell of a container connect to an address once.
async fn connect_from(runtime: &DockerRuntime, pod: &str, address: SocketAddr) -> Result<(), EngineError> {
    let script = format!("exec 3<>/dev/tcp/{}/{}", address.ip(), address.port());
    let options = CreateExecOptions {
        cmd: Some(vec!["bash".to_owned(), "-c".to_owned(), script]),
        ..CreateExecOptions::default()
    };
    let create = runtime.docker.create_exec(pod, options);
    let id = runtime.engine.ask("prepare a connection from a container", create).await?.id;
    let detached = Some(StartExecOptions { detach: true, ..StartExecOptions::default() });
    runtime.engine.ask("connect from a container", runtime.docker.start_exec(&id, detached)).await?;
    Ok(())
}
