//! The hashes of a block.

use sha2::{Digest as _, Sha256};

use crate::der;

/// The fields of a block's header (`common.BlockHeader`). The hashes may have any length when the block comes
/// from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The block's number; the genesis block is 0.
    pub number: u64,
    /// [`Header::hash`] of the previous block; empty for the genesis block.
    pub previous_hash: &'a [u8],
    /// [`data_hash`] of the block's envelopes.
    pub data_hash: &'a [u8],
}

impl Header<'_> {
    /// The bytes that are hashed, and that orderers sign: the ASN.1 DER sequence of number, previous hash and
    /// data hash (`BlockHeaderBytes` in Fabric's `protoutil/blockutils.go`).
    pub fn to_der(self) -> Vec<u8> {
        let mut content = der::unsigned(&self.number.to_be_bytes());
        content.extend(der::element(der::OCTET_STRING, self.previous_hash));
        content.extend(der::element(der::OCTET_STRING, self.data_hash));
        der::element(der::SEQUENCE, &content)
    }

    /// The block's hash, SHA-256 of [`Header::to_der`] (`BlockHeaderHash` in Fabric's
    /// `protoutil/blockutils.go`).
    pub fn hash(self) -> [u8; 32] {
        Sha256::digest(self.to_der()).into()
    }
}

/// The hash of a block's data: SHA-256 of its encoded envelopes, one after another
/// (`ComputeBlockDataHash` in Fabric's `protoutil/blockutils.go`).
pub fn data_hash<T: AsRef<[u8]>>(envelopes: impl IntoIterator<Item = T>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for envelope in envelopes {
        hash.update(envelope);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_der_with_an_unsigned_number() {
        let header = |number| Header { number, previous_hash: &[1, 2], data_hash: &[3] };
        assert_eq!(header(0).to_der(), [0x30, 10, 2, 1, 0, 4, 2, 1, 2, 4, 1, 3]);
        assert_eq!(header(0x80).to_der()[2..6], [2, 2, 0, 0x80]);
        assert_eq!(header(u64::MAX).to_der()[2..5], [2, 9, 0]);
        assert_eq!(header(7).hash(), *Sha256::digest(header(7).to_der()));
    }

    #[test]
    fn hashes_of_any_length_are_encoded() {
        let long = Header { number: 1, previous_hash: &[0; 300], data_hash: &[] };
        assert_eq!(long.to_der()[..4], [0x30, 0x82, 0x01, 0x35]);
    }

    #[test]
    fn the_data_hash_is_over_all_envelopes() {
        assert_eq!(data_hash([vec![1, 2], vec![3]]), *Sha256::digest([1, 2, 3]));
    }
}
