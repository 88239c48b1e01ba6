//! Blocks and transactions for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric_primitives::block;
use fabric_protos::common::{Block, BlockData, BlockHeader, BlockMetadata, ChannelHeader, Envelope, Header, Payload};
use fabric_protos::prost::Message as _;
use fabric_protos::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEndorsedAction, ProposalResponsePayload, Transaction,
    TransactionAction, TxValidationCode,
};

use super::super::*;

/// Block-to-live by chaincode and collection. This peer is a member of all of them.
#[derive(Clone, Default)]
pub(super) struct Rules(pub(super) BTreeMap<(String, String), u64>);

impl Rules {
    pub(super) fn of(rules: &[(&str, &str, u64)]) -> Self {
        let rule = |(namespace, collection, block_to_live): &(&str, &str, u64)| {
            (((*namespace).to_owned(), (*collection).to_owned()), *block_to_live)
        };
        Self(rules.iter().map(rule).collect())
    }
}

impl CollectionRules for Rules {
    fn rule(&self, namespace: &str, collection: &str) -> Option<CollectionRule> {
        let block_to_live = *self.0.get(&(namespace.to_owned(), collection.to_owned()))?;
        Some(CollectionRule { block_to_live, member: true })
    }
}

impl Collections for Rules {
    fn collections(&self, _: &StateView, namespace: &str) -> Result<Option<BTreeSet<String>>, String> {
        let names: BTreeSet<_> =
            self.0.keys().filter(|(found, _)| found == namespace).map(|(_, name)| name.clone()).collect();
        Ok((!names.is_empty()).then_some(names))
    }
}

/// A simulated transaction that is not in a block yet.
#[derive(Clone)]
pub(super) struct Endorsed {
    pub(super) id: String,
    pub(super) simulated: Simulated,
    pub(super) code: TxValidationCode,
}

/// Simulates a transaction and puts its private data into the transient store, like an endorsement.
pub(super) fn endorse(ledger: &Ledger, id: &str, script: impl FnOnce(&mut Simulation)) -> Endorsed {
    let mut simulation = ledger.simulate(id);
    script(&mut simulation);
    let simulated = simulation.finish().unwrap();
    if let Some(private) = &simulated.private {
        ledger.transient().put(id, ledger.height(), private.clone());
    }
    Endorsed { id: id.to_owned(), simulated, code: TxValidationCode::Valid }
}

/// An envelope with these results; its timestamp is the number in the ID.
pub(super) fn envelope(id: &str, results: &[u8]) -> Vec<u8> {
    let seconds = id.trim_start_matches(|character: char| !character.is_ascii_digit()).parse().unwrap_or(0);
    let timestamp = Some(fabric_protos::prost_types::Timestamp { seconds, nanos: 0 });
    let header = ChannelHeader { r#type: 3, tx_id: id.to_owned(), timestamp, ..ChannelHeader::default() };
    let action = ChaincodeAction { results: results.to_vec(), ..ChaincodeAction::default() };
    let response = ProposalResponsePayload { extension: action.encode_to_vec(), ..ProposalResponsePayload::default() };
    let endorsed = ChaincodeEndorsedAction {
        proposal_response_payload: response.encode_to_vec(),
        ..ChaincodeEndorsedAction::default()
    };
    let action = ChaincodeActionPayload { action: Some(endorsed), ..ChaincodeActionPayload::default() };
    let action = TransactionAction { payload: action.encode_to_vec(), ..TransactionAction::default() };
    let payload = Payload {
        header: Some(Header { channel_header: header.encode_to_vec(), ..Header::default() }),
        data: Transaction { actions: vec![action] }.encode_to_vec(),
    };
    Envelope { payload: payload.encode_to_vec(), signature: Vec::new() }.encode_to_vec()
}

/// The next block of a ledger, and its transactions as validated.
pub(super) fn block(ledger: &Ledger, transactions: &[Endorsed]) -> (Block, Vec<CheckedTransaction>) {
    let data =
        BlockData { data: transactions.iter().map(|found| envelope(&found.id, &found.simulated.public)).collect() };
    let header = BlockHeader {
        number: ledger.height(),
        previous_hash: ledger.info().current_block_hash,
        data_hash: block::data_hash(&data.data).to_vec(),
    };
    let checked = transactions.iter().map(|found| CheckedTransaction {
        id: found.id.clone(),
        code: found.code,
        writes: Some(Arc::new(ReadWriteSets::parse(&found.simulated.public).unwrap())),
        kind: TransactionKind::Endorser,
        event: None,
    });
    let block = Block { header: Some(header), data: Some(data), metadata: Some(BlockMetadata::default()) };
    (block, checked.collect())
}

/// Commits these transactions as one block and returns their codes.
pub(super) fn commit(ledger: &Ledger, rules: &Rules, transactions: &[Endorsed]) -> Vec<TxValidationCode> {
    let (block, checked) = block(ledger, transactions);
    let committed = ledger.commit(block, checked, rules).unwrap();
    committed.block.transactions.iter().map(|transaction| transaction.code).collect()
}

/// Simulates one transaction and commits it alone.
pub(super) fn submit(
    ledger: &Ledger,
    rules: &Rules,
    id: &str,
    script: impl FnOnce(&mut Simulation),
) -> TxValidationCode {
    let transaction = endorse(ledger, id, script);
    commit(ledger, rules, &[transaction])[0]
}

/// A ledger with an empty first block, so that commit hashes start.
pub(super) fn ledger() -> Ledger {
    let ledger = Ledger::new("mychannel");
    let (block, checked) = block(&ledger, &[]);
    ledger.commit(block, checked, &()).unwrap();
    ledger
}
