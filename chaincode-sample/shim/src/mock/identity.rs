//! Clients for tests, with unsigned certificates that a peer would reject.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fabric_primitives::der::{BIT_STRING, INTEGER, OCTET_STRING, SEQUENCE, element};
use fabric_protos::msp::SerializedIdentity;
use prost::Message as _;

use crate::identity::NodeRole;

const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const EXPLICIT_VERSION: u8 = 0xa0;
const EXPLICIT_EXTENSIONS: u8 = 0xa3;

/// A client for tests.
///
/// ```
/// use chaincode_shim::mock::MockIdentity;
///
/// let client = MockIdentity::new("Org1MSP").with_name("anna").with_attribute("approver", "true");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockIdentity {
    msp_id: String,
    name: String,
    role: Option<NodeRole>,
    attributes: BTreeMap<String, String>,
    pem: Option<String>,
}

impl MockIdentity {
    /// The client `user1` of this organization.
    pub fn new(msp_id: impl Into<String>) -> Self {
        Self {
            msp_id: msp_id.into(),
            name: "user1".to_owned(),
            role: Some(NodeRole::Client),
            attributes: BTreeMap::new(),
            pem: None,
        }
    }

    /// An identity with this certificate in PEM format.
    pub fn from_pem(msp_id: impl Into<String>, certificate: impl Into<String>) -> Self {
        Self { pem: Some(certificate.into()), ..Self::new(msp_id) }
    }

    /// Sets the common name of the certificate.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the organizational unit of the certificate. The default is that of a client.
    #[must_use]
    pub fn with_role(mut self, role: Option<NodeRole>) -> Self {
        self.role = role;
        self
    }

    /// Adds an attribute, as Fabric CA does.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// The identity as an encoded `msp.SerializedIdentity`.
    pub fn creator(&self) -> Vec<u8> {
        let pem = self.pem.clone().unwrap_or_else(|| self.certificate());
        SerializedIdentity { mspid: self.msp_id.clone(), id_bytes: pem.into_bytes() }.encode_to_vec()
    }

    /// An X.509 certificate with an empty key and an empty signature.
    fn certificate(&self) -> String {
        // ecdsa-with-SHA256
        let algorithm = der(SEQUENCE, &[der(OBJECT_IDENTIFIER, &[b"\x2a\x86\x48\xce\x3d\x04\x03\x02".to_vec()])]);
        // ecPublicKey, prime256v1
        let key_kind = [b"\x2a\x86\x48\xce\x3d\x02\x01".to_vec(), b"\x2a\x86\x48\xce\x3d\x03\x01\x07".to_vec()];
        let key_kind = key_kind.map(|oid| der(OBJECT_IDENTIFIER, &[oid]));
        let key = der(BIT_STRING, &[vec![0, 4], vec![0; 64]]);
        let issuer = der(SEQUENCE, &[name_part(3, &format!("ca.{}", self.msp_id))]);
        let unit = self.role.map(|role| name_part(11, role.as_str())).unwrap_or_default();
        let subject = der(SEQUENCE, &[unit, name_part(3, &self.name)]);
        let validity = [b"000101000000Z", b"491231235959Z"].map(|time| der(UTC_TIME, &[time.to_vec()]));
        let body = der(
            SEQUENCE,
            &[
                der(EXPLICIT_VERSION, &[der(INTEGER, &[vec![2]])]),
                der(INTEGER, &[vec![1]]),
                algorithm.clone(),
                issuer,
                der(SEQUENCE, &validity),
                subject,
                der(SEQUENCE, &[der(SEQUENCE, &key_kind), key]),
                self.extensions(),
            ],
        );
        let certificate = der(SEQUENCE, &[body, algorithm, der(BIT_STRING, &[vec![0]])]);
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(certificate))
    }

    fn extensions(&self) -> Vec<u8> {
        if self.attributes.is_empty() {
            return Vec::new();
        }
        let json = serde_json::json!({ "attrs": self.attributes }).to_string();
        let oid = der(OBJECT_IDENTIFIER, &[vec![0x2a, 3, 4, 5, 6, 7, 8, 1]]);
        let extension = der(SEQUENCE, &[oid, der(OCTET_STRING, &[json.into_bytes()])]);
        der(EXPLICIT_EXTENSIONS, &[der(SEQUENCE, &[extension])])
    }
}

/// One attribute of a name: the type 2.5.4.`kind` and its text.
fn name_part(kind: u8, text: &str) -> Vec<u8> {
    let pair = [der(OBJECT_IDENTIFIER, &[vec![0x55, 4, kind]]), der(UTF8_STRING, &[text.as_bytes().to_vec()])];
    der(SET, &[der(SEQUENCE, &pair)])
}

/// A DER element with these contents.
fn der(tag: u8, contents: &[Vec<u8>]) -> Vec<u8> {
    element(tag, &contents.concat())
}
