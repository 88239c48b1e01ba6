//! The places of nodes and chaincode servers: names, ports and directories, chosen before anything is created.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use fabric_network::node::NodeKind;
use fabric_network::placement::{NodePlacement, Ports};
use fabric_network::topology::Topology;

use super::images;
use super::reach::Machine;
use super::{
    ChaincodePlacement, DockerRuntime, EVERYWHERE, Error, FreePorts, HERE, LOOPBACK, RuntimeError, ServerRequest,
};
use crate::runtime::package_addresses::PackageAddresses;
use crate::server::ServerSource;

/// The first peer and the first orderer have the ports of Fabric's documentation; each further one has ports
/// that are this much higher.
const STEP: u16 = 100;
const MOST_NODES: usize = 100;

/// The first port of chaincode servers, above those of all nodes.
const CHAINCODE_PORT: u16 = 20_000;

/// The directory of a node's data in the images, which declare its parent a volume.
const DATA: &str = "/var/hyperledger/production";

/// The directory of a node's configuration. Not the images' own `/etc/hyperledger/fabric`: the 2.5 images have
/// a sample MSP there, whose administrator would be added to ours.
const CONFIG: &str = "/etc/hyperledger/node";

/// The directory of a chaincode server's files in its container.
const CHAINCODE: &str = "/opt/chaincode";

impl DockerRuntime {
    /// Places servers in the pod, or on this machine, at a port where containers reach it.
    pub(super) async fn place_chaincodes(
        &self,
        chaincodes: &[ServerRequest<'_>],
        run: &Path,
    ) -> Result<Servers, RuntimeError> {
        let is_local = |source: &ServerSource| match source {
            ServerSource::Program(_) | ServerSource::Image(_) => false,
            ServerSource::Command { .. } => true,
            ServerSource::Address { address, .. } => address.is_loopback(),
        };
        let machine = if chaincodes.iter().any(|request| is_local(request.source)) {
            Some(Machine::of(&self.engine, &self.docker).await?)
        } else {
            None
        };
        let is_command = |request: &&ServerRequest<'_>| matches!(request.source, ServerSource::Command { .. });
        let count = chaincodes.iter().filter(is_command).count();
        let ports = FreePorts::take_on(Ipv4Addr::UNSPECIFIED, count);
        let (ports, mut free) = ports.map_err(|source| RuntimeError::Ports { count, source })?;
        let mut hosts: BTreeMap<String, String> = BTreeMap::new();
        let (mut places, mut at_package_addresses) = (BTreeMap::new(), BTreeMap::new());
        for (request, port) in chaincodes.iter().zip(CHAINCODE_PORT..) {
            let ServerRequest { name, source, .. } = request;
            // A tap would be at another address.
            let fixed = PackageAddresses::of(request).filter(|_| !self.options.tap);
            let port = fixed.as_ref().map_or(port, |fixed| fixed.port);
            let directory = run.join("chaincode").join(name);
            let place = match source {
                ServerSource::Program(_) => place_chaincode(name, port),
                ServerSource::Image(image) => {
                    images::ensure_server(&self.docker, image).await?;
                    place_chaincode(name, port)
                }
                ServerSource::Command { .. } => place_here(free.pop_front().unwrap_or_default(), LOOPBACK, directory),
                ServerSource::Address { address, directory: own } => {
                    let directory = own.clone().unwrap_or(directory);
                    match &machine {
                        Some(machine) if address.is_loopback() => place_here(address.port, &machine.seen, directory),
                        _ => ChaincodePlacement {
                            address: address.to_string(),
                            dial: Some(address.to_string()),
                            listen: address.at(EVERYWHERE).to_string(),
                            directory,
                        },
                    }
                }
            };
            if !is_local(source) && source.is_ours() {
                hosts.insert(chaincode_host(name), LOOPBACK.to_owned());
            }
            places.insert((*name).to_owned(), place);
            if let Some(fixed) = fixed {
                let is_name = |host: &&String| host.parse::<IpAddr>().is_err();
                hosts.extend(fixed.hosts.iter().filter(is_name).map(|host| (host.clone(), LOOPBACK.to_owned())));
                at_package_addresses.insert((*name).to_owned(), fixed);
            }
        }
        hosts.extend(machine.map(|machine| (HERE.to_owned(), machine.address)));
        Ok(Servers { places, ports, hosts, fixed: at_package_addresses })
    }

    /// Places the nodes at ports other than these.
    pub(super) fn place_nodes(
        &self,
        topology: &Topology,
        taken: &BTreeSet<u16>,
    ) -> Result<BTreeMap<String, NodePlacement>, Error> {
        let is_free = |ports: &Ports| {
            let Ports { grpc, operations, admin, chaincode } = *ports;
            [Some(grpc), Some(operations), admin, chaincode].into_iter().flatten().all(|port| !taken.contains(&port))
        };
        let count = topology.nodes().count();
        if count > MOST_NODES {
            return Err(Error::TooManyNodes { count, most: MOST_NODES });
        }
        let mut peers = (0..).map(peer_ports).filter(is_free);
        let mut orderers = (0..).map(orderer_ports).filter(is_free);
        let nodes = topology.nodes().filter_map(|node| {
            let ports = match node.kind {
                NodeKind::Peer => peers.next(),
                NodeKind::Orderer => orderers.next(),
            };
            Some((node.name.clone(), self.place_node(node.name, ports?)))
        });
        Ok(nodes.collect())
    }

    fn place_node(&self, host: String, ports: Ports) -> NodePlacement {
        NodePlacement {
            host,
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ports,
            extra_sans: std::iter::once("localhost".to_owned())
                .chain([Some(&self.reach), self.gateway.as_ref()].into_iter().flatten().map(|reach| reach.host.clone()))
                .collect(),
            config_dir: PathBuf::from(CONFIG),
            data_dir: PathBuf::from(DATA),
            builder_dir: Path::new(CONFIG).join("builder"),
        }
    }
}

fn peer_ports(index: u16) -> Ports {
    let above = index * STEP;
    Ports { grpc: 7051 + above, operations: 7054 + above, admin: None, chaincode: Some(7052 + above) }
}

fn orderer_ports(index: u16) -> Ports {
    let above = index * STEP;
    Ports { grpc: 7050 + above, operations: 7055 + above, admin: Some(7053 + above), chaincode: None }
}

/// The places of chaincode servers, the reserved ports of this machine, and the addresses of the hosts that
/// peers dial.
pub(super) struct Servers {
    pub(super) places: BTreeMap<String, ChaincodePlacement>,
    pub(super) ports: FreePorts,
    pub(super) hosts: BTreeMap<String, String>,
    /// The servers that are at the addresses of their package.
    pub(super) fixed: BTreeMap<String, PackageAddresses>,
}

/// The host that peers dial.
pub(super) fn host_of(place: &ChaincodePlacement) -> Option<String> {
    let (host, _) = place.address.rsplit_once(':')?;
    Some(host.trim_matches(['[', ']']).to_owned())
}

/// A server on this machine, which this program finds at `host`.
fn place_here(port: u16, host: &str, directory: PathBuf) -> ChaincodePlacement {
    ChaincodePlacement {
        address: format!("{HERE}:{port}"),
        dial: Some(format!("{host}:{port}")),
        // Containers come in through an interface that only the engine knows.
        listen: format!("{EVERYWHERE}:{port}"),
        directory,
    }
}

fn place_chaincode(name: &str, port: u16) -> ChaincodePlacement {
    let address = format!("{}:{port}", chaincode_host(name));
    ChaincodePlacement {
        dial: None,
        address,
        listen: format!("{EVERYWHERE}:{port}"),
        directory: PathBuf::from(CHAINCODE),
    }
}

/// A DNS label from the chaincode's name, which may have `_` and upper-case letters.
fn chaincode_host(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let label: String = name.chars().map(plain).take(50).collect();
    format!("{}.chaincode", label.trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_nodes_share_a_port() {
        let mut seen = BTreeSet::new();
        for index in 0..50 {
            for ports in [peer_ports(index), orderer_ports(index)] {
                let Ports { grpc, operations, admin, chaincode } = ports;
                for port in [Some(grpc), Some(operations), admin, chaincode].into_iter().flatten() {
                    assert!(seen.insert(port), "duplicate port {port}");
                    assert!(port < CHAINCODE_PORT);
                }
            }
        }
    }

    #[test]
    fn the_first_nodes_have_the_documented_ports() {
        assert_eq!((orderer_ports(0).grpc, orderer_ports(0).admin), (7050, Some(7053)));
        assert_eq!((peer_ports(0).grpc, peer_ports(0).chaincode), (7051, Some(7052)));
    }

    #[test]
    fn a_chaincode_name_becomes_a_host_name() {
        assert_eq!(chaincode_host("asset-transfer_Basic"), "asset-transfer-basic.chaincode");
    }
}
