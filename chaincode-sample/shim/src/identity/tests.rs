//! Certificates as Fabric CA and cryptogen issue them, and invalid ones.

use proptest::prelude::*;
use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair};

use super::*;

fn certificate(unit: Option<&str>, attributes: Option<&str>) -> String {
    certificate_of(unit.as_slice(), attributes)
}

fn certificate_of(units: &[&str], attributes: Option<&str>) -> String {
    let mut params = CertificateParams::default();
    let name = &mut params.distinguished_name;
    *name = rcgen::DistinguishedName::new();
    name.push(DnType::CountryName, "US");
    name.push(DnType::OrganizationName, "Hyper, Inc");
    // A second value of a known type would replace the first one.
    let second = || DnType::CustomDnType(vec![2, 5, 4, 11]);
    if let Some(unit) = units.first() {
        name.push(DnType::OrganizationalUnitName, *unit);
    }
    if let Some(unit) = units.get(1) {
        name.push(second(), *unit);
    }
    name.push(DnType::CommonName, "user1");
    if let Some(json) = attributes {
        let oid = [1, 2, 3, 4, 5, 6, 7, 8, 1];
        params.custom_extensions.push(CustomExtension::from_oid_content(&oid, json.as_bytes().to_vec()));
    }
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn creator(pem: &str) -> Vec<u8> {
    SerializedIdentity { mspid: "Org1MSP".to_owned(), id_bytes: pem.as_bytes().to_vec() }.encode_to_vec()
}

#[test]
fn a_client_of_fabric_ca_has_msp_id_name_role_and_attributes() {
    let attributes = r#"{"attrs":{"hf.EnrollmentID":"user1","approver":"true"}}"#;
    let pem = certificate(Some("client"), Some(attributes));
    let client = ClientIdentity::from_creator(&creator(&pem)).unwrap();
    assert_eq!(client.msp_id(), "Org1MSP");
    let id = STANDARD.decode(client.id()).unwrap();
    let name = r"CN=user1,OU=client,O=Hyper\, Inc,C=US";
    assert_eq!(String::from_utf8(id).unwrap(), format!("x509::{name}::{name}"));
    assert_eq!(client.role(), Some(NodeRole::Client));
    assert_eq!(client.organizational_units(), ["client"]);
    assert_eq!(client.attribute("approver"), Some("true"));
    assert_eq!(client.attributes().len(), 2);
    assert!(client.require_attribute("approver", "true").is_ok());
    let error = client.require_attribute("approver", "no").unwrap_err();
    assert_eq!((error.status(), error.message()), (403, "attribute 'approver' equals 'true', not 'no'"));
    let error = client.require_attribute("absent", "no").unwrap_err();
    assert_eq!(error.message(), "attribute 'absent' was not found");
    assert!(pem.contains(&STANDARD.encode(client.certificate())[..60]), "another certificate");
}

#[test]
fn a_certificate_without_units_and_attributes_has_no_role() {
    let client = ClientIdentity::from_creator(&creator(&certificate(None, None))).unwrap();
    assert_eq!(client.role(), None);
    assert!(client.attributes().is_empty());
    let client = ClientIdentity::from_creator(&creator(&certificate(Some("sales"), None))).unwrap();
    assert_eq!(client.role(), None);
}

#[test]
fn all_units_are_returned_and_the_first_role_is_used() {
    let pem = certificate_of(&["department1", "peer"], Some(r#"{"attrs":{}}"#));
    let client = ClientIdentity::from_creator(&creator(&pem)).unwrap();
    assert_eq!(client.organizational_units(), ["department1", "peer"]);
    assert_eq!(client.role(), Some(NodeRole::Peer));
    let id = String::from_utf8(STANDARD.decode(client.id()).unwrap()).unwrap();
    // Like Go's `ToRDNSequence`: values of one type in one part, in order.
    let name = r"CN=user1,OU=department1+OU=peer,O=Hyper\, Inc,C=US";
    assert_eq!(id, format!("x509::{name}::{name}"));
    let both = ClientIdentity::from_creator(&creator(&certificate_of(&["admin", "client"], None))).unwrap();
    assert_eq!(both.role(), Some(NodeRole::Admin));
}

#[test]
fn attributes_are_optional_and_invalid_ones_are_rejected() {
    let read = |json: &str| ClientIdentity::from_creator(&creator(&certificate(None, Some(json))));
    assert_eq!(read("{}").unwrap().attributes().len(), 0);
    assert_eq!(read(r#"{"attrs":{"a.b":"","ü":"1"},"more":1}"#).unwrap().attribute("ü"), Some("1"));
    assert_eq!(read(r#"{"attrs":{"a":""}}"#).unwrap().attribute("a"), Some(""));
    for invalid in [r#"{"attrs":{"a":1}}"#, r#"{"attrs":[]}"#, "", "{"] {
        let error = read(invalid).unwrap_err().to_string();
        assert!(error.contains("invalid attributes: "), "{invalid}: {error}");
    }
}

#[test]
fn every_role_is_found_by_its_unit() {
    for (unit, role) in [
        ("client", NodeRole::Client),
        ("peer", NodeRole::Peer),
        ("admin", NodeRole::Admin),
        ("orderer", NodeRole::Orderer),
    ] {
        let client = ClientIdentity::from_creator(&creator(&certificate(Some(unit), None))).unwrap();
        assert_eq!(client.role(), Some(role));
    }
}

#[test]
fn an_invalid_creator_is_rejected_with_the_reason() {
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let invalid_attributes = certificate(None, Some("[]"));
    for (bytes, text) in [
        (Vec::new(), "the transaction has no creator"),
        (vec![0xff], "invalid creator"),
        (creator("an Idemix credential"), "the identity of Org1MSP has no X.509 certificate"),
        (creator(broken), "invalid certificate of a client of Org1MSP: "),
        (creator(&invalid_attributes), "invalid certificate of a client of Org1MSP: invalid attributes: "),
    ] {
        let error = ClientIdentity::from_creator(&bytes).unwrap_err().to_string();
        assert!(error.starts_with(text), "expected {text:?}, got {error:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_rejected(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ClientIdentity::from_creator(&bytes);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(&bytes));
        let _ = ClientIdentity::from_creator(&creator(&pem));
    }
}
