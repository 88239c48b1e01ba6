//! Names of objects: DNS labels, derived from the nodes' full names, which have dots.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::topology::Topology;

/// A label's value has at most 63 characters. That of a `StatefulSet`'s pod is its name and a hash of ten
/// characters, and the name of a chaincode server has a suffix of ten characters.
const LONGEST: usize = 42;

/// The name of each node's objects.
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    pub(super) fn new(topology: &Topology) -> Self {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for node in topology.nodes() {
            *count.entry(plain(&node.name)).or_default() += 1;
        }
        let name_of = |full: String| {
            let plain = plain(&full);
            let is_fit = plain.len() <= LONGEST && count.get(&plain) == Some(&1);
            let name = if is_fit { plain } else { shortened(&plain, &full) };
            (full, name)
        };
        Self(topology.nodes().map(|node| name_of(node.name)).collect())
    }

    /// The name of a node's objects, which is also its host name in the namespace.
    pub(super) fn of(&self, node: &str) -> String {
        self.0.get(node).cloned().unwrap_or_else(|| plain(node))
    }
}

/// The name of the chaincode server's objects of a peer.
pub(super) fn of_server(peer: &str) -> String {
    format!("{peer}-chaincode")
}

fn plain(full: &str) -> String {
    let label: String = full.chars().map(|c| if c == '.' { '-' } else { c.to_ascii_lowercase() }).collect();
    // The name of a service must begin with a letter.
    if label.starts_with(|c: char| c.is_ascii_alphabetic()) { label } else { format!("n{label}") }
}

fn shortened(plain: &str, full: &str) -> String {
    let digest = hex::encode(Sha256::digest(full));
    let kept: String = plain.chars().take(LONGEST - 9).collect();
    format!("{}-{}", kept.trim_end_matches('-'), digest.get(..8).unwrap_or(&digest))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_a_unique_label() {
        let mut topology = Topology::duo();
        topology.organizations[0].domain = "a-b.c".to_owned();
        topology.organizations[1].domain = "a.b-c".to_owned();
        topology.ordering.domain = "0123456789.0123456789.0123456789.example.com".to_owned();
        topology.ordering.orderers[0].name = "0rderer".to_owned();
        let names = Names::new(&topology);
        let seen: BTreeSet<String> = topology.nodes().map(|node| names.of(&node.name)).collect();
        assert_eq!(seen.len(), topology.nodes().count(), "{seen:?}");
        for name in &seen {
            assert!(name.len() <= LONGEST && name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
        }
    }

    #[test]
    fn ordinary_names_are_readable() {
        assert_eq!(Names::new(&Topology::solo()).of("peer0.org1.example.com"), "peer0-org1-example-com");
    }
}
