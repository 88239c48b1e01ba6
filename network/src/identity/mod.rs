//! Keys and certificates of organizations, nodes and users.
//!
//! Every organization has two certificate authorities, one for signing identities and one for TLS, as with
//! Fabric's `cryptogen`. Nothing here reads the clock or the disk: the caller gives the validity and existing
//! files.

mod authority;
mod existing;
mod key;
mod organization;
mod tree;
mod verify;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

pub use self::existing::ExistingIdentities;
pub(crate) use self::tree::{
    CLIENT_ROOTS, SERVER_ROOTS, files, node_directory, organization_directory, server_directory,
};

use crate::placement::{Placement, ServerPlacement};
use crate::topology::Topology;

/// A private key: PKCS#8 in PEM, ECDSA P-256. Debug output does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(String);

impl PrivateKey {
    /// A key in PEM, which is not checked.
    pub fn from_pem(pem: impl Into<String>) -> Self {
        Self(pem.into())
    }

    /// The key in PEM. Never put it into logs, packages or messages.
    pub fn as_pem(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PrivateKey(…)")
    }
}

/// A signing identity of an MSP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The MSP that it belongs to.
    pub msp_id: String,
    /// Its certificate, issued by the organization's CA.
    pub certificate_pem: String,
    /// Its key.
    pub private_key_pem: PrivateKey,
}

/// A TLS certificate and its key, issued by an organization's TLS CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPair {
    /// The certificate.
    pub certificate_pem: String,
    /// Its key.
    pub private_key_pem: PrivateKey,
}

/// The certificates and keys of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The identity that signs endorsements, blocks and gossip messages.
    pub sign: Credential,
    /// The TLS pair, for server and client, with the SANs of its placement.
    pub tls: TlsPair,
    /// Peers: the client pair for chaincode servers with mutual TLS.
    pub chaincode_client: Option<TlsPair>,
    /// Peers with their own chaincode server: that server's pair.
    pub chaincode_server: Option<TlsPair>,
    /// Peers with their own chaincode server: the roots that the two trust.
    pub chaincode_roots: Option<ChaincodeRoots>,
}

/// The root certificates that a peer and its chaincode server trust, in PEM, one after another: the
/// organization's TLS CA, or those that an operator uses while one authority replaces another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChaincodeRoots {
    /// The peer's roots, for the server's certificate.
    pub server_roots_pem: String,
    /// The server's roots, for the peer's certificate.
    pub client_roots_pem: String,
}

/// The identities of one organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationIdentities {
    /// Its MSP ID.
    pub msp_id: String,
    /// Its name in the topology.
    pub name: String,
    /// Its domain.
    pub domain: String,
    /// The certificate of `ca.<domain>`, which issues signing identities.
    pub ca_pem: String,
    /// The certificate of `tlsca.<domain>`, which issues TLS certificates.
    pub tls_ca_pem: String,
    /// The key of `ca.<domain>`. A running network does not need it; existing identities may lack it.
    pub ca_key: Option<PrivateKey>,
    /// The key of `tlsca.<domain>`, which existing identities may lack too.
    pub tls_ca_key: Option<PrivateKey>,
    /// `Admin@<domain>`.
    pub admin: Credential,
    /// The administrator's TLS client pair, which the orderers' admin endpoint requires.
    pub admin_tls: TlsPair,
    /// `User1@<domain>` and so on. Empty for the ordering organization.
    pub users: Vec<Credential>,
    /// The TLS client pairs of the users, in the same order.
    pub users_tls: Vec<TlsPair>,
    /// The pair of a chaincode server that the organization's peers share. Its SANs are the placement's
    /// chaincode hosts; empty without such hosts. Written to disk only for organizations with peers.
    pub chaincode_server: TlsPair,
    /// Its peers or orderers, by full name.
    pub nodes: BTreeMap<String, NodeIdentity>,
}

/// The identities of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identities {
    /// The seed of keys that are the same in each run. Such keys are not secret.
    pub seed: Option<u64>,
    /// The organizations with peers, in the order of the topology.
    pub peer_organizations: Vec<OrganizationIdentities>,
    /// The organization of the orderers.
    pub orderer_organization: OrganizationIdentities,
}

/// When certificates are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The start, in whole seconds. Usually a few minutes ago, for machines whose clocks are behind.
    pub not_before: SystemTime,
    /// The end, in whole seconds.
    pub not_after: SystemTime,
}

impl Validity {
    /// How far before `now` the validity of [`starting`](Self::starting) begins.
    pub const BACK_DATING: Duration = Duration::from_mins(5);

    /// From 2020 to 2100, for certificates that are the same in each run.
    pub fn fixed() -> Self {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Self { not_before: at(1_577_836_800), not_after: at(4_102_444_800) }
    }

    /// From five minutes before `now` until `lifetime` after it.
    pub fn starting(now: SystemTime, lifetime: Duration) -> Self {
        Self {
            not_before: now.checked_sub(Self::BACK_DATING).unwrap_or(now),
            not_after: now.checked_add(lifetime).unwrap_or(now),
        }
    }
}

/// Why keys or certificates could not be generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The validity ends before it begins, or is outside the years 1970 to 9999.
    #[error(
        "invalid validity of certificates, {not_before:?} to {not_after:?}: the end must be after the start, both between 1970 and 9999"
    )]
    Validity {
        /// The start given.
        not_before: SystemTime,
        /// The end given.
        not_after: SystemTime,
    },
    /// A node has no placement.
    #[error("missing placement of {name}")]
    NotPlaced {
        /// The full name of the node.
        name: String,
    },
    /// Existing identities belong to another network.
    #[error("the identities do not match the topology:\n{}", problems.join("\n"))]
    Mismatch {
        /// The missing and the unknown files. Never empty.
        problems: Vec<String>,
    },
    /// An existing certificate or key cannot be used.
    #[error("{} {problem}", path.display())]
    Existing {
        /// The certificate, relative to the bundle.
        path: PathBuf,
        /// What is wrong with it, and how to fix it.
        problem: String,
    },
    /// A certificate must be issued, and the authority's key is missing.
    #[error(
        "cannot issue a certificate for {name}: missing key of the authority {}; add it as priv_sk, in the same \
         directory",
        authority.display()
    )]
    NoAuthorityKey {
        /// The name in the certificate.
        name: String,
        /// The authority's certificate, relative to the bundle.
        authority: PathBuf,
    },
    /// A certificate could not be issued.
    #[error("cannot issue the certificate of {name}")]
    Certificate {
        /// The name in the certificate.
        name: String,
        /// The error of the library.
        #[source]
        source: rcgen::Error,
    },
}

/// The input of identities.
pub(crate) struct Source<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) placement: &'a Placement,
    pub(crate) validity: Validity,
    /// The seed of keys that are the same in each run.
    pub(crate) seed: Option<u64>,
    /// Identities that exist already; the others are generated.
    pub(crate) existing: Option<&'a ExistingIdentities>,
    /// The chaincode servers that serve one peer each, by the peer's full name.
    pub(crate) servers: Option<&'a BTreeMap<String, ServerPlacement>>,
}

/// Generates every key and certificate of a network, different ones on each call.
///
/// # Errors
///
/// [`IdentityError`]. With a valid topology and a complete placement, only the validity can be wrong.
pub fn generate(topology: &Topology, placement: &Placement, validity: Validity) -> Result<Identities, IdentityError> {
    reuse_or_generate(&Source { topology, placement, validity, seed: None, existing: None, servers: None })
}

/// Uses the keys and certificates that exist already, and generates the others.
pub(crate) fn reuse_or_generate(source: &Source<'_>) -> Result<Identities, IdentityError> {
    if let Some(existing) = source.existing {
        existing.check(source.topology)?;
    }
    let factory = organization::Factory::new(source)?;
    let topology = source.topology;
    Ok(Identities {
        seed: source.seed,
        peer_organizations: topology
            .organizations
            .iter()
            .map(|organization| factory.peer_organization(organization))
            .collect::<Result<_, _>>()?,
        orderer_organization: factory.orderer_organization(&topology.ordering)?,
    })
}

/// The start of a certificate's validity; `None` when it cannot be read.
pub(crate) fn not_before(certificate_pem: &str) -> Option<SystemTime> {
    verify::Parsed::new(certificate_pem).ok()?.not_before()
}
