//! Keys, random or from a seed, and signatures with them.
//!
//! Fabric accepts only signatures with a low S. It rewrites a certificate whose own signature has a high S, which
//! then differs from the one that was issued (`msp/cert.go`). Therefore these keys always sign with a low S.

use fabric_primitives::signature::{self, low_s};
use p256::SecretKey;
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey};
use sha2::{Digest as _, Sha256};

use super::PrivateKey;

/// Where keys come from.
#[derive(Clone, Copy)]
pub(super) struct Keys {
    seed: Option<u64>,
}

impl Keys {
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self { seed }
    }

    /// A key, and the same in PEM. With a seed, it depends on `owner`, and its signatures are deterministic.
    pub(super) fn key(self, owner: &str) -> Result<(LowS, PrivateKey), rcgen::Error> {
        let Some(seed) = self.seed else {
            let pair = KeyPair::generate()?;
            let pem = PrivateKey::from_pem(pair.serialize_pem());
            return Ok((LowS::new(pair), pem));
        };
        let secret = seeded(seed, owner);
        let pem = secret.to_pkcs8_pem(LineEnding::LF).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        let pair = KeyPair::from_pem(&pem)?;
        let deterministic = signature::SigningKey::deterministic_from_pem(&pem);
        let deterministic = deterministic.map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        Ok((LowS { pair, deterministic: Some(deterministic) }, PrivateKey::from_pem(pem.as_str())))
    }
}

/// The first digest of seed and owner that is a valid key. Nearly every digest is.
fn seeded(seed: u64, owner: &str) -> SecretKey {
    let digest = Sha256::new().chain_update(seed.to_be_bytes()).chain_update(owner);
    let numbers = (0_u64..).map(|count| digest.clone().chain_update(count.to_be_bytes()).finalize());
    let mut keys = numbers.filter_map(|number| SecretKey::from_slice(&number).ok());
    loop {
        if let Some(key) = keys.next() {
            return key;
        }
    }
}

/// A key whose signatures have the lower of the two possible values of S.
pub(super) struct LowS {
    pair: KeyPair,
    /// Makes deterministic signatures (RFC 6979).
    deterministic: Option<signature::SigningKey>,
}

impl LowS {
    /// A key with a different signature each time.
    pub(super) fn new(pair: KeyPair) -> Self {
        Self { pair, deterministic: None }
    }
}

impl PublicKeyData for LowS {
    fn der_bytes(&self) -> &[u8] {
        self.pair.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(&self.pair)
    }
}

impl SigningKey for LowS {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = match &self.deterministic {
            Some(key) => key.sign(message),
            None => low_s(&self.pair.sign(message)?),
        };
        signature.map_err(|_| rcgen::Error::RemoteKeyError)
    }
}
