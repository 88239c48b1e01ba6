//! Random and modified blocks: no panics, and modified transactions are invalid.

use proptest::prelude::*;

use super::codes::Network;
use crate::config::ChannelConfig;
use crate::testing::transaction::next_block;
use crate::validation::validate;
use fabric_protos::common::{Block, BlockData};
use fabric_protos::protos::TxValidationCode as Code;
use std::sync::LazyLock;

static NETWORK: LazyLock<Network> = LazyLock::new(Network::new);
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| NETWORK.transaction(1).seal());

proptest! {
    #[test]
    fn random_blocks_never_panic(envelopes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..4)) {
        let count = envelopes.len();
        let checked = validate(&next_block(&NETWORK.ledger, envelopes), &NETWORK.config, &NETWORK.ledger);
        prop_assert_eq!(checked.len(), count);
        prop_assert!(checked.iter().all(|one| one.code != Code::Valid));
    }

    #[test]
    fn a_changed_byte_makes_a_transaction_invalid(index in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut envelope = GOOD.clone();
        let index = index.index(envelope.len());
        envelope[index] ^= flip;
        let checked = validate(&next_block(&NETWORK.ledger, vec![envelope]), &NETWORK.config, &NETWORK.ledger);
        prop_assert_ne!(checked[0].code, Code::Valid);
    }

    #[test]
    fn random_configuration_blocks_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let block = Block { data: Some(BlockData { data: vec![bytes] }), ..Block::default() };
        prop_assert!(ChannelConfig::from_block(&block).is_err());
    }
}

#[test]
fn an_empty_block_is_validated() {
    assert!(validate(&Block::default(), &NETWORK.config, &NETWORK.ledger).is_empty());
    assert!(ChannelConfig::from_block(&Block::default()).is_err());
}
