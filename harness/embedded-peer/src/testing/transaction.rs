//! Endorsed transactions, valid or modified at any layer, and blocks of them.

use fabric_primitives::block;
use fabric_protos::common::{
    Block, BlockData, BlockHeader, BlockMetadata, ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader,
};
use fabric_protos::kvrwset::{KvMetadataEntry, KvMetadataWrite, KvWrite, KvrwSet};
use fabric_protos::protos::{
    self, ChaincodeAction, ChaincodeActionPayload, ChaincodeEndorsedAction, ChaincodeHeaderExtension, ChaincodeId,
    Endorsement, ProposalResponsePayload, TransactionAction, TxValidationCode,
};
use fabric_protos::rwset::{NsReadWriteSet, TxReadWriteSet};
use prost::Message;
use ring::digest::{SHA256, digest};

use super::Member;
use crate::config::ChannelConfig;
use crate::ledger::{CheckedTransaction, CollectionRule, CollectionRules, Ledger, ReadWriteSets, TransactionKind};

/// A layer of a transaction before it is encoded.
pub(crate) enum Layer<'a> {
    Response(&'a mut ProposalResponsePayload),
    Endorsed(&'a mut ChaincodeEndorsedAction),
    ActionPayload(&'a mut ChaincodeActionPayload),
    Transaction(&'a mut protos::Transaction),
    Payload(&'a mut Payload),
    Envelope(&'a mut Envelope),
}

/// A transaction of a client.
pub(crate) struct Transaction<'a> {
    pub(crate) creator: &'a Member,
    pub(crate) endorsers: Vec<&'a Member>,
    pub(crate) channel_header: ChannelHeader,
    pub(crate) signature_header: SignatureHeader,
    pub(crate) action: ChaincodeAction,
}

pub(crate) fn hash(parts: &[&[u8]]) -> Vec<u8> {
    digest(&SHA256, &parts.concat()).as_ref().to_vec()
}

impl<'a> Transaction<'a> {
    /// A chaincode call with these read-write sets; `nonce` determines its ID.
    pub(crate) fn new(
        nonce: u8,
        creator: &'a Member,
        endorsers: &[&'a Member],
        chaincode: &str,
        sets: &TxReadWriteSet,
    ) -> Self {
        let nonce = vec![nonce; 24];
        let name = |version: &str| ChaincodeId {
            name: chaincode.to_owned(),
            version: version.to_owned(),
            ..ChaincodeId::default()
        };
        let channel_header = ChannelHeader {
            r#type: HeaderType::EndorserTransaction.into(),
            channel_id: "mychannel".to_owned(),
            tx_id: hex::encode(hash(&[&nonce, &creator.creator])),
            extension: ChaincodeHeaderExtension { chaincode_id: Some(name("")) }.encode_to_vec(),
            ..ChannelHeader::default()
        };
        let signature_header = SignatureHeader { creator: creator.creator.clone(), nonce };
        let action = ChaincodeAction {
            results: sets.encode_to_vec(),
            chaincode_id: Some(name("1.0")),
            response: Some(protos::Response { status: 200, ..protos::Response::default() }),
            ..ChaincodeAction::default()
        };
        Self { creator, endorsers: endorsers.to_vec(), channel_header, signature_header, action }
    }

    pub(crate) fn seal(self) -> Vec<u8> {
        self.seal_with(&mut |_| ())
    }

    /// Encodes the transaction by layer and passes each layer to `change` first.
    pub(crate) fn seal_with(self, change: &mut dyn FnMut(Layer<'_>)) -> Vec<u8> {
        let header = Header {
            channel_header: self.channel_header.encode_to_vec(),
            signature_header: self.signature_header.encode_to_vec(),
        };
        let proposal = b"proposal".to_vec();
        let mut response = ProposalResponsePayload {
            proposal_hash: hash(&[&header.channel_header, &header.signature_header, &proposal]),
            extension: self.action.encode_to_vec(),
        };
        change(Layer::Response(&mut response));
        let response = response.encode_to_vec();
        let endorse = |endorser: &&Member| Endorsement {
            endorser: endorser.creator.clone(),
            signature: endorser.sign(&[&*response, &*endorser.creator].concat()),
        };
        let endorsements = self.endorsers.iter().map(endorse).collect();
        let mut endorsed = ChaincodeEndorsedAction { proposal_response_payload: response.clone(), endorsements };
        change(Layer::Endorsed(&mut endorsed));
        let mut payload = ChaincodeActionPayload { chaincode_proposal_payload: proposal, action: Some(endorsed) };
        change(Layer::ActionPayload(&mut payload));
        let action = TransactionAction { header: header.signature_header.clone(), payload: payload.encode_to_vec() };
        let mut transaction = protos::Transaction { actions: vec![action] };
        change(Layer::Transaction(&mut transaction));
        let mut payload = Payload { header: Some(header), data: transaction.encode_to_vec() };
        change(Layer::Payload(&mut payload));
        let payload = payload.encode_to_vec();
        let mut envelope = Envelope { signature: self.creator.sign(&payload), payload };
        change(Layer::Envelope(&mut envelope));
        envelope.encode_to_vec()
    }
}

/// A transaction's read-write sets by namespace.
pub(crate) fn sets(namespaces: &[(&str, KvrwSet)]) -> TxReadWriteSet {
    let namespaces = namespaces.iter().map(|(namespace, set)| NsReadWriteSet {
        namespace: (*namespace).to_owned(),
        rwset: set.encode_to_vec(),
        ..NsReadWriteSet::default()
    });
    TxReadWriteSet { ns_rwset: namespaces.collect(), ..TxReadWriteSet::default() }
}

/// A write of one key.
pub(crate) fn write(key: &str, value: &str) -> KvrwSet {
    let write = KvWrite { key: key.to_owned(), value: value.as_bytes().to_vec(), is_delete: false };
    KvrwSet { writes: vec![write], ..KvrwSet::default() }
}

/// A key-level endorsement policy.
pub(crate) fn policy_write(key: &str, policy: &[u8]) -> KvrwSet {
    let entry = KvMetadataEntry { name: "VALIDATION_PARAMETER".to_owned(), value: policy.to_vec() };
    let write = KvMetadataWrite { key: key.to_owned(), entries: vec![entry] };
    KvrwSet { metadata_writes: vec![write], ..KvrwSet::default() }
}

/// The next block of a ledger.
pub(crate) fn next_block(ledger: &Ledger, envelopes: Vec<Vec<u8>>) -> Block {
    let data = BlockData { data: envelopes };
    let header = BlockHeader {
        number: ledger.height(),
        previous_hash: ledger.info().current_block_hash,
        data_hash: block::data_hash(&data.data).to_vec(),
    };
    Block { header: Some(header), data: Some(data), metadata: Some(BlockMetadata { metadata: vec![Vec::new(); 5] }) }
}

/// Rules of a peer that is a member of every collection.
struct MemberOfAll;

impl CollectionRules for MemberOfAll {
    fn rule(&self, _: &str, _: &str) -> Option<CollectionRule> {
        Some(CollectionRule { block_to_live: 0, member: true })
    }
}

/// Commits read-write sets as a separate block, without validation.
pub(crate) fn commit_sets(ledger: &Ledger, results: &[u8]) {
    let id = format!("committed at {}", ledger.height());
    let checked = CheckedTransaction {
        id,
        code: TxValidationCode::Valid,
        writes: Some(ReadWriteSets::parse(results).unwrap().into()),
        kind: TransactionKind::Endorser,
        event: None,
    };
    let committed = ledger.commit(next_block(ledger, vec![b"envelope".to_vec()]), vec![checked], &MemberOfAll).unwrap();
    assert_eq!(committed.block.transactions[0].code, TxValidationCode::Valid);
}

/// A ledger with the channel's genesis block.
pub(crate) fn ledger(bundle: &fabric_network::bundle::Bundle, config: &ChannelConfig) -> Ledger {
    let ledger = Ledger::new(config.channel());
    let block = super::genesis(bundle);
    let checked = crate::validation::validate(&block, config, &ledger);
    ledger.commit(block, checked, &()).unwrap();
    ledger
}
