//! MSPs with intermediate authorities, revocation, listed administrators and units.
//!
//! rcgen does not normalize signatures, so some certificates have the higher S.

use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::msp::{FabricMspConfig, FabricNodeOUs, FabricOuIdentifier, SerializedIdentity};
use prost::Message;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

use crate::msp::{IdentityError, MspError, MspManager, role};

/// A certificate authority.
pub(super) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn parameters(name: &str, units: &[&str]) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.not_before = date_time_ymd(2024, 1, 1);
    // Expired: an MSP does not check the time.
    parameters.not_after = date_time_ymd(2024, 1, 2);
    parameters.distinguished_name = DistinguishedName::new();
    // rcgen allows one name of each type; the object identifier of units is treated as another type.
    let unit = [DnType::OrganizationalUnitName, DnType::CustomDnType(vec![2, 5, 4, 11])];
    for (unit, name) in unit.into_iter().zip(units) {
        parameters.distinguished_name.push(unit, *name);
    }
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.use_authority_key_identifier_extension = true;
    parameters
}

fn authority_parameters(name: &str) -> CertificateParams {
    let mut parameters = parameters(name, &[]);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

impl Authority {
    pub(super) fn root(name: &str) -> Self {
        let (parameters, key) = (authority_parameters(name), KeyPair::generate().unwrap());
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(parameters, key) }
    }

    pub(super) fn below(&self, name: &str) -> Self {
        let (parameters, key) = (authority_parameters(name), KeyPair::generate().unwrap());
        let pem = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        Self { pem, issuer: Issuer::new(parameters, key) }
    }

    /// A member's certificate, PEM, with this serial number.
    pub(super) fn issue(&self, units: &[&str], serial: u64) -> String {
        let mut parameters = parameters("someone", units);
        parameters.serial_number = Some(SerialNumber::from(serial));
        parameters.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap().pem()
    }

    fn revoke(&self, serial: u64) -> Vec<u8> {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2030, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2024, 2, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap().into_bytes()
    }
}

pub(super) fn unit(name: &str, authority: Option<&Authority>) -> FabricOuIdentifier {
    let certificate = authority.map(|authority| authority.pem.clone().into_bytes()).unwrap_or_default();
    FabricOuIdentifier { certificate, organizational_unit_identifier: name.to_owned() }
}

/// An MSP with the authority `root` and all roles.
pub(super) fn with_roles(root: &Authority) -> FabricMspConfig {
    FabricMspConfig {
        name: "MSP".to_owned(),
        root_certs: vec![root.pem.clone().into_bytes()],
        fabric_node_ous: Some(FabricNodeOUs {
            enable: true,
            client_ou_identifier: Some(unit("client", None)),
            peer_ou_identifier: Some(unit("peer", None)),
            admin_ou_identifier: Some(unit("admin", None)),
            orderer_ou_identifier: Some(unit("orderer", None)),
        }),
        ..FabricMspConfig::default()
    }
}

/// An MSP without roles, with a listed administrator.
fn without_roles(root: &Authority, admin: &str) -> FabricMspConfig {
    FabricMspConfig { fabric_node_ous: None, admins: vec![admin.as_bytes().to_vec()], ..with_roles(root) }
}

pub(super) fn serialized(pem: &str) -> Vec<u8> {
    SerializedIdentity { mspid: "MSP".to_owned(), id_bytes: pem.as_bytes().to_vec() }.encode_to_vec()
}

fn is(manager: &MspManager, pem: &str, kind: MspRoleType) -> bool {
    manager.deserialize(&serialized(pem)).unwrap().satisfies(&role("MSP", kind))
}

#[test]
fn certificates_are_compared_with_a_normalized_s() {
    let root = Authority::root("ca");
    let manager = MspManager::local(with_roles(&root)).unwrap();
    for serial in 0..16 {
        let pem = root.issue(&["client"], serial);
        let identity = manager.identity(&serialized(&pem)).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(identity.certificate()).unwrap();
        let signature = &certificate.signature_value.data;
        assert_eq!(crate::msp::low_s(signature), signature.to_vec(), "the higher S was not replaced");
    }
}

#[test]
fn exactly_one_role_makes_a_member() {
    let root = Authority::root("ca");
    let manager = MspManager::local(with_roles(&root)).unwrap();
    let validate = |units: &[&str]| manager.identity(&serialized(&root.issue(units, 1))).map(|_| ());
    assert_eq!(validate(&["client"]), Ok(()));
    assert_eq!(validate(&["peer", "department"]), Ok(()));
    for units in [&[][..], &["department"], &["client", "peer"], &["client", "client"]] {
        let error = validate(units).unwrap_err();
        assert!(matches!(error, IdentityError::Units(_)), "{units:?}: {error}");
    }
}

#[test]
fn a_role_may_require_a_certifier() {
    let root = Authority::root("ca");
    let (clients, peers) = (root.below("clients"), root.below("peers"));
    let mut config = with_roles(&root);
    config.intermediate_certs = vec![clients.pem.clone().into_bytes(), peers.pem.clone().into_bytes()];
    config.fabric_node_ous.as_mut().unwrap().client_ou_identifier = Some(unit("client", Some(&clients)));
    let manager = MspManager::local(config).unwrap();
    assert!(is(&manager, &clients.issue(&["client"], 1), MspRoleType::Client));
    assert!(!is(&manager, &peers.issue(&["client"], 1), MspRoleType::Client));
    assert!(is(&manager, &peers.issue(&["peer"], 1), MspRoleType::Peer));
}

#[test]
fn only_the_lowest_authorities_issue_identities() {
    let root = Authority::root("ca");
    let below = root.below("below");
    let mut config = with_roles(&root);
    config.intermediate_certs = vec![below.pem.clone().into_bytes()];
    let manager = MspManager::local(config).unwrap();
    assert!(is(&manager, &below.issue(&["client"], 1), MspRoleType::Member));
    let by_root = manager.identity(&serialized(&root.issue(&["client"], 1)));
    assert_eq!(by_root.unwrap_err(), IdentityError::InnerAuthority);
    let authority = manager.identity(&serialized(&below.pem));
    assert_eq!(authority.unwrap_err(), IdentityError::Authority);
}

#[test]
fn certificates_of_unknown_authorities_are_invalid() {
    let root = Authority::root("ca");
    let below = root.below("below");
    let manager = MspManager::local(with_roles(&root)).unwrap();
    let error = manager.identity(&serialized(&below.issue(&["client"], 1))).unwrap_err();
    assert!(matches!(error, IdentityError::Chain(_)), "{error}");
}

#[test]
fn revoked_identities_are_not_members() {
    let (root, other) = (Authority::root("ca"), Authority::root("ca"));
    let mut config = with_roles(&root);
    // The list of another authority of the same name says nothing of ours.
    config.revocation_list = vec![root.revoke(7), other.revoke(8)];
    let manager = MspManager::local(config.clone()).unwrap();
    let revoked = root.issue(&["client"], 7);
    assert_eq!(manager.identity(&serialized(&revoked)).unwrap_err(), IdentityError::Revoked);
    assert!(!is(&manager, &revoked, MspRoleType::Member));
    assert!(!is(&manager, &revoked, MspRoleType::Client));
    assert!(is(&manager, &root.issue(&["client"], 8), MspRoleType::Member));
    config.revocation_list = vec![b"no list".to_vec()];
    assert!(matches!(MspManager::local(config), Err(MspError::RevocationList)));
}

#[test]
fn without_roles_administrators_are_listed() {
    let root = Authority::root("ca");
    let (admin, other) = (root.issue(&[], 1), root.issue(&["admin"], 2));
    let manager = MspManager::local(without_roles(&root, &admin)).unwrap();
    assert!(is(&manager, &admin, MspRoleType::Admin));
    assert!(!is(&manager, &other, MspRoleType::Admin));
    assert!(is(&manager, &other, MspRoleType::Member));
    assert!(!is(&manager, &other, MspRoleType::Client), "there are no clients without NodeOUs");
    let nobody = FabricMspConfig { admins: Vec::new(), ..without_roles(&root, &admin) };
    assert!(matches!(MspManager::local(nobody), Err(MspError::NoAdministrators)));
    let stranger = Authority::root("ca").issue(&[], 1);
    let error = MspManager::local(without_roles(&root, &stranger)).unwrap_err();
    assert!(matches!(error, MspError::Administrator { index: 0, .. }), "{error}");
}

#[test]
fn with_roles_a_listed_administrator_must_be_client_or_admin() {
    let root = Authority::root("ca");
    let mut config = with_roles(&root);
    let client = root.issue(&["client"], 1);
    config.admins = vec![client.clone().into_bytes()];
    let manager = MspManager::local(config.clone()).unwrap();
    assert!(is(&manager, &client, MspRoleType::Admin));
    assert!(is(&manager, &root.issue(&["admin"], 2), MspRoleType::Admin));
    config.admins = vec![root.issue(&["peer"], 1).into_bytes()];
    assert!(matches!(MspManager::local(config), Err(MspError::Administrator { index: 0, .. })));
}

#[test]
fn units_may_be_required_of_every_member() {
    let root = Authority::root("ca");
    let mut config = with_roles(&root);
    config.organizational_unit_identifiers = vec![unit("department", Some(&root))];
    let manager = MspManager::local(config.clone()).unwrap();
    assert!(is(&manager, &root.issue(&["client", "department"], 1), MspRoleType::Member));
    assert!(!is(&manager, &root.issue(&["client"], 1), MspRoleType::Member));
    config.organizational_unit_identifiers = vec![unit("department", Some(&Authority::root("ca")))];
    assert!(matches!(MspManager::local(config), Err(MspError::UnitCertifier { .. })));
}

#[test]
fn roots_must_be_authorities() {
    let root = Authority::root("ca");
    let trust = |pem: String| {
        let config = FabricMspConfig { root_certs: vec![pem.into_bytes()], ..with_roles(&root) };
        MspManager::local(config).unwrap_err()
    };
    let member = root.issue(&["client"], 1);
    assert!(matches!(trust(member), MspError::NotCa { .. }));
    assert!(matches!(trust("no certificate".to_owned()), MspError::Certificate { .. }));
    let nobody = FabricMspConfig { root_certs: Vec::new(), ..with_roles(&root) };
    assert!(matches!(MspManager::local(nobody), Err(MspError::NoRoots)));
    let orphan = Authority::root("elsewhere").below("orphan");
    let config = FabricMspConfig { intermediate_certs: vec![orphan.pem.into_bytes()], ..with_roles(&root) };
    assert!(matches!(MspManager::local(config), Err(MspError::Chain { .. })));
}
