//! Where each node is: hosts, ports, directories, additional names for certificates.
//!
//! A runtime decides this before anything is rendered or started, because certificates and channel
//! configurations contain names and ports. Here it is only described and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::topology::{NodeKind, Topology};

/// Where every node of a topology is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// By full node name, such as `peer0.org1.example.com`; exactly the nodes of the topology.
    pub nodes: BTreeMap<String, NodePlacement>,
    /// The names and IP addresses under which peers dial the chaincode server: the SANs of each
    /// organization's chaincode server certificate. May be empty when no chaincode server is used.
    pub chaincode_hosts: Vec<String>,
}

/// Where one node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlacement {
    /// The host under which other nodes and clients reach it, such as `127.0.0.1` or
    /// `peer0.org1.example.com`. It is in channel configurations and in the node's TLS certificate.
    pub host: String,
    /// The address that all its ports listen on.
    pub bind: IpAddr,
    /// Its ports, the same inside and outside its host.
    pub ports: Ports,
    /// Additional names and addresses for its TLS certificate, such as `localhost` for clients that use a
    /// published port. Its full name, its label and `host` are always included.
    pub extra_sans: Vec<String>,
    /// The absolute path of the node's directory as the node sees it (see
    /// [`NodeSpec`](crate::node::NodeSpec)): on this machine for a process, such as `/etc/hyperledger/node` in
    /// a container.
    pub config_dir: PathBuf,
    /// The directory of its ledgers, absolute or relative to `config_dir`.
    pub data_dir: PathBuf,
    /// Peers: the external builder's directory as the peer sees it, absolute. Its `bin/` holds
    /// `detect`, `build`, `release` and `run`. Orderers: not used.
    pub builder_dir: PathBuf,
}

/// Where the chaincode server of one peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerPlacement {
    /// The name or address under which its peer dials it. Always in its certificate.
    pub host: String,
    /// The address that it listens on.
    pub bind: IpAddr,
    /// Its port.
    pub port: u16,
    /// Additional names and addresses for its certificate.
    pub extra_sans: Vec<String>,
    /// The absolute path of the server's directory as the server sees it.
    pub directory: PathBuf,
}

/// The ports of one node. All different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The gRPC services, also between orderers.
    pub grpc: u16,
    /// `/healthz`, `/metrics`, `/logspec`, `/version` over TLS.
    pub operations: u16,
    /// Orderers: the channel participation API, with mutual TLS.
    pub admin: Option<u16>,
    /// Peers: where chaincode connects that the peer starts itself. Chaincode as a service does not use it,
    /// but the peer always listens.
    pub chaincode: Option<u16>,
}

impl NodePlacement {
    /// `host:port`, with brackets around an IPv6 host.
    pub fn endpoint(&self, port: u16) -> String {
        if self.host.parse::<std::net::Ipv6Addr>().is_ok() {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }
}

impl ServerPlacement {
    /// `host:port`, with brackets around an IPv6 host.
    pub fn address(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, self.port).to_string(),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

impl Placement {
    /// Everything that does not fit the topology or cannot be written into a configuration.
    pub(crate) fn problems(&self, topology: &Topology) -> Vec<String> {
        let mut problems = Vec::new();
        let mut known = BTreeSet::new();
        for node in topology.nodes() {
            match self.nodes.get(&node.name) {
                None => problems.push(format!("{}: missing placement", node.name)),
                Some(placement) => {
                    let found = placement.problems(node.kind);
                    problems.extend(found.into_iter().map(|text| format!("{}: {text}", node.name)));
                }
            }
            known.insert(node.name);
        }
        for name in self.nodes.keys().filter(|name| !known.contains(*name)) {
            problems.push(format!("{name}: not a node of the topology"));
        }
        for host in self.chaincode_hosts.iter().filter(|host| !is_host(host)) {
            problems.push(format!("chaincode_hosts: invalid host name or IP address {host:?}"));
        }
        problems
    }
}

impl NodePlacement {
    fn problems(&self, kind: NodeKind) -> Vec<String> {
        let mut problems = Vec::new();
        if !is_host(&self.host) {
            problems.push(format!("invalid host name or IP address {:?}", self.host));
        }
        if self.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
            problems.push(format!("host {} is not reachable from other nodes", self.host));
        }
        for name in self.extra_sans.iter().filter(|name| !is_host(name)) {
            problems.push(format!("extra_sans: invalid host name or IP address {name:?}"));
        }
        match kind {
            NodeKind::Orderer if self.ports.admin.is_none() => {
                problems.push("missing admin port, which an orderer needs".to_owned());
            }
            NodeKind::Peer if self.ports.chaincode.is_none() => {
                problems.push("missing chaincode port, which a peer needs".to_owned());
            }
            NodeKind::Orderer | NodeKind::Peer => {}
        }
        let Ports { grpc, operations, admin, chaincode } = self.ports;
        let mut seen = BTreeSet::new();
        for port in [Some(grpc), Some(operations), admin, chaincode].into_iter().flatten() {
            if port == 0 {
                problems.push("invalid port 0".to_owned());
            } else if !seen.insert(port) {
                problems.push(format!("duplicate port {port}"));
            }
        }
        for (what, path) in self.absolute_paths(kind) {
            if !path.is_absolute() {
                problems.push(format!("{what} {} is not absolute", path.display()));
            }
        }
        for path in [&self.config_dir, &self.data_dir, &self.builder_dir] {
            if path.to_str().is_none_or(|text| text.chars().any(char::is_control)) {
                problems.push(format!("{} cannot be written in a YAML file", path.display()));
            }
        }
        problems
    }

    fn absolute_paths(&self, kind: NodeKind) -> Vec<(&'static str, &Path)> {
        let mut paths: Vec<(&'static str, &Path)> = vec![("config_dir", &self.config_dir)];
        if kind == NodeKind::Peer {
            paths.push(("builder_dir", &self.builder_dir));
        }
        paths
    }
}

/// Whether the text is an IP address, or a name for DNS or a container engine.
pub fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
        || (text.len() <= 253
            && text.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(topology: &Topology) -> Placement {
        let nodes = topology
            .nodes()
            .zip(0_u16..)
            .map(|(node, index)| {
                let placement = NodePlacement {
                    host: "127.0.0.1".to_owned(),
                    bind: "127.0.0.1".parse().unwrap(),
                    ports: Ports {
                        grpc: 7000 + 10 * index,
                        operations: 7001 + 10 * index,
                        admin: (node.kind == NodeKind::Orderer).then_some(7002 + 10 * index),
                        chaincode: (node.kind == NodeKind::Peer).then_some(7003 + 10 * index),
                    },
                    extra_sans: Vec::new(),
                    config_dir: "/network/node".into(),
                    data_dir: "data".into(),
                    builder_dir: "/network/builder".into(),
                };
                (node.name, placement)
            })
            .collect();
        Placement { nodes, chaincode_hosts: vec!["127.0.0.1".to_owned()] }
    }

    #[test]
    fn a_complete_placement_has_no_problems() {
        let topology = Topology::duo();
        assert_eq!(placed(&topology).problems(&topology), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_reported_with_its_node() {
        let topology = Topology::solo();
        let mut placement = placed(&topology);
        let orderer = placement.nodes.remove("orderer.example.com").unwrap();
        placement.nodes.insert("unknown.example.com".to_owned(), orderer);
        placement.chaincode_hosts.push("a b".to_owned());
        let peer = placement.nodes.get_mut("peer0.org1.example.com").unwrap();
        peer.host = "0.0.0.0".to_owned();
        peer.ports.chaincode = None;
        peer.ports.operations = peer.ports.grpc;
        peer.builder_dir = "builder".into();
        peer.extra_sans.push("x y".to_owned());
        assert_eq!(
            placement.problems(&topology),
            [
                "orderer.example.com: missing placement",
                "peer0.org1.example.com: host 0.0.0.0 is not reachable from other nodes",
                "peer0.org1.example.com: extra_sans: invalid host name or IP address \"x y\"",
                "peer0.org1.example.com: missing chaincode port, which a peer needs",
                "peer0.org1.example.com: duplicate port 7010",
                "peer0.org1.example.com: builder_dir builder is not absolute",
                "unknown.example.com: not a node of the topology",
                "chaincode_hosts: invalid host name or IP address \"a b\"",
            ]
        );
    }

    #[test]
    fn an_ipv6_host_gets_brackets() {
        let topology = Topology::solo();
        let mut node = placed(&topology).nodes.remove("orderer.example.com").unwrap();
        node.host = "::1".to_owned();
        assert_eq!(node.endpoint(7050), "[::1]:7050");
    }
}
