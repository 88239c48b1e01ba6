//! A node's signing identity: signatures that Fabric accepts, and nonces. `msp` verifies signatures.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use fabric_primitives::limits::NONCE_BYTES;
use fabric_primitives::signature::{KeyError, SignError, SigningKey};
use fabric_protos::common::SignatureHeader;
use fabric_protos::msp::SerializedIdentity;
use prost::Message as _;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};

/// A node cannot sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// Not a PKCS#8 PEM with a key on P-256.
    #[error("the private key of {msp_id} is not a P-256 key in PKCS#8 PEM")]
    PrivateKey {
        /// MSP of the identity.
        msp_id: String,
        /// The parser's error.
        #[source]
        source: KeyError,
    },
    /// The system gives no random bytes.
    #[error("{msp_id} cannot sign: {cause}")]
    Crypto {
        /// MSP of the identity.
        msp_id: String,
        /// The library's error.
        cause: String,
    },
}

/// The source of nonces: the system, or a seed, with which they are reproducible.
#[derive(Clone, Debug, Default)]
pub struct Randomness(Option<Arc<(u64, AtomicU64)>>);

impl Randomness {
    /// The system, or the sequence of a seed.
    pub fn new(seed: Option<u64>) -> Self {
        Self(seed.map(|seed| Arc::new((seed, AtomicU64::new(0)))))
    }

    /// Whether it is reproducible.
    pub fn is_seeded(&self) -> bool {
        self.0.is_some()
    }

    /// The next nonce.
    ///
    /// # Errors
    ///
    /// The system has no random bytes.
    pub fn nonce(&self) -> Result<Vec<u8>, String> {
        let mut nonce = vec![0; NONCE_BYTES];
        if let Some(seeded) = &self.0 {
            let (seed, count) = (seeded.0, seeded.1.fetch_add(1, Ordering::Relaxed));
            let digest = Sha256::new().chain_update(seed.to_be_bytes()).chain_update(count.to_be_bytes()).finalize();
            nonce.copy_from_slice(&digest[..NONCE_BYTES]);
        } else {
            SystemRandom::new().fill(&mut nonce).map_err(|failed| failed.to_string())?;
        }
        Ok(nonce)
    }
}

/// A node's signing identity. Clones share the key.
#[derive(Clone)]
pub struct Signer(Arc<Inner>);

struct Inner {
    msp_id: String,
    certificate_pem: String,
    identity: Bytes,
    key: SigningKey,
    randomness: Randomness,
}

impl Signer {
    /// An identity from its MSP ID, certificate (PEM) and private key (PKCS#8 PEM). With seeded
    /// randomness its signatures are repeatable.
    ///
    /// # Errors
    ///
    /// [`SignerError`]: the key is invalid. Key and certificate are not compared.
    pub fn new(
        msp_id: &str,
        certificate_pem: &str,
        key_pem: &str,
        randomness: Randomness,
    ) -> Result<Self, SignerError> {
        let from_pem = if randomness.is_seeded() { SigningKey::deterministic_from_pem } else { SigningKey::from_pem };
        let key = from_pem(key_pem).map_err(|source| SignerError::PrivateKey { msp_id: msp_id.to_owned(), source })?;
        let identity = SerializedIdentity { mspid: msp_id.to_owned(), id_bytes: certificate_pem.into() };
        Ok(Self(Arc::new(Inner {
            msp_id: msp_id.to_owned(),
            certificate_pem: certificate_pem.to_owned(),
            identity: identity.encode_to_vec().into(),
            key,
            randomness,
        })))
    }

    /// MSP ID of the identity.
    pub fn msp_id(&self) -> &str {
        &self.0.msp_id
    }

    /// The certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.0.certificate_pem
    }

    /// `msp.SerializedIdentity`, encoded: the creator or endorser in Fabric's messages.
    pub fn identity(&self) -> &Bytes {
        &self.0.identity
    }

    /// ECDSA over P-256 and SHA-256, ASN.1 DER, with the lower of the two possible S: Fabric takes
    /// no other (`bccsp/utils/ecdsa.go`).
    ///
    /// # Errors
    ///
    /// [`SignerError::Crypto`]: the system has no random bytes.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerError> {
        let failed = |cause: SignError| SignerError::Crypto { msp_id: self.0.msp_id.clone(), cause: cause.to_string() };
        let signature = self.0.key.sign(message).map_err(failed)?;
        // The nodes of this process need not verify it.
        crate::msp::remember_own(self.0.key.public_key(), message, &signature);
        Ok(signature)
    }

    /// A nonce.
    ///
    /// # Errors
    ///
    /// [`SignerError::Crypto`]: the system has no random bytes.
    pub fn nonce(&self) -> Result<Vec<u8>, SignerError> {
        self.0.randomness.nonce().map_err(|cause| SignerError::Crypto { msp_id: self.0.msp_id.clone(), cause })
    }

    /// The nonce for a message of this identity. With a seed it is derived from the contents, so that it does not
    /// depend on the order of the network's actions.
    ///
    /// # Errors
    ///
    /// As [`Signer::nonce`].
    pub fn nonce_of(&self, contents: &[u8]) -> Result<Vec<u8>, SignerError> {
        match &self.0.randomness.0 {
            Some(seeded) => {
                let digest = Sha256::new().chain_update(seeded.0.to_be_bytes()).chain_update(&self.0.identity);
                Ok(digest.chain_update(contents).finalize()[..NONCE_BYTES].to_vec())
            }
            None => self.nonce(),
        }
    }

    /// A signature header of this identity with the nonce of these contents.
    ///
    /// # Errors
    ///
    /// As [`Signer::nonce`].
    pub fn signature_header(&self, contents: &[u8]) -> Result<SignatureHeader, SignerError> {
        Ok(SignatureHeader { creator: self.0.identity.to_vec(), nonce: self.nonce_of(contents)? })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signer").field("msp_id", &self.0.msp_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::SecretKey;
    use p256::ecdsa::signature::Verifier as _;
    use p256::ecdsa::{Signature, VerifyingKey};
    use p256::pkcs8::DecodePrivateKey as _;

    fn signers(seed: Option<u64>) -> (Signer, Signer, VerifyingKey) {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
        let public = VerifyingKey::from(SecretKey::from_pkcs8_pem(&key).unwrap().public_key());
        let new = || Signer::new("Org1MSP", "certificate", &key, Randomness::new(seed)).unwrap();
        (new(), new(), public)
    }

    #[test]
    fn signatures_verify_and_have_the_lower_s() {
        for seed in [None, Some(1)] {
            let (signer, _, public) = signers(seed);
            // One signature in two is high by chance.
            for message in 0..32_u8 {
                let signature = Signature::from_der(&signer.sign(&[message]).unwrap()).unwrap();
                public.verify(&[message], &signature).unwrap();
                assert_eq!(signature.normalize_s(), signature, "the signature of {message} has a high S");
            }
        }
    }

    #[test]
    fn a_seed_makes_signatures_and_nonces_reproducible() {
        let (one, two, _) = signers(Some(7));
        assert_eq!(one.sign(b"x").unwrap(), two.sign(b"x").unwrap());
        let nonces = |signer: &Signer| [signer.nonce().unwrap(), signer.nonce().unwrap()];
        let [first, second] = nonces(&one);
        assert_eq!(nonces(&two), [first.clone(), second.clone()]);
        assert_ne!(first, second);
        assert_eq!(first.len(), NONCE_BYTES);
        let (one, two, _) = signers(None);
        assert_ne!(one.sign(b"x").unwrap(), two.sign(b"x").unwrap());
        assert_ne!(one.nonce().unwrap(), two.nonce().unwrap());
    }

    #[test]
    fn the_identity_is_msp_id_and_certificate() {
        let (signer, _, _) = signers(None);
        let identity = SerializedIdentity::decode(signer.identity().as_ref()).unwrap();
        assert_eq!((identity.mspid.as_str(), identity.id_bytes.as_slice()), ("Org1MSP", &b"certificate"[..]));
        assert_eq!(format!("{signer:?}"), "Signer { msp_id: \"Org1MSP\", .. }");
    }
}
