//! An MSP from its configuration: authorities, revocations, and organizational units with roles.
//!
//! The checks are those of MSP version 1.4.3 and later (`msp/mspimplsetup.go`), which every channel of Fabric 2
//! and 3 has. Older versions are treated the same.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use fabric_protos::msp::{FabricMspConfig, FabricNodeOUs, FabricOuIdentifier};
use ring::digest::{Context, SHA256};

use super::certificate::{Certificate, CertificateError};
use super::chain::{Authorities, ChainError};
use super::identity::{Identity, IdentityError};
use super::revocation::Revocations;

/// An MSP's configuration is invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MspError {
    /// Not a `FabricMSPConfig`.
    #[error("failed unmarshalling fabric msp config")]
    Decode(#[from] prost::DecodeError),
    /// Idemix, or an unknown type.
    #[error("Setup error: unsupported msp type {0}")]
    Kind(i32),
    /// The hash family of signatures is unsupported.
    #[error("signature hash family '{0}' is not supported by these nodes: use SHA2")]
    HashFamily(String),
    /// There is no root certificate.
    #[error("expected at least one CA certificate")]
    NoRoots,
    /// A CA's certificate is invalid.
    #[error("invalid CA certificate of MSP {msp_id}")]
    Certificate {
        /// The MSP.
        msp_id: String,
        /// The error.
        #[source]
        source: CertificateError,
    },
    /// A CA's certificate does not have the CA attribute.
    #[error("CA Certificate did not have the CA attribute, (SN: {serial})")]
    NotCa {
        /// Its serial number, in hex.
        serial: String,
    },
    /// A CA's certificate has no subject key identifier.
    #[error("CA Certificate problem with Subject Key Identifier extension, (SN: {serial})")]
    NoKeyIdentifier {
        /// Its serial number, in hex.
        serial: String,
    },
    /// A CA's certificate has no chain to a root.
    #[error("CA Certificate is not valid, (SN: {serial})")]
    Chain {
        /// Its serial number, in hex.
        serial: String,
        /// The reason.
        #[source]
        source: ChainError,
    },
    /// A CA is revoked.
    #[error("CA Certificate is not valid, (SN: {serial}): The certificate has been revoked")]
    RevokedCa {
        /// Its serial number, in hex.
        serial: String,
    },
    /// A revocation list is invalid.
    #[error("could not parse RevocationList")]
    RevocationList,
    /// A unit's certifier is not a CA of the MSP.
    #[error("Failed adding OU. Certificate of unit {unit} not in root or intermediate certs.")]
    UnitCertifier {
        /// The organizational unit.
        unit: String,
    },
    /// The MSP has no administrators.
    #[error("administrators must be declared when no admin ou classification is set")]
    NoAdministrators,
    /// An administrator is not a member.
    #[error("admin {index} is invalid")]
    Administrator {
        /// Its index, from 0.
        index: usize,
        /// The reason.
        #[source]
        source: IdentityError,
    },
    /// Two organizations have the same MSP ID and different certificates.
    #[error("Attempted to define two different versions of MSP: {0}")]
    TwoVersions(String),
    /// The MSP has no name.
    #[error("MSP for org {0} has empty MSP ID")]
    Unnamed(String),
}

/// An organizational unit that `NodeOUs` maps to a role.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) name: String,
    /// The hash of its certifier's chain; empty if any certifier may issue it.
    pub(super) certifier: Vec<u8>,
}

/// The organizational units of roles, and whether they are enforced.
#[derive(Debug, Default)]
pub(super) struct NodeUnits {
    pub(super) enforced: bool,
    pub(super) client: Option<Unit>,
    pub(super) peer: Option<Unit>,
    pub(super) admin: Option<Unit>,
    pub(super) orderer: Option<Unit>,
}

/// A membership service provider: the identities of one organization.
#[derive(Debug)]
pub struct Msp {
    pub(super) id: String,
    pub(super) config: FabricMspConfig,
    pub(super) authorities: Authorities,
    /// The authorities that issued other authorities, which may not issue identities.
    pub(super) inner: HashSet<Vec<u8>>,
    pub(super) revocations: Revocations,
    pub(super) units: NodeUnits,
    /// Units of which a member must have at least one, with their certifiers. Empty: none required.
    pub(super) required_units: BTreeMap<String, Vec<Vec<u8>>>,
    /// The certificates of the listed administrators.
    pub(super) administrators: HashSet<Vec<u8>>,
}

impl Msp {
    /// Validates a configuration.
    ///
    /// # Errors
    /// [`MspError`], as in Fabric.
    pub fn new(config: FabricMspConfig) -> Result<Self, MspError> {
        if config.root_certs.is_empty() {
            return Err(MspError::NoRoots);
        }
        let family = config.crypto_config.as_ref().map_or("", |crypto| &crypto.signature_hash_family);
        if !["", "SHA2"].contains(&family) {
            return Err(MspError::HashFamily(family.to_owned()));
        }
        let authorities = authorities(&config)?;
        let revocations = Revocations::new(&config.revocation_list)?;
        let inner = check_authorities(&authorities, &revocations)?;
        let mut msp = Self {
            id: config.name.clone(),
            authorities,
            inner,
            revocations,
            units: NodeUnits::default(),
            required_units: BTreeMap::new(),
            administrators: HashSet::new(),
            config,
        };
        msp.set_units()?;
        msp.set_administrators()?;
        Ok(msp)
    }

    /// The MSP ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The configuration.
    pub fn config(&self) -> &FabricMspConfig {
        &self.config
    }

    fn set_units(&mut self) -> Result<(), MspError> {
        for unit in self.config.organizational_unit_identifiers.clone() {
            let certifier = self.certifier(&unit)?;
            let certifiers = self.required_units.entry(unit.organizational_unit_identifier).or_default();
            if !certifiers.contains(&certifier) {
                certifiers.push(certifier);
            }
        }
        let Some(nodes) = self.config.fabric_node_ous.clone() else { return Ok(()) };
        let FabricNodeOUs { enable, client_ou_identifier, peer_ou_identifier, admin_ou_identifier, .. } = nodes;
        let units = NodeUnits {
            client: self.unit(client_ou_identifier)?,
            peer: self.unit(peer_ou_identifier)?,
            admin: self.unit(admin_ou_identifier)?,
            orderer: self.unit(nodes.orderer_ou_identifier)?,
            enforced: false,
        };
        let any = [&units.client, &units.peer, &units.admin, &units.orderer].into_iter().any(Option::is_some);
        self.units = NodeUnits { enforced: enable && any, ..units };
        Ok(())
    }

    fn unit(&self, unit: Option<FabricOuIdentifier>) -> Result<Option<Unit>, MspError> {
        let Some(unit) = unit else { return Ok(None) };
        let certifier = if unit.certificate.is_empty() { Vec::new() } else { self.certifier(&unit)? };
        Ok(Some(Unit { name: unit.organizational_unit_identifier, certifier }))
    }

    /// The hash of the chain from a unit's CA to the root.
    fn certifier(&self, unit: &FabricOuIdentifier) -> Result<Vec<u8>, MspError> {
        let unknown = || MspError::UnitCertifier { unit: unit.organizational_unit_identifier.clone() };
        let certificate = Certificate::from_pem(&unit.certificate)
            .map_err(|source| MspError::Certificate { msp_id: self.id.clone(), source })?;
        let mut all = self.authorities.roots.iter().chain(&self.authorities.intermediates);
        let own = all.find(|known| same(known, &certificate)).ok_or_else(unknown)?.clone();
        let above = self.authorities.chain(&own).map_err(|_| unknown())?;
        Ok(chain_hash(std::iter::once(&own).chain(&above)))
    }

    fn set_administrators(&mut self) -> Result<(), MspError> {
        let mut listed = HashSet::new();
        for (index, pem) in self.config.admins.iter().enumerate() {
            let wrong = |source| MspError::Administrator { index, source };
            let certificate = Certificate::from_pem(pem).map_err(|error| wrong(error.into()))?;
            let identity = Identity::new(self, pem, certificate).map_err(wrong)?;
            let checked = if self.units.enforced { identity.is_client_or_admin() } else { identity.validate() };
            checked.map_err(wrong)?;
            listed.insert(identity.certificate().to_vec());
        }
        if listed.is_empty() && (!self.units.enforced || self.units.admin.is_none()) {
            return Err(MspError::NoAdministrators);
        }
        self.administrators = listed;
        Ok(())
    }
}

/// SHA-256 over the certificates of a chain, by which Fabric identifies it.
pub(super) fn chain_hash<'a>(chain: impl IntoIterator<Item = &'a Arc<Certificate>>) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for certificate in chain {
        context.update(&certificate.der);
    }
    context.finish().as_ref().to_vec()
}

/// Whether two certificates are the same except for the S of their signatures.
fn same(known: &Certificate, given: &Certificate) -> bool {
    known.der == given.der
        || (known.subject == given.subject && known.serial == given.serial && known.issuer == given.issuer)
}

fn authorities(config: &FabricMspConfig) -> Result<Authorities, MspError> {
    let read = |pems: &[Vec<u8>]| -> Result<Vec<Certificate>, MspError> {
        let certificates = pems.iter().map(|pem| Certificate::from_pem(pem)).collect::<Result<_, _>>();
        certificates.map_err(|source| MspError::Certificate { msp_id: config.name.clone(), source })
    };
    let unreadable = |source| MspError::Certificate { msp_id: config.name.clone(), source };
    let mut found = Authorities::default();
    for root in read(&config.root_certs)? {
        let kind = root.key.kind();
        found.roots.push(Arc::new(root.with_low_s(kind).map_err(unreadable)?));
    }
    found.intermediates = read(&config.intermediate_certs)?.into_iter().map(Arc::new).collect();
    let mut rewritten = Vec::new();
    for pem in &config.intermediate_certs {
        let certificate = Certificate::from_pem(pem).map_err(unreadable)?;
        let chain = found.chain(&certificate);
        let chain = chain.map_err(|source| MspError::Chain { serial: hex::encode(&certificate.serial), source })?;
        let kind = chain.first().map_or(certificate.key.kind(), |issuer| issuer.key.kind());
        rewritten.push(Arc::new(certificate.with_low_s(kind).map_err(unreadable)?));
    }
    found.intermediates = rewritten;
    Ok(found)
}

/// Validates every authority, and returns those that issued other authorities.
fn check_authorities(authorities: &Authorities, revocations: &Revocations) -> Result<HashSet<Vec<u8>>, MspError> {
    let mut inner = HashSet::new();
    for authority in authorities.roots.iter().chain(&authorities.intermediates) {
        let serial = || hex::encode(&authority.serial);
        if !authority.is_ca {
            return Err(MspError::NotCa { serial: serial() });
        }
        if authority.subject_key.is_none() {
            return Err(MspError::NoKeyIdentifier { serial: serial() });
        }
        let chain = authorities.chain(authority).map_err(|source| MspError::Chain { serial: serial(), source })?;
        if chain.first().is_some_and(|issuer| revocations.revokes(authority, issuer)) {
            return Err(MspError::RevokedCa { serial: serial() });
        }
        inner.extend(chain.iter().map(|above| above.der.clone()));
    }
    Ok(inner)
}
