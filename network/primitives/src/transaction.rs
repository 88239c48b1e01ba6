//! The ID of a transaction.

use sha2::{Digest as _, Sha256};

/// The transaction ID of a nonce and a creator (an encoded `msp.SerializedIdentity`): SHA-256 of one after the
/// other, as 64 lowercase hexadecimal digits (`ComputeTxID` in Fabric's `protoutil/proputils.go`).
///
/// ```
/// let id = fabric_primitives::transaction::transaction_id(b"a", b"bc");
/// assert_eq!(id, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
/// ```
pub fn transaction_id(nonce: &[u8], creator: &[u8]) -> String {
    crate::hexadecimal(&Sha256::new().chain_update(nonce).chain_update(creator).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_id_is_the_digest_of_nonce_and_creator() {
        // SHA-256 of "abc", the example of FIPS 180-2.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(transaction_id(b"a", b"bc"), expected);
    }
}
