//! The hashes that peers and orderers must agree on.

use fabric_protos::common::{BlockData, BlockHeader};
use sha2::{Digest as _, Sha256};

/// SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A block's hash: SHA-256 of the header's ASN.1 DER, a sequence of the number, the hash of the block before, and the
/// hash of the data (`protoutil.BlockHeaderHash`).
pub fn header_hash(header: &BlockHeader) -> [u8; 32] {
    digest(&header_der(header))
}

/// The header as orderers sign it: what [`header_hash`] hashes.
pub fn header_der(header: &BlockHeader) -> Vec<u8> {
    let digits = header.number.to_be_bytes();
    let zeros = (header.number.leading_zeros() as usize / 8).min(7);
    let mut number = digits[zeros..].to_vec();
    if number.first().is_some_and(|first| first & 0x80 != 0) {
        number.insert(0, 0);
    }
    let mut content = Vec::with_capacity(80);
    element(0x02, &number, &mut content);
    element(0x04, &header.previous_hash, &mut content);
    element(0x04, &header.data_hash, &mut content);
    let mut sequence = Vec::with_capacity(content.len() + 4);
    element(0x30, &content, &mut sequence);
    sequence
}

/// The hash of a block's transactions: SHA-256 of all envelopes, one after another.
pub fn data_hash(data: &BlockData) -> [u8; 32] {
    let mut hash = Sha256::new();
    for envelope in &data.data {
        hash.update(envelope);
    }
    hash.finalize().into()
}

/// One DER element: tag, length, content.
fn element(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => out.push(length),
        _ => {
            let length = content.len().to_be_bytes();
            let significant = &length[content.len().leading_zeros() as usize / 8..];
            out.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
            out.extend_from_slice(significant);
        }
    }
    out.extend_from_slice(content);
}
