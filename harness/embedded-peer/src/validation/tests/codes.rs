//! Tests of every validation code, each with a single fault in a transaction.

use fabric_network::topology::Topology;
use fabric_protos::common::{ChannelHeader, ConfigEnvelope, Envelope, Header, HeaderType, Payload, SignatureHeader};
use fabric_protos::protos::{ChaincodeEvent, ChaincodeHeaderExtension, ChaincodeId, TxValidationCode as Code};
use prost::Message;

use crate::config::ChannelConfig;
use crate::ledger::Ledger;
use crate::testing::lifecycle::{approval, define};
use crate::testing::transaction::{Layer, Transaction, hash, ledger, next_block, sets, write};
use crate::testing::{Member, bundle, config};
use crate::validation::validate;

/// A fault in a transaction.
type Change = Box<dyn FnMut(Layer<'_>)>;

/// A network of two organizations with the chaincode `basic` and a majority policy.
pub(super) struct Network {
    pub(super) config: ChannelConfig,
    pub(super) ledger: Ledger,
    pub(super) user: Member,
    pub(super) peers: [Member; 2],
    pub(super) orderer: Member,
    pub(super) admin: Member,
    pub(super) other_user: Member,
    pub(super) stranger: Member,
}

impl Network {
    pub(super) fn without_chaincode() -> Self {
        let (duo, other) = (bundle(&Topology::duo()), bundle(&Topology::duo()));
        let config = config(&duo);
        Self {
            ledger: ledger(&duo, &config),
            config,
            user: Member::user(&duo, 0),
            peers: [Member::peer(&duo, 0), Member::peer(&duo, 1)],
            orderer: Member::orderer(&duo),
            admin: Member::admin(&duo, 0),
            other_user: Member::user(&duo, 1),
            stranger: Member::user(&other, 0),
        }
    }

    pub(super) fn new() -> Self {
        let network = Self::without_chaincode();
        define(&network.ledger, &network.config, &approval("basic", 1));
        network
    }

    pub(super) fn codes(&self, envelopes: Vec<Vec<u8>>) -> Vec<Code> {
        let block = next_block(&self.ledger, envelopes);
        validate(&block, &self.config, &self.ledger).into_iter().map(|checked| checked.code).collect()
    }

    /// A valid transaction.
    pub(super) fn transaction(&self, nonce: u8) -> Transaction<'_> {
        let sets = sets(&[("basic", write("key", "value"))]);
        Transaction::new(nonce, &self.user, &[&self.peers[0], &self.peers[1]], "basic", &sets)
    }

    fn code_with(&self, mut change: impl FnMut(Layer<'_>)) -> Code {
        self.codes(vec![self.transaction(1).seal_with(&mut change)])[0]
    }
}

#[test]
fn an_unmodified_transaction_is_valid() {
    let network = Network::new();
    assert_eq!(network.codes(vec![network.transaction(1).seal()]), [Code::Valid]);
}

#[test]
fn invalid_envelopes_are_rejected() {
    let network = Network::new();
    let payload = Envelope { payload: b"\xff".to_vec(), signature: Vec::new() }.encode_to_vec();
    assert_eq!(
        network.codes(vec![b"\xff\xff".to_vec(), payload, Vec::new()]),
        [Code::InvalidOtherReason, Code::BadPayload, Code::BadCommonHeader]
    );
}

#[test]
fn headers_must_be_complete_and_of_a_known_type() {
    let network = Network::new();
    let code = |change: fn(&mut Transaction<'_>)| {
        let mut transaction = network.transaction(1);
        change(&mut transaction);
        network.codes(vec![transaction.seal()])[0]
    };
    assert_eq!(code(|transaction| transaction.channel_header.epoch = 1), Code::BadCommonHeader);
    assert_eq!(code(|transaction| transaction.signature_header.nonce.clear()), Code::BadCommonHeader);
    assert_eq!(code(|transaction| transaction.signature_header.creator.clear()), Code::BadCommonHeader);
    for kind in [HeaderType::Message, HeaderType::DeliverSeekInfo, HeaderType::OrdererTransaction] {
        let mut transaction = network.transaction(1);
        transaction.channel_header.r#type = kind.into();
        assert_eq!(network.codes(vec![transaction.seal()]), [Code::BadCommonHeader], "{kind:?}");
    }
    assert_eq!(
        code(|transaction| transaction.channel_header.r#type = HeaderType::ConfigUpdate.into()),
        Code::UnsupportedTxPayload
    );
    assert_eq!(code(|transaction| transaction.channel_header.r#type = 77), Code::BadCommonHeader);
    let no_header = network.code_with(|layer| {
        if let Layer::Payload(payload) = layer {
            payload.header = None;
        }
    });
    assert_eq!(no_header, Code::BadCommonHeader);
}

#[test]
fn the_creator_must_be_valid_and_have_signed() {
    let network = Network::new();
    let broken = network.code_with(|layer| {
        if let Layer::Envelope(envelope) = layer {
            envelope.signature.clear();
        }
    });
    assert_eq!(broken, Code::BadCreatorSignature);
    let mut other_signer = network.transaction(1);
    other_signer.creator = &network.admin;
    assert_eq!(network.codes(vec![other_signer.seal()]), [Code::BadCreatorSignature]);
    // The same MSP ID and names from another CA.
    let sets = sets(&[("basic", write("key", "value"))]);
    let peers = [&network.peers[0], &network.peers[1]];
    let stranger = Transaction::new(1, &network.stranger, &peers, "basic", &sets);
    assert_eq!(network.codes(vec![stranger.seal()]), [Code::BadCreatorSignature]);
    let mut elsewhere = network.transaction(1);
    elsewhere.channel_header.channel_id = "other".to_owned();
    assert_eq!(network.codes(vec![elsewhere.seal()]), [Code::BadCreatorSignature]);
}

#[test]
fn the_transaction_id_must_match_nonce_and_creator() {
    let network = Network::new();
    let mut transaction = network.transaction(1);
    transaction.channel_header.tx_id = "0".repeat(64);
    assert_eq!(network.codes(vec![transaction.seal()]), [Code::BadProposalTxid]);
}

#[test]
fn the_action_must_match_the_proposal() {
    let network = Network::new();
    let invalid = |change: &mut dyn FnMut(Layer<'_>)| network.codes(vec![network.transaction(1).seal_with(change)])[0];
    let mut cases: Vec<(&str, Change)> = vec![
        (
            "no action",
            Box::new(|layer| {
                if let Layer::Transaction(transaction) = layer {
                    transaction.actions.clear();
                }
            }),
        ),
        (
            "two actions",
            Box::new(|layer| {
                if let Layer::Transaction(transaction) = layer {
                    transaction.actions.push(transaction.actions[0].clone());
                }
            }),
        ),
        (
            "an action without a signature header",
            Box::new(|layer| {
                if let Layer::Transaction(transaction) = layer {
                    transaction.actions[0].header.clear();
                }
            }),
        ),
        (
            "an invalid action",
            Box::new(|layer| {
                if let Layer::Transaction(transaction) = layer {
                    transaction.actions[0].payload = b"\xff".to_vec();
                }
            }),
        ),
        (
            "nothing endorsed",
            Box::new(|layer| {
                if let Layer::ActionPayload(payload) = layer {
                    payload.action = None;
                }
            }),
        ),
        (
            "no proposal",
            Box::new(|layer| {
                if let Layer::ActionPayload(payload) = layer {
                    payload.chaincode_proposal_payload.clear();
                }
            }),
        ),
        (
            "another proposal",
            Box::new(|layer| {
                if let Layer::Response(response) = layer {
                    response.proposal_hash[0] ^= 1;
                }
            }),
        ),
        (
            "no transaction",
            Box::new(|layer| {
                if let Layer::Payload(payload) = layer {
                    payload.data = b"\xff".to_vec();
                }
            }),
        ),
    ];
    for (name, change) in &mut cases {
        assert_eq!(invalid(change), Code::InvalidEndorserTransaction, "{name}");
    }
}

#[test]
fn the_chaincode_action_must_be_valid() {
    let network = Network::new();
    let with_action = |change: fn(&mut fabric_protos::protos::ChaincodeAction)| {
        let mut transaction = network.transaction(1);
        change(&mut transaction.action);
        network.codes(vec![transaction.seal()])[0]
    };
    assert_eq!(with_action(|action| action.results = b"\xff".to_vec()), Code::BadRwset);
    assert_eq!(with_action(|action| action.chaincode_id = None), Code::InvalidOtherReason);
    let rename = |action: &mut fabric_protos::protos::ChaincodeAction| {
        action.chaincode_id.as_mut().unwrap().name = "another".to_owned();
    };
    assert_eq!(with_action(rename), Code::InvalidChaincode);
    assert_eq!(with_action(|action| action.chaincode_id.as_mut().unwrap().version.clear()), Code::InvalidChaincode);
    assert_eq!(with_action(|action| action.events = b"\xff".to_vec()), Code::InvalidOtherReason);
    let foreign_event = |action: &mut fabric_protos::protos::ChaincodeAction| {
        let event = ChaincodeEvent { chaincode_id: "another".to_owned(), ..ChaincodeEvent::default() };
        action.events = event.encode_to_vec();
    };
    assert_eq!(with_action(foreign_event), Code::InvalidOtherReason);
    let twice = |action: &mut fabric_protos::protos::ChaincodeAction| {
        action.results = sets(&[("basic", write("a", "1")), ("basic", write("b", "2"))]).encode_to_vec();
    };
    assert_eq!(with_action(twice), Code::IllegalWriteset);
    let no_extension = network.code_with(|layer| {
        if let Layer::Response(response) = layer {
            response.extension.clear();
        }
    });
    assert_eq!(no_extension, Code::BadResponsePayload);
}

#[test]
fn the_header_must_name_the_chaincode() {
    let network = Network::new();
    let with_extension = |extension: Vec<u8>| {
        let mut transaction = network.transaction(1);
        transaction.channel_header.extension = extension;
        network.codes(vec![transaction.seal()])[0]
    };
    assert_eq!(with_extension(b"\xff".to_vec()), Code::BadHeaderExtension);
    assert_eq!(with_extension(Vec::new()), Code::InvalidOtherReason);
    let unnamed = ChaincodeHeaderExtension { chaincode_id: Some(ChaincodeId::default()) };
    assert_eq!(with_extension(unnamed.encode_to_vec()), Code::InvalidChaincode);
}

#[test]
fn called_and_written_chaincodes_must_be_defined() {
    let network = Network::new();
    let endorsers = [&network.peers[0], &network.peers[1]];
    let call = |nonce, chaincode, namespace| {
        let sets = sets(&[(namespace, write("key", "value"))]);
        Transaction::new(nonce, &network.user, &endorsers, chaincode, &sets).seal()
    };
    let codes = network.codes(vec![
        call(1, "unknown", "unknown"),
        call(2, "basic", "unknown"),
        call(3, "qscc", "qscc"),
        call(4, "basic", "lscc"),
        call(5, "basic", "_lifecycle"),
    ]);
    let expected =
        [Code::InvalidChaincode, Code::InvalidChaincode, Code::InvalidChaincode, Code::InvalidChaincode, Code::Valid];
    assert_eq!(codes, expected, "a majority of endorsers may also write to _lifecycle");
}

#[test]
fn transaction_ids_must_be_unique() {
    let network = Network::new();
    let envelope = network.transaction(1).seal();
    let codes = network.codes(vec![envelope.clone(), network.transaction(2).seal(), envelope.clone()]);
    assert_eq!(codes, [Code::Valid, Code::Valid, Code::DuplicateTxid]);

    let block = next_block(&network.ledger, vec![envelope.clone()]);
    let checked = validate(&block, &network.config, &network.ledger);
    network.ledger.commit(block, checked, &()).unwrap();
    assert_eq!(network.codes(vec![envelope]), [Code::DuplicateTxid]);
    // The duplicate check comes before the check of the action.
    let mut wrong = network.transaction(1);
    wrong.action.results = b"\xff".to_vec();
    assert_eq!(network.codes(vec![wrong.seal()]), [Code::DuplicateTxid]);
}

#[test]
fn invalid_transactions_do_not_use_up_their_id() {
    let network = Network::new();
    let mut unendorsed = network.transaction(1);
    unendorsed.endorsers.clear();
    let codes = network.codes(vec![unendorsed.seal(), network.transaction(1).seal()]);
    assert_eq!(codes, [Code::EndorsementPolicyFailure, Code::Valid]);
}

/// An envelope of type CONFIG, signed by an orderer.
fn config_transaction(network: &Network, data: Vec<u8>) -> Vec<u8> {
    let nonce = vec![1; 24];
    let channel_header = ChannelHeader {
        r#type: HeaderType::Config.into(),
        channel_id: "mychannel".to_owned(),
        ..ChannelHeader::default()
    };
    let header = Header {
        channel_header: channel_header.encode_to_vec(),
        signature_header: SignatureHeader { creator: network.orderer.creator.clone(), nonce }.encode_to_vec(),
    };
    let payload = Payload { header: Some(header), data }.encode_to_vec();
    Envelope { signature: network.orderer.sign(&payload), payload }.encode_to_vec()
}

#[test]
fn a_configuration_must_follow_from_the_previous_one() {
    let network = Network::new();
    let same = ConfigEnvelope { config: Some(network.config.config().clone()), last_update: None };
    let codes = network.codes(vec![config_transaction(&network, same.encode_to_vec())]);
    assert_eq!(codes, [Code::InvalidConfigTransaction]);
    assert_eq!(network.codes(vec![config_transaction(&network, b"\xff".to_vec())]), [Code::InvalidConfigTransaction]);
}

#[test]
fn missing_transaction_ids_are_computed() {
    let network = Network::new();
    let block = next_block(&network.ledger, vec![config_transaction(&network, Vec::new())]);
    let checked = validate(&block, &network.config, &network.ledger);
    assert_eq!(checked[0].id, hex::encode(hash(&[&[1; 24], &network.orderer.creator])));
}

#[test]
fn validation_is_the_same_on_many_threads() {
    let network = Network::new();
    let mut envelopes = Vec::new();
    let mut expected = Vec::new();
    for nonce in 1..40 {
        let mut transaction = network.transaction(nonce);
        if nonce % 3 == 0 {
            transaction.endorsers.pop();
        }
        expected.push(if nonce % 3 == 0 { Code::EndorsementPolicyFailure } else { Code::Valid });
        envelopes.push(transaction.seal());
    }
    assert_eq!(network.codes(envelopes), expected);
}
