//! Clients against servers in this process, over real TLS on loopback: what needs no Fabric to be
//! seen, and failures that Fabric gives only by chance.

mod endorser;
mod fabric;
mod gateway;
mod participation;
mod transport;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fabric_network::identity::{PrivateKey, TlsPair};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::time::Instant;
use tonic::transport::{Identity, ServerTlsConfig};

use super::signer::Signer;
use crate::client::Endpoint;

pub(super) const SERVER_NAME: &str = "peer0.org1.example.com";

/// An identity of `Org1MSP`, and its private key in PEM.
pub(super) fn identity() -> (Arc<Signer>, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["user".to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = key.serialize_pem();
    (Arc::new(Signer::new("Org1MSP", &certificate.pem(), &key).unwrap()), key)
}

/// A certificate authority with a pair for a server and one for a client.
pub(super) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    pub(super) fn pair(&self) -> TlsPair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([SERVER_NAME.to_owned()]).unwrap();
        TlsPair {
            certificate_pem: params.signed_by(&key, &self.issuer).unwrap().pem(),
            private_key_pem: PrivateKey::from_pem(key.serialize_pem()),
        }
    }

    pub(super) fn server_tls(&self) -> ServerTlsConfig {
        let pair = self.pair();
        ServerTlsConfig::new().identity(Identity::from_pem(&pair.certificate_pem, pair.private_key_pem.as_pem()))
    }

    pub(super) fn endpoint(&self, address: SocketAddr) -> Endpoint {
        Endpoint {
            uri: format!("https://{address}"),
            server_name: SERVER_NAME.to_owned(),
            tls_ca_pem: self.pem.clone(),
        }
    }
}

/// Longer than any of these tests takes.
pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}
