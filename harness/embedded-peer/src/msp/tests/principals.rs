//! Identities and the principals that they satisfy.

use fabric_primitives::der;
use fabric_protos::common::msp_identity_anonymity::MspIdentityAnonymityType;
use fabric_protos::common::msp_principal::Classification;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::common::{CombinedPrincipal, MspIdentityAnonymity, MspPrincipal, OrganizationUnit};
use prost::Message;

use super::authorities::{Authority, serialized, with_roles};
use crate::msp::{MspManager, role};

fn principal(kind: Classification, content: &impl Message) -> MspPrincipal {
    MspPrincipal { principal_classification: kind.into(), principal: content.encode_to_vec() }
}

fn combined(principals: Vec<MspPrincipal>) -> MspPrincipal {
    principal(Classification::Combined, &CombinedPrincipal { principals })
}

fn department(msp_id: &str, certifier: &[u8]) -> MspPrincipal {
    let unit = OrganizationUnit {
        msp_identifier: msp_id.to_owned(),
        organizational_unit_identifier: "department".to_owned(),
        certifiers_identifier: certifier.to_vec(),
    };
    principal(Classification::OrganizationUnit, &unit)
}

fn identity_principal(serialized: &[u8]) -> MspPrincipal {
    MspPrincipal { principal_classification: Classification::Identity.into(), principal: serialized.to_vec() }
}

struct Fixture {
    root: Authority,
    manager: MspManager,
    pem: String,
}

impl Fixture {
    fn new() -> Self {
        let root = Authority::root("ca");
        let manager = MspManager::local(with_roles(&root)).unwrap();
        let pem = root.issue(&["client", "department"], 1);
        Self { root, manager, pem }
    }

    fn satisfies(&self, principal: &MspPrincipal) -> bool {
        self.manager.deserialize(&serialized(&self.pem)).unwrap().satisfies(principal)
    }
}

#[test]
fn a_role_is_one_of_its_msp() {
    let fixture = Fixture::new();
    assert!(fixture.satisfies(&role("MSP", MspRoleType::Client)));
    assert!(!fixture.satisfies(&role("MSP", MspRoleType::Peer)));
    assert!(!fixture.satisfies(&role("Other", MspRoleType::Client)));
    assert!(!fixture.satisfies(&role("Other", MspRoleType::Member)));
    let unknown = MspPrincipal { principal: b"\x0a\x03MSP\x10\x63".to_vec(), ..role("MSP", MspRoleType::Member) };
    assert!(!fixture.satisfies(&unknown), "there is no role 99");
}

#[test]
fn a_unit_needs_its_certifier() {
    let fixture = Fixture::new();
    let (_, block) = x509_parser::pem::parse_x509_pem(fixture.root.pem.as_bytes()).unwrap();
    let (_, root) = x509_parser::parse_x509_certificate(&block.contents).unwrap();
    // The authority's certificate is normalized to the lower S.
    let signature = crate::msp::low_s(&root.signature_value.data);
    let algorithm = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
    let bits = der::element(der::BIT_STRING, &[&[0], &*signature].concat());
    let low = der::element(der::SEQUENCE, &[root.tbs_certificate.as_ref(), algorithm, &*bits].concat());
    let certifier = ring::digest::digest(&ring::digest::SHA256, &low);
    assert!(fixture.satisfies(&department("MSP", certifier.as_ref())));
    assert!(!fixture.satisfies(&department("Other", certifier.as_ref())));
    assert!(!fixture.satisfies(&department("MSP", b"another authority")));
}

#[test]
fn an_identity_principal_compares_certificates() {
    let fixture = Fixture::new();
    assert!(fixture.satisfies(&identity_principal(&serialized(&fixture.pem))));
    let twin = fixture.root.issue(&["client", "department"], 2);
    assert!(!fixture.satisfies(&identity_principal(&serialized(&twin))));
    assert!(!fixture.satisfies(&identity_principal(b"nonsense")));
}

#[test]
fn identities_are_compared_with_a_normalized_s() {
    let fixture = Fixture::new();
    for serial in 0..16 {
        let given = fixture.root.issue(&["client"], serial);
        let identity = fixture.manager.deserialize(&serialized(&given)).unwrap();
        let rewritten = serialized(&pem(identity.certificate()));
        assert!(identity.satisfies(&identity_principal(&rewritten)));
        let again = fixture.manager.deserialize(&rewritten).unwrap();
        assert_eq!(again.id(), identity.id());
        assert!(again.satisfies(&identity_principal(&serialized(&given))));
    }
}

/// A certificate as PEM.
pub(super) fn pem(der: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64(der))
}

/// Base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().chain([&0, &0]).take(3).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        for place in 0..4 {
            let digit = usize::try_from(number >> (18 - 6 * place) & 63).unwrap();
            text.push(if place <= chunk.len() { char::from(DIGITS[digit]) } else { '=' });
        }
    }
    text
}

#[test]
fn nobody_is_anonymous() {
    let fixture = Fixture::new();
    let anonymity = |kind: MspIdentityAnonymityType| {
        principal(Classification::Anonymity, &MspIdentityAnonymity { anonymity_type: kind.into() })
    };
    assert!(fixture.satisfies(&anonymity(MspIdentityAnonymityType::Nominal)));
    assert!(!fixture.satisfies(&anonymity(MspIdentityAnonymityType::Anonymous)));
}

#[test]
fn all_combined_principals_must_be_satisfied() {
    let fixture = Fixture::new();
    let (client, peer) = (role("MSP", MspRoleType::Client), role("MSP", MspRoleType::Peer));
    let member = role("MSP", MspRoleType::Member);
    assert!(fixture.satisfies(&combined(vec![client.clone(), member.clone()])));
    assert!(!fixture.satisfies(&combined(vec![client.clone(), peer.clone()])));
    assert!(fixture.satisfies(&combined(vec![client.clone(), combined(vec![member])])));
    assert!(!fixture.satisfies(&combined(vec![client, combined(vec![peer])])));
    assert!(!fixture.satisfies(&combined(Vec::new())), "of nothing is nobody");
    let mut deep = role("MSP", MspRoleType::Client);
    for _ in 0..100 {
        deep = combined(vec![deep]);
    }
    assert!(!fixture.satisfies(&deep), "there is a bound to the depth");
}
