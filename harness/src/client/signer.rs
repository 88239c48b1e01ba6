//! A Fabric identity that signs: creator bytes, signatures, nonces, transaction ids.
//!
//! What is signed, and in what order, is the matter of `proposal` and `gateway`. No certificate is
//! verified here; the peer does that.

use fabric_protos::msp::SerializedIdentity;
use p256::SecretKey;
use p256::ecdsa::Signature;
use p256::pkcs8::DecodePrivateKey as _;
use prost::Message as _;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use sha2::{Digest as _, Sha256};

/// Bytes of a nonce, as Fabric's own clients make it.
pub const NONCE_LENGTH: usize = 24;

/// Why an identity cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// Not a PKCS#8 PEM with a key on P-256.
    #[error("the private key of {msp_id} is not a P-256 key in PKCS#8 PEM (`BEGIN PRIVATE KEY`): {source}")]
    PrivateKey {
        /// MSP of the identity.
        msp_id: String,
        /// What the parser found.
        #[source]
        source: p256::pkcs8::Error,
    },
    /// The text given as certificate is none.
    #[error("the certificate of {msp_id} is not PEM: there is no `BEGIN CERTIFICATE` in it")]
    Certificate {
        /// MSP of the identity.
        msp_id: String,
    },
    /// ring refuses the key, or the system gives no random bytes.
    #[error("{msp_id} cannot sign: {cause}")]
    Crypto {
        /// MSP of the identity.
        msp_id: String,
        /// ring's word for it; it says no more than this.
        cause: String,
    },
}

/// A member of an organization with its private key.
pub struct Signer {
    msp_id: String,
    creator: Vec<u8>,
    key: EcdsaKeyPair,
    random: SystemRandom,
}

/// A fresh nonce and the transaction id that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionContext {
    /// [`NONCE_LENGTH`] random bytes.
    pub nonce: Vec<u8>,
    /// Lower-case hex of SHA-256 over nonce, then creator (`protoutil/proputils.go`).
    pub transaction_id: String,
}

impl Signer {
    /// An identity from its MSP id, certificate (PEM) and private key (PKCS#8 PEM).
    ///
    /// # Errors
    /// [`SignerError`] when one of the two is not what it should be. That they belong together is
    /// not checked: a peer answers `creator's signature over the proposal is not valid`.
    pub fn new(msp_id: &str, certificate_pem: &str, key_pem: &str) -> Result<Self, SignerError> {
        if !certificate_pem.contains("-----BEGIN CERTIFICATE-----") {
            return Err(SignerError::Certificate { msp_id: msp_id.to_owned() });
        }
        let secret = SecretKey::from_pkcs8_pem(key_pem)
            .map_err(|source| SignerError::PrivateKey { msp_id: msp_id.to_owned(), source })?;
        let random = SystemRandom::new();
        // p256 reads the key and knows low-S; ring signs, in 0.05 ms in any build. p256 needs 5 ms
        // without optimization and 0.5 ms when only its own crates are optimized, and a run signs a
        // dozen times.
        let key = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &secret.to_bytes(),
            secret.public_key().to_sec1_bytes().as_ref(),
            &random,
        )
        .map_err(|rejected| crypto_error(msp_id, &rejected))?;
        let identity = SerializedIdentity { mspid: msp_id.to_owned(), id_bytes: certificate_pem.into() };
        Ok(Self { msp_id: msp_id.to_owned(), creator: identity.encode_to_vec(), key, random })
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
        let signature = self.key.sign(&self.random, message).map_err(|failed| crypto_error(&self.msp_id, &failed))?;
        let signature =
            Signature::from_der(signature.as_ref()).map_err(|failed| crypto_error(&self.msp_id, &failed))?;
        Ok(signature.normalize_s().to_der().as_bytes().to_vec())
    }

    /// A nonce and transaction id for one proposal.
    ///
    /// # Errors
    /// [`SignerError::Crypto`] when the system gives no random bytes.
    pub fn transaction_context(&self) -> Result<TransactionContext, SignerError> {
        let mut nonce = vec![0; NONCE_LENGTH];
        self.random.fill(&mut nonce).map_err(|failed| crypto_error(&self.msp_id, &failed))?;
        let transaction_id = transaction_id(&nonce, &self.creator);
        Ok(TransactionContext { nonce, transaction_id })
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

fn transaction_id(nonce: &[u8], creator: &[u8]) -> String {
    hex::encode(Sha256::new().chain_update(nonce).chain_update(creator).finalize())
}
