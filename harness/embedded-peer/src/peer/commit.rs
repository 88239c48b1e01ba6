//! What a peer finds out about a block before it is committed.

use fabric_protos::common::{Block, ChannelHeader, Envelope, HeaderType, Payload};
use fabric_protos::protos::TxValidationCode;
use prost::Message as _;

use crate::config::ChannelConfig;
use crate::ledger::{CheckedTransaction, CollectionRule, CollectionRules, Ledger, StateView, TransactionKind};

/// The codes of a block's envelopes.
pub(super) fn validate(block: &Block, _: &ChannelConfig, _: &Ledger) -> Vec<CheckedTransaction> {
    let envelopes = block.data.as_ref().map(|data| &*data.data).unwrap_or_default();
    envelopes
        .iter()
        .map(|envelope| {
            let header = Envelope::decode(&**envelope).ok().and_then(|envelope| {
                let payload = Payload::decode(&*envelope.payload).ok()?;
                ChannelHeader::decode(&*payload.header?.channel_header).ok()
            });
            let header = header.unwrap_or_default();
            let kind = match HeaderType::try_from(header.r#type) {
                Ok(HeaderType::Config) => TransactionKind::Config,
                Ok(HeaderType::EndorserTransaction) => TransactionKind::Endorser,
                _ => TransactionKind::Other,
            };
            CheckedTransaction {
                id: header.tx_id,
                code: TxValidationCode::Valid,
                kind,
                ..CheckedTransaction::default()
            }
        })
        .collect()
}

/// The collections of a channel, as they concern this peer.
pub(super) struct Rules;

impl Rules {
    pub(super) fn new(_: StateView, _: &str, _: &ChannelConfig) -> Self {
        Self
    }
}

impl CollectionRules for Rules {
    fn rule(&self, _: &str, _: &str) -> Option<CollectionRule> {
        None
    }
}
