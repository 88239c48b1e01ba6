//! Hashes of blocks and data.

use fabric_primitives::block::Header;
use fabric_protos::common::BlockHeader;
use sha2::{Digest as _, Sha256};

/// SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The hash of a block header, to which the next block refers.
pub fn header_hash(header: &BlockHeader) -> [u8; 32] {
    fields(header).hash()
}

/// The encoded header that orderers sign and [`header_hash`] hashes.
pub fn header_der(header: &BlockHeader) -> Vec<u8> {
    fields(header).to_der()
}

fn fields(header: &BlockHeader) -> Header<'_> {
    Header { number: header.number, previous_hash: &header.previous_hash, data_hash: &header.data_hash }
}
