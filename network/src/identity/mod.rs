//! Who everyone is: keys and certificates of organizations, nodes and users.
//!
//! Every organization has two certificate authorities, one for signing identities and one for
//! TLS, as Fabric's own `cryptogen` makes them. The room makes them and lays them out as files;
//! it does not read the clock (validity is the caller's) nor the disk.

mod authority;
mod former;
mod key;
mod organization;
mod tree;
mod verify;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

pub use self::former::Former;
pub(crate) use self::tree::{
    CLIENT_ROOTS, SERVER_ROOTS, files, node_directory, organization_directory, server_directory,
};

use crate::placement::{Placement, ServerPlacement};
use crate::topology::Topology;

/// A private key: PKCS#8 in PEM, ECDSA P-256. Debug output does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(String);

impl PrivateKey {
    /// Wraps a key in PEM, without looking at it.
    pub fn from_pem(pem: impl Into<String>) -> Self {
        Self(pem.into())
    }

    /// The key. Not for logs, packages or messages.
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

/// What a node proves itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Signs endorsements, blocks and gossip messages.
    pub sign: Credential,
    /// Server and client in TLS, with the SANs of its placement.
    pub tls: TlsPair,
    /// Peers: the client certificate towards chaincode servers that ask for one.
    pub chaincode_client: Option<TlsPair>,
    /// Peers with a chaincode server of their own: that server's pair.
    pub chaincode_server: Option<TlsPair>,
    /// Peers with a chaincode server of their own: whom the two trust.
    pub chaincode_roots: Option<ChaincodeRoots>,
}

/// Whom a peer and its chaincode server trust, as certificates in PEM, one after another: the
/// organization's TLS CA, or what an operator has put there instead while one authority replaces another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChaincodeRoots {
    /// What the peer takes the server's certificate of.
    pub of_server_pem: String,
    /// What the server takes the peer's certificate of.
    pub of_client_pem: String,
}

/// Everyone in one organization.
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
    /// The key of `ca.<domain>`. Nothing in a running network needs it; identities that were brought
    /// may come without it.
    pub ca_key: Option<PrivateKey>,
    /// The key of `tlsca.<domain>`, likewise.
    pub tls_ca_key: Option<PrivateKey>,
    /// `Admin@<domain>`.
    pub admin: Credential,
    /// The administrator's TLS client pair: for an ordering organization, what the orderers'
    /// admin endpoint asks for.
    pub admin_tls: TlsPair,
    /// `User1@<domain>` and so on. Empty for the ordering organization.
    pub users: Vec<Credential>,
    /// The TLS client pairs of the users, in the same order.
    pub users_tls: Vec<TlsPair>,
    /// For a server of chaincode as a service that the organization runs; its SANs are the
    /// placement's chaincode hosts. Written to disk for organizations with peers only. Empty when
    /// the placement has no such host.
    pub chaincode_server: TlsPair,
    /// Its peers or orderers, by full name.
    pub nodes: BTreeMap<String, NodeIdentity>,
}

/// Everyone in a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identities {
    /// What the keys and certificates were made from, if they are the same in each run. Such keys are
    /// no secret.
    pub seed: Option<u64>,
    /// The organizations with peers, in the order of the topology.
    pub peer_organizations: Vec<OrganizationIdentities>,
    /// The organization of the orderers.
    pub orderer_organization: OrganizationIdentities,
}

/// When certificates are valid. The caller's choice: the crate reads no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when on, in whole seconds. A few minutes before now, so that a clock that is a
    /// little behind accepts them.
    pub not_before: SystemTime,
    /// Until when, in whole seconds.
    pub not_after: SystemTime,
}

impl Validity {
    /// How far [`starting`](Self::starting) dates back.
    pub const BACK_DATING: Duration = Duration::from_mins(5);

    /// From the year 2020 to the year 2100: for certificates that are to be the same in each run.
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

/// Keys or certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The validity ends before it begins, or lies outside the years 1970 to 9999.
    #[error(
        "certificates can't be valid from {not_before:?} to {not_after:?}: choose an end after the beginning, both between 1970 and 9999"
    )]
    Validity {
        /// As given.
        not_before: SystemTime,
        /// As given.
        not_after: SystemTime,
    },
    /// A node has no placement.
    #[error("{name} has no placement")]
    NotPlaced {
        /// The full name of the node.
        name: String,
    },
    /// Identities that were brought are of another network.
    #[error("the identities don't fit the topology:\n{}", problems.join("\n"))]
    Misfit {
        /// What is missing or too much. Never empty.
        problems: Vec<String>,
    },
    /// A certificate or key that was brought can't be used.
    #[error("{} {problem}", path.display())]
    Former {
        /// The certificate, relative to the bundle.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A certificate must be made, and there is no key to make it with.
    #[error(
        "a certificate for {name} must be issued, and the key of the authority {} is not there: add it beside the \
         certificate, as priv_sk",
        authority.display()
    )]
    NoAuthorityKey {
        /// Whose certificate.
        name: String,
        /// The authority's certificate, relative to the bundle.
        authority: PathBuf,
    },
    /// A certificate could not be made.
    #[error("can't make the certificate of {name}")]
    Certificate {
        /// Whose certificate.
        name: String,
        /// What the library said.
        #[source]
        source: rcgen::Error,
    },
}

/// What identities are made from.
pub(crate) struct Source<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) placement: &'a Placement,
    pub(crate) validity: Validity,
    /// What keys are made from, if they are to be the same in each run.
    pub(crate) seed: Option<u64>,
    /// What exists already; the rest is made.
    pub(crate) former: Option<&'a Former>,
    /// The chaincode servers that serve one peer each, by that peer's full name.
    pub(crate) servers: Option<&'a BTreeMap<String, ServerPlacement>>,
}

/// Makes every key and certificate of a network, anew on each call.
///
/// # Errors
///
/// [`IdentityError`]; with a validated topology and a checked placement only a wrong validity
/// remains possible.
pub fn generate(topology: &Topology, placement: &Placement, validity: Validity) -> Result<Identities, IdentityError> {
    take_or_make(&Source { topology, placement, validity, seed: None, former: None, servers: None })
}

/// Takes the keys and certificates that exist already, and makes the others.
pub(crate) fn take_or_make(source: &Source<'_>) -> Result<Identities, IdentityError> {
    if let Some(former) = source.former {
        former.check(source.topology)?;
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

/// Since when a certificate is valid; nothing when it can't be told.
pub(crate) fn not_before(certificate_pem: &str) -> Option<SystemTime> {
    verify::Parsed::new(certificate_pem).ok()?.not_before()
}
