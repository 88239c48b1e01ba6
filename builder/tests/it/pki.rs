//! Certificates and keys for the cases, generated for each run so that the repository contains no private
//! key. Subjects and dates are fixed, because messages contain them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use p256::pkcs8::{DecodePrivateKey, LineEnding};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd,
};
use sec1::{EcParameters, EcPrivateKey};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Encode, pem};

/// PEM texts by the names that cases use as `@name@`.
pub(crate) static PEMS: LazyLock<BTreeMap<&'static str, String>> = LazyLock::new(make);

fn params(name: &str, from: i32, to: i32, hosts: &[&str]) -> CertificateParams {
    let hosts = hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut params = CertificateParams::new(hosts).expect("host names are valid");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params
}

/// The SEC 1 form of a P-256 key without its public key.
fn bare_key(key: &KeyPair) -> String {
    let key = p256::SecretKey::from_pkcs8_pem(&key.serialize_pem()).expect("a P-256 key");
    let curve = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
    let bare = EcPrivateKey {
        private_key: &key.to_bytes(),
        parameters: Some(EcParameters::NamedCurve(curve)),
        public_key: None,
    };
    pem::encode_string("EC PRIVATE KEY", LineEnding::LF, &bare.to_der().expect("DER")).expect("PEM")
}

fn make() -> BTreeMap<&'static str, String> {
    let mut pems = BTreeMap::new();
    let mut ca = params("ca", 2000, 2100, &[]);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("key")).expect("ca");
    pems.insert("ca", ca.pem());

    let client = |name: &str, from, to| {
        let mut params = params(name, from, to, &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params
    };
    let mut add = |name, key_name, params: CertificateParams, key: &KeyPair| {
        pems.insert(name, params.signed_by(key, &ca).expect("signed").pem());
        pems.insert(key_name, key.serialize_pem());
    };
    let key = KeyPair::generate().expect("key");
    add("client", "client.key", client("client", 2000, 2100), &key);
    add("expired", "expired.key", client("expired", 2000, 2020), &key);
    add("future", "future.key", client("future", 2090, 2100), &key);
    let mut server_use = client("server-use", 2000, 2100);
    server_use.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    add("server-use", "server-use.key", server_use, &key);
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("key");
    add("p384", "p384.key", client("p384", 2000, 2100), &p384);
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).expect("key");
    add("ed25519", "ed25519.key", client("ed25519", 2000, 2100), &ed25519);

    let sec1 = p256::SecretKey::from_pkcs8_pem(&key.serialize_pem()).expect("a P-256 key");
    let sec1 = sec1.to_sec1_pem(LineEnding::LF).expect("SEC 1").to_string();
    pems.insert("client.sec1", sec1);
    pems.insert("client.bare", bare_key(&key));
    pems.insert("other.bare", bare_key(&KeyPair::generate().expect("key")));
    pems.insert("other.key", KeyPair::generate().expect("key").serialize_pem());
    let own = KeyPair::generate().expect("key");
    let self_signed = params("mycc", 2000, 2100, &["mycc.example.com", "127.0.0.1"]).self_signed(&own);
    pems.insert("self-signed", self_signed.expect("self-signed").pem());
    let expired = params("old root", 2000, 2020, &["mycc"]).self_signed(&own);
    pems.insert("old-root", expired.expect("self-signed").pem());
    pems
}
