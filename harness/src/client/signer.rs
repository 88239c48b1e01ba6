//! A Fabric identity that signs: creator bytes, signatures, nonces, transaction ids.
//!
//! What is signed, and in what order, is the matter of `proposal` and `gateway`. No certificate is
//! verified here; the peer does that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use fabric_network::identity::Validity;
use fabric_primitives::limits::NONCE_BYTES;
use fabric_primitives::signature::{KeyError, SigningKey};
use fabric_primitives::transaction::transaction_id;
use fabric_protos::msp::SerializedIdentity;
use prost::Message as _;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};

/// Why an identity cannot sign.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// Not a PKCS#8 PEM with a key on P-256.
    #[error("the private key of {msp_id} is not a P-256 key in PKCS#8 PEM (`BEGIN PRIVATE KEY`): {source}")]
    PrivateKey {
        /// MSP of the identity.
        msp_id: String,
        /// What the parser found.
        #[source]
        source: KeyError,
    },
    /// The certificate is not PEM.
    #[error("the certificate of {msp_id} is not PEM: no `BEGIN CERTIFICATE` found")]
    Certificate {
        /// MSP of the identity.
        msp_id: String,
    },
    /// The system gives no random bytes.
    #[error("{msp_id} cannot sign: {cause}")]
    Crypto {
        /// MSP of the identity.
        msp_id: String,
        /// The library's error, which has no details.
        cause: String,
    },
}

crate::console::debug_as_text!(SignerError);

/// A member of an organization with its private key.
pub struct Signer {
    msp_id: String,
    creator: Vec<u8>,
    key: SigningKey,
    seed: Option<Arc<Seed>>,
}

/// Repeatable nonces and times for the signers of a run: each identity has its own sequence of nonces, and
/// the time advances by one second with each.
#[derive(Debug)]
pub struct Seed {
    number: u64,
    /// How many nonces an identity has had.
    counts: Mutex<HashMap<Vec<u8>, u64>>,
}

/// A fresh nonce, the transaction id that belongs to it, and the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionContext {
    /// [`NONCE_BYTES`] random bytes.
    pub nonce: Vec<u8>,
    /// When the transaction was begun.
    pub time: SystemTime,
    /// Lower-case hex of SHA-256 over nonce, then creator (`protoutil/proputils.go`).
    pub transaction_id: String,
}

impl Seed {
    /// The beginning of a run.
    pub fn new(number: u64) -> Arc<Self> {
        Arc::new(Self { number, counts: Mutex::default() })
    }

    fn next(&self, creator: &[u8]) -> (Vec<u8>, SystemTime) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(creator.to_vec()).or_default();
        *count += 1;
        let digest = Sha256::new().chain_update(self.number.to_be_bytes()).chain_update(count.to_be_bytes());
        let digest = digest.chain_update(creator).finalize();
        (digest[..NONCE_BYTES].to_vec(), Validity::fixed().not_before + Duration::from_secs(*count))
    }
}

impl Signer {
    /// An identity from its MSP id, certificate (PEM) and private key (PKCS#8 PEM).
    ///
    /// # Errors
    /// [`SignerError`] when one of the two is not what it should be. That they belong together is
    /// not checked: a peer answers `creator's signature over the proposal is not valid`.
    pub fn new(msp_id: &str, certificate_pem: &str, key_pem: &str) -> Result<Self, SignerError> {
        Self::with_key(msp_id, certificate_pem, SigningKey::from_pem(key_pem))
    }

    /// As [`new`](Self::new); what the identity does is the same in each run. All signers of a run
    /// share the seed.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn seeded(msp_id: &str, certificate_pem: &str, key_pem: &str, seed: Arc<Seed>) -> Result<Self, SignerError> {
        let key = SigningKey::deterministic_from_pem(key_pem);
        Ok(Self { seed: Some(seed), ..Self::with_key(msp_id, certificate_pem, key)? })
    }

    fn with_key(msp_id: &str, certificate_pem: &str, key: Result<SigningKey, KeyError>) -> Result<Self, SignerError> {
        if !certificate_pem.contains("-----BEGIN CERTIFICATE-----") {
            return Err(SignerError::Certificate { msp_id: msp_id.to_owned() });
        }
        let key = key.map_err(|source| SignerError::PrivateKey { msp_id: msp_id.to_owned(), source })?;
        let identity = SerializedIdentity { mspid: msp_id.to_owned(), id_bytes: certificate_pem.into() };
        Ok(Self { msp_id: msp_id.to_owned(), creator: identity.encode_to_vec(), key, seed: None })
    }

    /// MSP id of the identity.
    pub fn msp_id(&self) -> &str {
        &self.msp_id
    }

    /// `msp.SerializedIdentity`, encoded: who signs, as Fabric's headers carry it.
    pub fn creator(&self) -> &[u8] {
        &self.creator
    }

    /// ECDSA over P-256 and SHA-256, ASN.1 DER, with the lower of the two possible S: Fabric takes
    /// no other (`bccsp/utils/ecdsa.go`).
    ///
    /// # Errors
    /// [`SignerError::Crypto`] when the system gives no random bytes.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerError> {
        self.key.sign(message).map_err(|failed| crypto_error(&self.msp_id, &failed))
    }

    /// A nonce, transaction id and time for one proposal.
    ///
    /// # Errors
    /// [`SignerError::Crypto`] when the system gives no random bytes.
    pub fn transaction_context(&self) -> Result<TransactionContext, SignerError> {
        let (nonce, time) = if let Some(seed) = &self.seed {
            seed.next(&self.creator)
        } else {
            let mut nonce = vec![0; NONCE_BYTES];
            SystemRandom::new().fill(&mut nonce).map_err(|failed| crypto_error(&self.msp_id, &failed))?;
            (nonce, SystemTime::now())
        };
        let transaction_id = transaction_id(&nonce, &self.creator);
        Ok(TransactionContext { nonce, time, transaction_id })
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Signer").field("msp_id", &self.msp_id).finish_non_exhaustive()
    }
}

fn crypto_error(msp_id: &str, failed: &dyn std::fmt::Display) -> SignerError {
    SignerError::Crypto { msp_id: msp_id.to_owned(), cause: failed.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::identity;
    use p256::SecretKey;
    use p256::ecdsa::signature::Verifier as _;
    use p256::ecdsa::{Signature, VerifyingKey};
    use p256::pkcs8::DecodePrivateKey as _;

    #[test]
    fn signatures_verify_and_are_the_lower_of_the_two_that_would() {
        let (signer, key) = identity();
        let key = VerifyingKey::from(SecretKey::from_pkcs8_pem(&key).unwrap().public_key());
        // One signature in two is high by chance.
        for message in 0..64_u8 {
            let signature = Signature::from_der(&signer.sign(&[message]).unwrap()).unwrap();
            key.verify(&[message], &signature).unwrap();
            assert_eq!(signature.normalize_s(), signature, "the signature of {message} has a high S");
        }
    }

    #[test]
    fn the_creator_is_msp_id_and_certificate() {
        let (signer, _) = identity();
        let creator = SerializedIdentity::decode(signer.creator()).unwrap();
        assert_eq!(creator.mspid, "Org1MSP");
        assert!(creator.id_bytes.starts_with(b"-----BEGIN CERTIFICATE-----"));
    }

    #[test]
    fn each_transaction_has_its_own_nonce_and_the_id_of_nonce_and_creator() {
        let (signer, _) = identity();
        let [one, two] = [(); 2].map(|()| signer.transaction_context().unwrap());
        assert_eq!(one.nonce.len(), NONCE_BYTES);
        assert_ne!(one.nonce, two.nonce);
        assert_eq!(one.transaction_id, transaction_id(&one.nonce, signer.creator()));
    }

    #[test]
    fn a_seed_repeats_signatures_nonces_and_times_and_none_of_them_twice() {
        let certificate = "-----BEGIN CERTIFICATE-----";
        let (_, key) = identity();
        let run = |number| {
            let seed = Seed::new(number);
            // Two signers of one identity are the same one.
            [(); 2].map(|()| {
                let signer = Signer::seeded("Org1MSP", certificate, &key, Arc::clone(&seed)).unwrap();
                (signer.transaction_context().unwrap(), signer.sign(b"x").unwrap())
            })
        };
        let [first, second] = run(7);
        assert_eq!(run(7), [first.clone(), second.clone()]);
        assert!(first.0.nonce != second.0.nonce && first.0.time < second.0.time);
        assert_ne!(run(8)[0].0.nonce, first.0.nonce);
    }

    #[test]
    fn what_is_no_identity_is_refused_with_the_msp_and_the_reason() {
        let certificate = "-----BEGIN CERTIFICATE-----";
        let no_key = Signer::new("Org7MSP", certificate, "no key").unwrap_err().to_string();
        assert!(no_key.starts_with("the private key of Org7MSP is not a P-256 key"), "{no_key}");
        let no_certificate = Signer::new("Org7MSP", "", "").unwrap_err().to_string();
        assert!(no_certificate.starts_with("the certificate of Org7MSP is not PEM"), "{no_certificate}");
    }

    #[test]
    fn debug_output_shows_no_key() {
        let (signer, _) = identity();
        assert_eq!(format!("{signer:?}"), "Signer { msp_id: \"Org1MSP\", .. }");
    }
}
