//! Public keys and signature verification.
//!
//! Fabric accepts ECDSA over P-256 or P-384 with SHA-256 and the lower of the two possible S
//! (`bccsp/sw/ecdsa.go`), and Ed25519. All nodes of the process share a bounded cache of valid signatures.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{LazyLock, Mutex, PoisonError};

use fabric_primitives::der;
use ring::digest::{Context, SHA256, digest};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_SIG_ED25519};
use x509_parser::x509::SubjectPublicKeyInfo;

/// The size of each of the two generations of the cache.
const CACHE_LIMIT: usize = 16_384;

static VERIFIED: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// ECDSA over P-256.
    P256,
    /// ECDSA over P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA and others, which Fabric rejects for identities.
    Other,
}

impl KeyKind {
    /// The order of the curve, big-endian.
    fn order(self) -> Option<&'static [u8]> {
        match self {
            Self::P256 => Some(&P256_ORDER),
            Self::P384 => Some(&P384_ORDER),
            Self::Ed25519 | Self::Other => None,
        }
    }
}

/// A public key from a certificate.
#[derive(Clone, Debug)]
pub(super) struct PublicKey {
    kind: KeyKind,
    bytes: Vec<u8>,
}

impl PublicKey {
    pub(super) fn of(info: &SubjectPublicKeyInfo<'_>) -> Self {
        let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        let kind = if info.algorithm.algorithm == OID_SIG_ED25519 {
            KeyKind::Ed25519
        } else if info.algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY {
            KeyKind::Other
        } else if curve == Some(OID_EC_P256) {
            KeyKind::P256
        } else if curve == Some(OID_NIST_EC_P384) {
            KeyKind::P384
        } else {
            KeyKind::Other
        };
        Self { kind, bytes: info.subject_public_key.data.to_vec() }
    }

    pub(super) fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Verifies `signature` over `message` by Fabric's rules.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let algorithm: &dyn VerificationAlgorithm = match self.kind {
            KeyKind::P256 => &ECDSA_P256_SHA256_ASN1,
            KeyKind::P384 => &ECDSA_P384_SHA256_ASN1,
            KeyKind::Ed25519 => &ED25519,
            KeyKind::Other => return Err(BadSignature::Key),
        };
        let mut signature = signature;
        if let Some(order) = self.kind.order() {
            let parts = Parts::of(signature).ok_or(BadSignature::Encoding)?;
            if !is_low(&signature[parts.s.clone()], order) {
                return Err(BadSignature::HighS);
            }
            signature = &signature[..parts.end];
        }
        let proof = proof(self.kind, &self.bytes, message, signature);
        if VERIFIED.lock().unwrap_or_else(PoisonError::into_inner).contains(&proof) {
            return Ok(());
        }
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).map_err(|_| BadSignature::Wrong)?;
        VERIFIED.lock().unwrap_or_else(PoisonError::into_inner).insert(proof);
        Ok(())
    }
}

/// Caches a P-256 signature that a node of this process has made.
pub(crate) fn remember_own(public_key: &[u8], message: &[u8], signature: &[u8]) {
    let proof = proof(KeyKind::P256, public_key, message, signature);
    VERIFIED.lock().unwrap_or_else(PoisonError::into_inner).insert(proof);
}

/// The cache key of a valid signature.
fn proof(kind: KeyKind, key: &[u8], message: &[u8], signature: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&[kind as u8]);
    context.update(digest(&SHA256, key).as_ref());
    context.update(digest(&SHA256, message).as_ref());
    context.update(signature);
    let mut proof = [0; 32];
    proof.copy_from_slice(context.finish().as_ref());
    proof
}

/// A signature is invalid. The texts are Fabric's where a client can see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// Not the ASN.1 encoding of two positive integers.
    #[error("could not determine the validity of the signature: failed unmarshalling it")]
    Encoding,
    /// The higher of the two possible S.
    #[error("could not determine the validity of the signature: Invalid S. Must be smaller than half the order")]
    HighS,
    /// An unsupported kind of key.
    #[error("could not determine the validity of the signature: unsupported kind of key")]
    Key,
    /// Of another key or message.
    #[error("The signature is invalid")]
    Wrong,
}

/// A cache of valid signatures in two generations: when the younger is full, the older is dropped.
#[derive(Default)]
struct Cache {
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

impl Cache {
    fn contains(&self, proof: &[u8; 32]) -> bool {
        self.young.contains(proof) || self.old.contains(proof)
    }

    fn insert(&mut self, proof: [u8; 32]) {
        if self.young.len() >= CACHE_LIMIT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(proof);
    }
}

/// Where R and S stand in a DER signature, without leading zeros, and where it ends.
struct Parts {
    r: Range<usize>,
    s: Range<usize>,
    end: usize,
}

impl Parts {
    fn of(signature: &[u8]) -> Option<Self> {
        let (body, end) = element(signature, 0, 0x30)?;
        let (r, after) = integer(signature, body.start)?;
        let (s, after) = integer(signature, after)?;
        (after == end && body.end == end).then_some(Self { r, s, end })
    }
}

/// The content of the element of that tag at `at`, and where the next begins.
fn element(bytes: &[u8], at: usize, tag: u8) -> Option<(Range<usize>, usize)> {
    let (&first, &second) = (bytes.get(at)?, bytes.get(at + 1)?);
    let (start, length) = match second {
        0..=0x7f => (at + 2, usize::from(second)),
        0x81 => (at + 3, usize::from(*bytes.get(at + 2)?)),
        _ => return None,
    };
    let end = start + length;
    (first == tag && end <= bytes.len()).then_some((start..end, end))
}

/// A positive integer, without its leading zero.
fn integer(bytes: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    let (mut content, end) = element(bytes, at, 0x02)?;
    match bytes[content.clone()] {
        [] | [0] => return None,
        [0, next, ..] if next < 0x80 => return None,
        [0, ..] => content.start += 1,
        [first, ..] if first >= 0x80 => return None,
        _ => {}
    }
    Some((content, end))
}

/// Whether `s` is at most half of `order`.
fn is_low(s: &[u8], order: &[u8]) -> bool {
    compare(s, &half(order)).is_le()
}

fn half(number: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    number
        .iter()
        .map(|byte| {
            let halved = (byte >> 1) | (carry << 7);
            carry = byte & 1;
            halved
        })
        .collect()
}

fn compare(left: &[u8], right: &[u8]) -> std::cmp::Ordering {
    let trim = |number: &[u8]| number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let (left, right) = (&left[trim(left)..], &right[trim(right)..]);
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// The same signature with the lower S, by the curve of the key that made it. `None` if it has
/// the lower S already or is no ECDSA signature.
pub(super) fn with_low_s(signature: &[u8], signer: KeyKind) -> Option<Vec<u8>> {
    let order = signer.order()?;
    let parts = Parts::of(signature)?;
    let s = &signature[parts.s.clone()];
    if is_low(s, order) || s.len() > order.len() {
        return None;
    }
    let mut lower = vec![0; order.len()];
    let mut borrow = 0_i16;
    for index in (0..order.len()).rev() {
        let from_end = order.len() - index;
        let digit = s.len().checked_sub(from_end).map_or(0, |position| s[position]);
        let difference = i16::from(order[index]) - i16::from(digit) - borrow;
        borrow = i16::from(difference < 0);
        lower[index] = u8::try_from(difference.rem_euclid(256)).unwrap_or_default();
    }
    let body = [der::unsigned(&signature[parts.r]), der::unsigned(&lower)].concat();
    Some(der::element(der::SEQUENCE, &body))
}

const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
const P384_ORDER: [u8; 48] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0,
    0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
];
