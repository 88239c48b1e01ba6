//! ECDSA signatures over P-256 and SHA-256 with the lower of the two possible values of S, which are the only
//! ones that Fabric accepts (`bccsp/utils/ecdsa.go`).

use p256::SecretKey;
use p256::ecdsa::Signature;
use p256::ecdsa::signature::Signer as _;
use p256::pkcs8::DecodePrivateKey as _;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

/// Why a text is not a private key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a PKCS#8 PEM (`BEGIN PRIVATE KEY`) with a key on P-256.
    #[error(transparent)]
    Pem(#[from] p256::pkcs8::Error),
    /// The signing library does not accept the key.
    #[error("key rejected: {0}")]
    Rejected(String),
}

/// Why signing failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The system provides no random bytes.
    #[error("no random bytes from the system")]
    Random,
    /// Not an ECDSA signature over P-256.
    #[error(transparent)]
    Malformed(#[from] p256::ecdsa::Error),
}

/// A private key on P-256. Its signatures are ASN.1 DER and have a low S.
pub struct SigningKey {
    kind: Kind,
    public_key: Box<[u8]>,
}

enum Kind {
    /// ring signs in 0.03 ms, also in a build without optimization.
    Random(Box<EcdsaKeyPair>, SystemRandom),
    /// p256 signs in 0.2 ms.
    Deterministic(p256::ecdsa::SigningKey),
}

impl SigningKey {
    /// A key whose signatures of one message differ, from PKCS#8 PEM.
    ///
    /// # Errors
    /// [`KeyError`] when it is not a P-256 key in that form.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let secret = SecretKey::from_pkcs8_pem(pem)?;
        let public_key = secret.public_key().to_sec1_bytes();
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &secret.to_bytes(),
            &public_key,
            &random,
        )
        .map_err(|rejected| KeyError::Rejected(rejected.to_string()))?;
        Ok(Self { kind: Kind::Random(Box::new(pair), random), public_key })
    }

    /// A key that always makes the same signature of a message (RFC 6979), from PKCS#8 PEM.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem).
    pub fn deterministic_from_pem(pem: &str) -> Result<Self, KeyError> {
        let secret = SecretKey::from_pkcs8_pem(pem)?;
        let public_key = secret.public_key().to_sec1_bytes();
        Ok(Self { kind: Kind::Deterministic(secret.into()), public_key })
    }

    /// The public key as an uncompressed point (SEC 1, section 2.3.3): 65 bytes.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Signs the SHA-256 digest of a message.
    ///
    /// # Errors
    /// [`SignError::Random`] when the system provides no random bytes.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.kind {
            Kind::Random(pair, random) => low_s(pair.sign(random, message).map_err(|_| SignError::Random)?.as_ref()),
            Kind::Deterministic(key) => Ok(normalized(&key.try_sign(message)?)),
        }
    }
}

impl std::fmt::Debug for SigningKey {
    /// Does not show the key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

/// The same signature (ASN.1 DER, over P-256) with the lower of the two possible values of S.
///
/// # Errors
/// [`SignError::Malformed`] when it is not a signature.
pub fn low_s(signature: &[u8]) -> Result<Vec<u8>, SignError> {
    Ok(normalized(&Signature::from_der(signature)?))
}

fn normalized(signature: &Signature) -> Vec<u8> {
    signature.normalize_s().to_der().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::VerifyingKey;
    use p256::ecdsa::signature::Verifier as _;
    use p256::pkcs8::{EncodePrivateKey as _, LineEnding};

    use super::*;

    fn pem() -> (String, VerifyingKey) {
        let secret = SecretKey::from_slice(&[7; 32]).unwrap();
        (secret.to_pkcs8_pem(LineEnding::LF).unwrap().to_string(), secret.public_key().into())
    }

    #[test]
    fn signatures_verify_and_have_the_lower_s() {
        let (pem, public) = pem();
        for key in [SigningKey::from_pem(&pem).unwrap(), SigningKey::deterministic_from_pem(&pem).unwrap()] {
            // Without normalization, one signature in two has the higher S.
            for message in 0..64_u8 {
                let signature = Signature::from_der(&key.sign(&[message]).unwrap()).unwrap();
                public.verify(&[message], &signature).unwrap();
                assert_eq!(signature.normalize_s(), signature, "the signature of {message} has a high S");
            }
            assert_eq!(key.public_key(), &*public.to_sec1_point(false).as_bytes().to_vec());
        }
    }

    #[test]
    fn only_a_deterministic_key_repeats_its_signatures() {
        let (pem, _) = pem();
        let sign = |key: SigningKey| [(); 2].map(|()| key.sign(b"x").unwrap());
        let [one, two] = sign(SigningKey::deterministic_from_pem(&pem).unwrap());
        assert_eq!(one, two);
        let [one, two] = sign(SigningKey::from_pem(&pem).unwrap());
        assert_ne!(one, two);
    }

    #[test]
    fn invalid_keys_and_signatures_are_rejected() {
        assert!(matches!(SigningKey::from_pem("no key"), Err(KeyError::Pem(_))));
        assert!(matches!(SigningKey::deterministic_from_pem(""), Err(KeyError::Pem(_))));
        assert!(matches!(low_s(b"no signature"), Err(SignError::Malformed(_))));
    }

    #[test]
    fn debug_output_shows_no_key() {
        let (pem, _) = pem();
        assert_eq!(format!("{:?}", SigningKey::from_pem(&pem).unwrap()), "SigningKey { .. }");
    }
}
