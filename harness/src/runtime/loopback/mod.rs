//! Places and processes on the loopback of this machine, for the runtimes without containers.

mod child;
mod holder;
mod ports;
mod server;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fabric_network::node::{NodeKind, NodeSpec};
use fabric_network::placement::{NodePlacement, Placement, Ports as NodePorts};
use fabric_network::topology::Topology;

use super::placed::{OwnedRun, Taps};
use super::{ChaincodePlacement, Placed, Prepared, RunningNode, RuntimeError, RuntimeOptions, ServerRequest};
use crate::cleanup::RunGuard;
use crate::server::{Address, ServerSource};
use crate::tap;

pub(super) use child::{Child, Program};
pub(super) use ports::Ports;
pub(super) use server::{Surroundings, start};

const HOST: &str = "127.0.0.1";
const PORTS_PER_NODE: usize = 3;

/// Reserves ports for every node and chaincode server, and directories in that of the run. The same seed
/// reserves the same ports.
pub(super) fn place(
    options: &RuntimeOptions,
    topology: &Topology,
    chaincodes: &[ServerRequest<'_>],
    can_tap: bool,
    seed: Option<u64>,
    prepare: impl FnOnce(Arc<Ports>) -> Box<dyn Prepared>,
) -> Result<Placed, RuntimeError> {
    let run = OwnedRun::new(RunGuard::begin(&options.parent, &options.reaper)?, options, Vec::new());
    let directory = run.guard().workspace().directory().to_owned();
    let tapped = if options.tap && can_tap { chaincodes.len() } else { 0 };
    let count = topology.nodes().count() * PORTS_PER_NODE + chaincodes.len() + tapped;
    let (ports, mut free) = Ports::take(count, seed).map_err(|source| RuntimeError::Ports { count, source })?;
    let nodes = topology
        .nodes()
        .map(|node| {
            let place = place_node(&directory, &node.name, node.kind, &mut free);
            (node.name, place)
        })
        .collect();
    let mut chaincode_hosts = vec![HOST.to_owned(), "localhost".to_owned()];
    let mut places = BTreeMap::new();
    for ServerRequest { name, source, .. } in chaincodes {
        let directory = directory.join("chaincode").join(name);
        let place = match source {
            ServerSource::Address { address, directory: own } => {
                chaincode_hosts.push(address.host.clone());
                place_external(address, own.clone().unwrap_or(directory))
            }
            _ => place_chaincode(directory, &mut free),
        };
        places.insert((*name).to_owned(), place);
    }
    chaincode_hosts.sort();
    chaincode_hosts.dedup();
    let taps = match (options.tap, can_tap) {
        (_, false) => Taps::Needless,
        (false, true) => Taps::Unwanted,
        (true, true) => match place_taps(&mut places, &ports, &mut free) {
            none if none.is_empty() => {
                Taps::Impossible("cannot resolve the address of the chaincode server".to_owned())
            }
            taps => Taps::Placed(taps),
        },
    };
    Ok(Placed {
        placement: Placement { nodes, chaincode_hosts },
        chaincodes: places,
        at_package_addresses: BTreeSet::new(),
        options: options.clone(),
        taps,
        prepared: prepare(Arc::new(ports)),
        run,
    })
}

fn place_node(run: &Path, name: &str, kind: NodeKind, free: &mut VecDeque<u16>) -> NodePlacement {
    let mut next = || free.pop_front().unwrap_or_default();
    let (grpc, operations, third) = (next(), next(), Some(next()));
    let ports = match kind {
        NodeKind::Peer => NodePorts { grpc, operations, admin: None, chaincode: third },
        NodeKind::Orderer => NodePorts { grpc, operations, admin: third, chaincode: None },
    };
    NodePlacement {
        host: HOST.to_owned(),
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ports,
        extra_sans: vec!["localhost".to_owned()],
        config_dir: run.join("nodes").join(name),
        data_dir: PathBuf::from("data"),
        builder_dir: run.join("builder"),
    }
}

fn place_chaincode(directory: PathBuf, free: &mut VecDeque<u16>) -> ChaincodePlacement {
    let address = format!("{HOST}:{}", free.pop_front().unwrap_or_default());
    ChaincodePlacement { listen: address.clone(), dial: Some(address.clone()), address, directory }
}

/// Peers and this program dial the same address. A server on another machine listens on all of its addresses,
/// unless its user chooses one.
fn place_external(address: &Address, directory: PathBuf) -> ChaincodePlacement {
    let listen = match address.host.as_str() {
        "localhost" => address.at(HOST),
        _ if address.is_loopback() => address.clone(),
        _ => address.at("0.0.0.0"),
    };
    let (address, listen) = (address.to_string(), listen.to_string());
    ChaincodePlacement { dial: Some(address.clone()), address, listen, directory }
}

/// A tap for each chaincode server, which the peers dial instead.
fn place_taps(
    chaincodes: &mut BTreeMap<String, ChaincodePlacement>,
    ports: &Ports,
    free: &mut VecDeque<u16>,
) -> Vec<tap::Place> {
    let place = |(name, chaincode): (&String, &mut ChaincodePlacement)| {
        let port = free.pop_front()?;
        let listener = ports.listeners(&[port]).pop()?;
        let server = chaincode.socket_address()?;
        chaincode.address = format!("{HOST}:{port}");
        Some(tap::Place { chaincode: name.clone(), listener, server })
    };
    chaincodes.iter_mut().filter_map(place).collect()
}

/// A node, which clients reach at its place.
pub(super) fn reached(spec: &NodeSpec) -> RunningNode {
    let place = &spec.placement;
    let admin = place.ports.admin.map(|port| place.endpoint(port));
    RunningNode::new(spec, &place.endpoint(place.ports.grpc), admin.as_deref())
}
