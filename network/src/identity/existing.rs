//! Identities that exist already: those of an earlier bundle, or an operator's own authorities.
//!
//! They are files in the layout of a bundle's `organizations/`, which the caller has read. Existing certificates
//! are checked and used; missing ones are issued by the existing authorities.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::{IdentityError, PrivateKey, tree};
use crate::topology::{NodeKind, Topology};

/// The files of identities that exist already. Debug output shows no content.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ExistingIdentities {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl fmt::Debug for ExistingIdentities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ExistingIdentities({} files)", self.files.len())
    }
}

/// The paths of a certificate and its key, relative to the bundle.
pub(super) struct PairPaths {
    certificate: (PathBuf, String),
    key: (PathBuf, &'static str),
}

impl PairPaths {
    /// In `ca/` or `tlsca/` of an organization.
    pub(super) fn authority(organization: &Path, name: &str, domain: &str) -> Self {
        let directory = organization.join(name);
        Self {
            certificate: (directory.clone(), tree::authority_certificate(name, domain)),
            key: (directory, "priv_sk"),
        }
    }

    /// In a member's `msp/`.
    pub(super) fn msp(member: &Path, name: &str) -> Self {
        let msp = member.join("msp");
        Self {
            certificate: (msp.join("signcerts"), format!("{name}-cert.pem")),
            key: (msp.join("keystore"), "priv_sk"),
        }
    }

    /// `server.{crt,key}` in a directory.
    pub(super) fn server(directory: &Path) -> Self {
        Self { certificate: (directory.to_owned(), "server.crt".to_owned()), key: (directory.to_owned(), "server.key") }
    }

    /// `client.{crt,key}` in a directory.
    pub(super) fn client(directory: &Path) -> Self {
        Self { certificate: (directory.to_owned(), "client.crt".to_owned()), key: (directory.to_owned(), "client.key") }
    }
}

/// A certificate, its path, and its key if that exists.
pub(super) struct ExistingPair {
    pub(super) path: PathBuf,
    pub(super) certificate_pem: String,
    pub(super) key: Option<PrivateKey>,
}

impl ExistingIdentities {
    /// Files by their path relative to the bundle, which begins with `organizations/`.
    pub fn new(files: BTreeMap<PathBuf, Vec<u8>>) -> Self {
        Self { files }
    }

    /// Finds files of unknown organizations and nodes, and organizations whose authorities are missing.
    pub(super) fn check(&self, topology: &Topology) -> Result<(), IdentityError> {
        let mut problems: Vec<String> = self.unknown_paths(topology).into_iter().collect();
        for (kind, domain) in domains(topology) {
            let organization = tree::organization_directory(kind, domain);
            for name in ["ca", "tlsca"] {
                let place = PairPaths::authority(&organization, name, domain);
                if self.pair(&place)?.is_none() {
                    let (directory, file) = &place.certificate;
                    problems.push(format!("{}: missing", directory.join(file).display()));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(IdentityError::Mismatch { problems }) }
    }

    fn unknown_paths(&self, topology: &Topology) -> BTreeSet<String> {
        let organizations: BTreeSet<PathBuf> =
            domains(topology).map(|(kind, domain)| tree::organization_directory(kind, domain)).collect();
        let nodes: BTreeSet<PathBuf> =
            topology.nodes().map(|node| tree::node_directory(node.kind, node.domain, &node.name)).collect();
        let problem = |path: &PathBuf| {
            let [organization, parent, node] = [3, 4, 5].map(|count| path.iter().take(count).collect::<PathBuf>());
            let is_node = parent.ends_with("peers") || parent.ends_with("orderers");
            if !organizations.contains(&organization) {
                Some(format!("{}: not an organization of the topology", organization.display()))
            } else if is_node && !nodes.contains(&node) {
                Some(format!("{}: not a node of the topology", node.display()))
            } else {
                None
            }
        };
        self.files.keys().filter_map(problem).collect()
    }

    /// The pair at these paths; `None` when both files are missing.
    ///
    /// In an authority's directory and in an MSP a file may have another name, if it is the only candidate:
    /// `cryptogen` and fabric-ca name a key after its digest.
    pub(super) fn pair(&self, place: &PairPaths) -> Result<Option<ExistingPair>, IdentityError> {
        let (directory, name) = &place.certificate;
        let is_alone = !name.starts_with("server.") && !name.starts_with("client.");
        let path = self.one(directory, name, is_alone, is_certificate);
        let key = self.one(&place.key.0, place.key.1, is_alone, is_key);
        let key = key.map(|path| self.text(&path)).transpose()?.map(PrivateKey::from_pem);
        match (path, key) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(IdentityError::Existing {
                path: directory.join(name),
                problem: "is missing, but its key exists; add it, or remove the key to generate both".to_owned(),
            }),
            (Some(path), key) => {
                let certificate_pem = self.text(&path)?;
                Ok(Some(ExistingPair { path, certificate_pem, key }))
            }
        }
    }

    /// The text of a file; `None` when it does not exist.
    pub(super) fn file(&self, path: &Path) -> Result<Option<String>, IdentityError> {
        if self.files.contains_key(path) { self.text(path).map(Some) } else { Ok(None) }
    }

    /// The file with this name, or else the only candidate.
    fn one(&self, directory: &Path, name: &str, any_name: bool, fits: impl Fn(&str) -> bool) -> Option<PathBuf> {
        let exact = directory.join(name);
        if self.files.contains_key(&exact) {
            return Some(exact);
        }
        let fits = |path: &&PathBuf| {
            path.parent() == Some(directory) && path.file_name().and_then(|name| name.to_str()).is_some_and(&fits)
        };
        let mut fitting = self.files.keys().filter(fits);
        fitting.next().filter(|_| any_name && fitting.next().is_none()).cloned()
    }

    fn text(&self, path: &Path) -> Result<String, IdentityError> {
        let bytes = self.files.get(path).cloned().unwrap_or_default();
        String::from_utf8(bytes).map_err(|_| IdentityError::Existing {
            path: path.to_owned(),
            problem: "is not PEM; replace it with the certificate or key in that form".to_owned(),
        })
    }
}

fn is_key(name: &str) -> bool {
    ["_sk", "key.pem", ".key"].iter().any(|end| name.ends_with(end))
}

fn is_certificate(name: &str) -> bool {
    [".pem", ".crt"].iter().any(|end| name.ends_with(end)) && !is_key(name)
}

/// Every organization: the one with orderers, then those with peers.
fn domains(topology: &Topology) -> impl Iterator<Item = (NodeKind, &str)> {
    let peers = topology.organizations.iter().map(|organization| (NodeKind::Peer, organization.domain.as_str()));
    std::iter::once((NodeKind::Orderer, topology.ordering.domain.as_str())).chain(peers)
}
