//! Certificates as Fabric CA and cryptogen make them, and those that are none.

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
    // The same kind again, which would replace the first one under its own name.
    let again = || DnType::CustomDnType(vec![2, 5, 4, 11]);
    if let Some(unit) = units.first() {
        name.push(DnType::OrganizationalUnitName, *unit);
    }
    if let Some(unit) = units.get(1) {
        name.push(again(), *unit);
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
fn a_client_of_fabric_ca_has_msp_name_role_and_attributes() {
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
    assert!(pem.contains(&STANDARD.encode(client.certificate())[..60]), "the certificate is another");
}

#[test]
fn a_certificate_without_units_and_attributes_has_none() {
    let client = ClientIdentity::from_creator(&creator(&certificate(None, None))).unwrap();
    assert_eq!(client.role(), None);
    assert!(client.attributes().is_empty());
    let client = ClientIdentity::from_creator(&creator(&certificate(Some("sales"), None))).unwrap();
    assert_eq!(client.role(), None);
}

#[test]
fn several_units_are_all_told_and_the_first_role_among_them_counts() {
    let pem = certificate_of(&["department1", "peer"], Some(r#"{"attrs":{}}"#));
    let client = ClientIdentity::from_creator(&creator(&pem)).unwrap();
    assert_eq!(client.organizational_units(), ["department1", "peer"]);
    assert_eq!(client.role(), Some(NodeRole::Peer));
    let id = String::from_utf8(STANDARD.decode(client.id()).unwrap()).unwrap();
    // As Go's `ToRDNSequence` has it: values of one kind in one part, in their order.
    let name = r"CN=user1,OU=department1+OU=peer,O=Hyper\, Inc,C=US";
    assert_eq!(id, format!("x509::{name}::{name}"));
    let both = ClientIdentity::from_creator(&creator(&certificate_of(&["admin", "client"], None))).unwrap();
    assert_eq!(both.role(), Some(NodeRole::Admin));
}

#[test]
fn attributes_that_are_not_there_are_none_and_odd_ones_are_refused() {
    let read = |json: &str| ClientIdentity::from_creator(&creator(&certificate(None, Some(json))));
    assert_eq!(read("{}").unwrap().attributes().len(), 0);
    assert_eq!(read(r#"{"attrs":{"a.b":"","ü":"1"},"more":1}"#).unwrap().attribute("ü"), Some("1"));
    assert_eq!(read(r#"{"attrs":{"a":""}}"#).unwrap().attribute("a"), Some(""));
    for odd in [r#"{"attrs":{"a":1}}"#, r#"{"attrs":[]}"#, "", "{"] {
        let error = read(odd).unwrap_err().to_string();
        assert!(error.contains("its attributes are not JSON"), "{odd}: {error}");
    }
}

#[test]
fn every_role_is_told_by_its_unit() {
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
fn what_is_no_client_is_refused_with_the_reason() {
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let odd = certificate(None, Some("[]"));
    for (bytes, text) in [
        (Vec::new(), "the transaction has no creator"),
        (vec![0xff], "the creator cannot be read"),
        (creator("an Idemix credential"), "the identity of Org1MSP has no X.509 certificate"),
        (creator(broken), "the certificate of the client of Org1MSP cannot be read: "),
        (creator(&odd), "the certificate of the client of Org1MSP cannot be read: its attributes are not JSON"),
    ] {
        let error = ClientIdentity::from_creator(&bytes).unwrap_err().to_string();
        assert!(error.starts_with(text), "expected {text:?}, saw {error:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ClientIdentity::from_creator(&bytes);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(&bytes));
        let _ = ClientIdentity::from_creator(&creator(&pem));
    }
}
