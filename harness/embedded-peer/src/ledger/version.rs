//! Versions of values: block and transaction number. Fabric's `core/ledger/internal/version`.

use std::fmt;

use bytes::BufMut;
use fabric_protos::kvrwset;

/// The position of a transaction in the chain, in chain order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The block's number.
    pub block: u64,
    /// The transaction's index in the block, from 0.
    pub transaction: u64,
}

impl Version {
    /// The version written by a transaction.
    pub const fn new(block: u64, transaction: u64) -> Self {
        Self { block, transaction }
    }

    /// An optional version as Fabric prints it in error texts.
    pub(crate) fn text(version: Option<Self>) -> String {
        version.map_or_else(|| "<nil>".to_owned(), |version| version.to_string())
    }

    /// Fabric's order-preserving encoding: each number's length without leading zeros, then its
    /// bytes.
    pub(crate) fn encode(self, out: &mut impl BufMut) {
        for number in [self.block, self.transaction] {
            let bytes = number.to_be_bytes();
            let zeros = number.leading_zeros() as usize / 8;
            out.put_u8(8 - u8::try_from(zeros).unwrap_or(8));
            out.put_slice(&bytes[zeros..]);
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{{BlockNum: {}, TxNum: {}}}", self.block, self.transaction)
    }
}

impl From<kvrwset::Version> for Version {
    fn from(version: kvrwset::Version) -> Self {
        Self::new(version.block_num, version.tx_num)
    }
}

impl From<Version> for kvrwset::Version {
    fn from(version: Version) -> Self {
        Self { block_num: version.block, tx_num: version.transaction }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_versions_keep_their_order() {
        let encoded = |block, transaction| {
            let mut out = Vec::new();
            Version::new(block, transaction).encode(&mut out);
            out
        };
        assert_eq!(encoded(0, 0), [0, 0]);
        assert_eq!(encoded(1, 255), [1, 1, 1, 255]);
        assert_eq!(encoded(256, u64::MAX), [2, 1, 0, 8, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert!(encoded(255, 9) < encoded(256, 0));
    }
}
