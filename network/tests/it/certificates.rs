//! Identities: certificates are parsed and verified, because keys differ on each run.

use std::collections::BTreeSet;

use fabric_network::identity::{IdentityError, OrganizationIdentities, TlsPair, Validity};
use fabric_network::release::Release;
use fabric_network::render::{RenderError, RenderOptions, render};
use fabric_network::topology::Topology;
use x509_parser::prelude::*;

use crate::network::{bundle, options, place_anywhere, validity};

/// Parses the only certificate in a PEM text.
fn with<T>(pem: &str, check: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
    let (rest, pem) = parse_x509_pem(pem.as_bytes()).unwrap();
    assert!(rest.is_empty(), "one certificate only");
    check(&pem.parse_x509().unwrap())
}

/// The name of a certificate's issuer.
pub(crate) fn authority_of(pem: &str) -> String {
    with(pem, |certificate| certificate.issuer().to_string())
}

/// The name of a certificate's subject.
pub(crate) fn subject_of(pem: &[u8]) -> String {
    with(std::str::from_utf8(pem).unwrap(), |certificate| certificate.subject().to_string())
}

fn common_name(certificate: &X509Certificate<'_>) -> String {
    certificate.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned()
}

fn roles(certificate: &X509Certificate<'_>) -> Vec<String> {
    certificate.subject().iter_organizational_unit().map(|unit| unit.as_str().unwrap().to_owned()).collect()
}

fn sans(pem: &str) -> BTreeSet<String> {
    with(pem, |certificate| {
        let Some(sans) = certificate.subject_alternative_name().unwrap() else {
            return BTreeSet::new();
        };
        let names = sans.value.general_names.iter().map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(bytes) => bytes.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
            other => panic!("unexpected name {other}"),
        });
        names.collect()
    })
}

/// `(server, client)` of the extended key usage.
fn usage(pem: &str) -> (bool, bool) {
    with(pem, |certificate| {
        certificate
            .extended_key_usage()
            .unwrap()
            .map_or((false, false), |usage| (usage.value.server_auth, usage.value.client_auth))
    })
}

fn key_id(certificate: &X509Certificate<'_>, of_authority: bool) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) if !of_authority => Some(id.0.to_vec()),
        ParsedExtension::AuthorityKeyIdentifier(id) if of_authority => {
            id.key_identifier.as_ref().map(|id| id.0.to_vec())
        }
        _ => None,
    })
}

/// Checks every certificate: issued by this CA, P-256, low S, within the validity.
fn check_issued(ca_pem: &str, pem: &str) {
    with(ca_pem, |ca| {
        with(pem, |certificate| {
            certificate.verify_signature(Some(ca.public_key())).unwrap();
            assert_eq!(certificate.issuer(), ca.subject());
            assert!(!certificate.is_ca());
            assert_eq!(key_id(certificate, true), key_id(ca, false));
            assert!(key_id(certificate, false).is_some());
            check_common(certificate);
        });
    });
}

fn check_common(certificate: &X509Certificate<'_>) {
    let key = certificate.public_key().parsed().unwrap();
    assert_eq!(key.key_size(), 256);
    assert_eq!(certificate.validity().not_before.timestamp(), 1_704_067_200, "the caller's not_before");
    let signature = p256_signature(&certificate.signature_value.data);
    assert!(signature.last().is_some_and(|s| is_low(s)), "S must be low");
}

/// The two integers of an ECDSA signature.
fn p256_signature(der: &[u8]) -> Vec<Vec<u8>> {
    use x509_parser::der_parser::der::parse_der;
    let (_, sequence) = parse_der(der).unwrap();
    sequence.as_sequence().unwrap().iter().map(|integer| integer.as_slice().unwrap().to_vec()).collect()
}

/// Whether a positive integer is at most half the order of P-256.
fn is_low(integer: &[u8]) -> bool {
    let half: [u8; 32] = [
        0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73,
        0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
    ];
    let digits: Vec<u8> = integer.iter().copied().skip_while(|byte| *byte == 0).collect();
    let mut padded = vec![0; 32 - digits.len()];
    padded.extend(digits);
    padded.as_slice() <= half.as_slice()
}

fn organizations(topology: &Topology) -> Vec<OrganizationIdentities> {
    let identities = bundle(topology, Release::V3_1).identities;
    let mut all = identities.peer_organizations;
    all.push(identities.orderer_organization);
    all
}

#[test]
fn authorities_can_sign_and_name_their_organization() {
    for organization in organizations(&Topology::duo()) {
        for (pem, prefix) in [(&organization.ca_pem, "ca"), (&organization.tls_ca_pem, "tlsca")] {
            with(pem, |ca| {
                ca.verify_signature(None).unwrap();
                check_common(ca);
                assert!(ca.is_ca());
                assert_eq!(common_name(ca), format!("{prefix}.{}", organization.domain));
                let usage = ca.key_usage().unwrap().unwrap();
                assert!(usage.critical);
                assert!(usage.value.digital_signature() && usage.value.key_encipherment());
                assert!(usage.value.key_cert_sign() && usage.value.crl_sign());
                assert!(key_id(ca, false).is_some());
            });
        }
    }
}

#[test]
fn members_have_their_role_and_their_ca() {
    for organization in organizations(&Topology::duo()) {
        let is_orderer = organization.msp_id == "OrdererMSP";
        let domain = &organization.domain;
        let mut members = vec![(&organization.admin, format!("Admin@{domain}"), "admin")];
        for (user, number) in organization.users.iter().zip(1..) {
            members.push((user, format!("User{number}@{domain}"), "client"));
        }
        for (name, node) in &organization.nodes {
            let role = if is_orderer { "orderer" } else { "peer" };
            members.push((&node.sign, name.clone(), role));
        }
        assert_eq!(organization.users.len(), usize::from(!is_orderer));
        for (credential, name, role) in members {
            assert_eq!(credential.msp_id, organization.msp_id);
            check_issued(&organization.ca_pem, &credential.certificate_pem);
            with(&credential.certificate_pem, |certificate| {
                assert_eq!(common_name(certificate), name);
                assert_eq!(roles(certificate), [role]);
                let usage = certificate.key_usage().unwrap().unwrap().value;
                assert!(usage.digital_signature());
                assert!(!usage.key_cert_sign());
            });
            let foreign = with(&organization.tls_ca_pem, |tls_ca| {
                with(&credential.certificate_pem, |certificate| {
                    certificate.verify_signature(Some(tls_ca.public_key())).is_ok()
                })
            });
            assert!(!foreign, "a signing identity is not from the TLS CA");
        }
    }
}

#[test]
fn tls_certificates_have_the_names_of_the_placement() {
    let topology = Topology::solo();
    let mut placement = place_anywhere(&topology);
    let peer = placement.nodes.get_mut("peer0.org1.example.com").unwrap();
    peer.extra_sans = vec!["localhost".into(), "10.1.2.3".into(), "peer0".into()];
    placement.chaincode_hosts = vec!["host.docker.internal".into(), "172.17.0.1".into()];
    let bundle = render(&topology, &placement, &options(Release::V3_1)).unwrap();
    let org1 = &bundle.identities.peer_organizations[0];
    let peer = &org1.nodes["peer0.org1.example.com"];

    let expected = ["peer0.org1.example.com", "peer0", "127.0.0.1", "localhost", "10.1.2.3"];
    assert_eq!(sans(&peer.tls.certificate_pem), expected.map(str::to_owned).into());
    let expected = ["host.docker.internal", "172.17.0.1"];
    assert_eq!(sans(&org1.chaincode_server.certificate_pem), expected.map(str::to_owned).into());
}

#[test]
fn tls_certificates_serve_their_purpose_only() {
    let check = |organization: &OrganizationIdentities, pair: &TlsPair, expected: (bool, bool)| {
        check_issued(&organization.tls_ca_pem, &pair.certificate_pem);
        assert_eq!(usage(&pair.certificate_pem), expected);
    };
    for organization in organizations(&Topology::solo()) {
        check(&organization, &organization.admin_tls, (false, true));
        check(&organization, &organization.chaincode_server, (true, false));
        for pair in &organization.users_tls {
            check(&organization, pair, (false, true));
        }
        for (name, node) in &organization.nodes {
            check(&organization, &node.tls, (true, true));
            assert_eq!(node.chaincode_client.is_some(), name.starts_with("peer"), "{name}");
            if let Some(pair) = &node.chaincode_client {
                check(&organization, pair, (false, true));
            }
        }
    }
}

#[test]
fn every_key_is_unique_and_matches_its_certificate() {
    let mut keys = BTreeSet::new();
    let mut serials = BTreeSet::new();
    for organization in organizations(&Topology::duo()) {
        let mut pairs = vec![
            (&organization.admin.certificate_pem, &organization.admin.private_key_pem),
            (&organization.ca_pem, organization.ca_key.as_ref().unwrap()),
            (&organization.tls_ca_pem, organization.tls_ca_key.as_ref().unwrap()),
            (&organization.chaincode_server.certificate_pem, &organization.chaincode_server.private_key_pem),
        ];
        for node in organization.nodes.values() {
            pairs.push((&node.sign.certificate_pem, &node.sign.private_key_pem));
            pairs.push((&node.tls.certificate_pem, &node.tls.private_key_pem));
        }
        for (certificate, key) in pairs {
            assert!(key.as_pem().starts_with("-----BEGIN PRIVATE KEY-----"), "PKCS#8");
            let pair = rcgen::KeyPair::from_pem(key.as_pem()).unwrap();
            with(certificate, |certificate| {
                let public = certificate.public_key().subject_public_key.data.to_vec();
                assert_eq!(pair.public_key_raw(), public);
                assert!(serials.insert(certificate.serial.to_bytes_be()), "serial used twice");
                assert!(keys.insert(public), "key used twice");
            });
        }
    }
}

#[test]
fn debug_output_shows_no_key() {
    let bundle = bundle(&Topology::solo(), Release::V3_1);
    let text = format!("{bundle:?}");
    assert!(text.contains("PrivateKey(…)"));
    assert!(!text.contains("BEGIN PRIVATE KEY"), "a key is shown");
}

#[test]
fn a_wrong_validity_is_rejected() {
    let topology = Topology::solo();
    let Validity { not_before, not_after } = validity();
    let mut options = options(Release::V3_1);
    options.validity = Validity { not_before: not_after, not_after: not_before };
    let error = render(&topology, &place_anywhere(&topology), &options).unwrap_err();
    assert!(matches!(error, RenderError::Identity(IdentityError::Validity { .. })), "{error}");
}

#[test]
fn a_seed_makes_the_same_files_and_different_keys() {
    let topology = Topology::duo();
    let files = |seed| {
        let options = RenderOptions { seed, ..options(Release::V3_1) };
        render(&topology, &place_anywhere(&topology), &options).unwrap().files
    };
    let first = files(Some(7));
    assert!(first == files(Some(7)), "the same seed");
    let keys: Vec<_> =
        first.iter().filter(|(path, _)| path.ends_with("priv_sk") || path.ends_with("server.key")).collect();
    let different: BTreeSet<_> = keys.iter().map(|(_, file)| &file.bytes).collect();
    assert!(keys.len() > 10 && different.len() == keys.len(), "{} keys, {} different", keys.len(), different.len());
    for other in [files(Some(8)), files(None)] {
        assert!(keys.iter().all(|(path, file)| other[*path].bytes != file.bytes), "another seed, or none");
    }
}
