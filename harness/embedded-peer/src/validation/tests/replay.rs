//! Replays blocks of real Fabric networks of two organizations with two peers each, which ran the
//! conformance cases (collections, key-level policies, a second chaincode). Codes, commit hashes
//! and lifecycle results must match.

use std::io::Read as _;

use fabric_network::release::Release;
use fabric_protos::common::{Block, BlockMetadataIndex, Envelope, Metadata, Payload};
use fabric_protos::msp::SerializedIdentity;
use fabric_protos::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeInvocationSpec, ChaincodeProposalPayload,
    ProposalResponsePayload, Transaction, TxValidationCode,
};
use prost::Message;

use crate::config::{ChannelConfig, config_envelope};
use crate::ledger::Ledger;
use crate::lifecycle::{self, InstalledPackage, LifecycleContext, PackageFailure, Packages, StateRules};
use crate::validation::validate;

/// Reads compressed, length-prefixed blocks.
fn blocks(fixture: &[u8]) -> Vec<Block> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(fixture).read_to_end(&mut bytes).unwrap();
    let mut rest = &*bytes;
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        blocks.push(Block::decode_length_delimited(&mut rest).unwrap());
    }
    blocks
}

fn metadata(block: &Block, index: BlockMetadataIndex) -> &[u8] {
    &block.metadata.as_ref().unwrap().metadata[usize::try_from(i32::from(index)).unwrap()]
}

/// The codes written by the real peer.
fn codes(block: &Block) -> Vec<TxValidationCode> {
    let filter = metadata(block, BlockMetadataIndex::TransactionsFilter).iter();
    filter.map(|code| TxValidationCode::try_from(i32::from(*code)).unwrap()).collect()
}

struct NoPackages;

impl Packages for NoPackages {
    fn install(&self, _: &[u8]) -> Result<InstalledPackage, PackageFailure> {
        Err(PackageFailure::Other("not here".to_owned()))
    }

    fn list(&self) -> Vec<InstalledPackage> {
        Vec::new()
    }

    fn load(&self, package_id: &str) -> Result<Vec<u8>, PackageFailure> {
        Err(PackageFailure::NotFound(package_id.to_owned()))
    }
}

/// The arguments, the action and the endorser's MSP ID of a chaincode call.
fn call(envelope: &[u8]) -> Option<(Vec<Vec<u8>>, String, ChaincodeAction)> {
    let payload = Payload::decode(&*Envelope::decode(envelope).ok()?.payload).ok()?;
    let transaction = Transaction::decode(&*payload.data).ok()?;
    let action = ChaincodeActionPayload::decode(&*transaction.actions.first()?.payload).ok()?;
    let proposal = ChaincodeProposalPayload::decode(&*action.chaincode_proposal_payload).ok()?;
    let invocation = ChaincodeInvocationSpec::decode(&*proposal.input).ok()?;
    let endorsed = action.action?;
    let response = ProposalResponsePayload::decode(&*endorsed.proposal_response_payload).ok()?;
    let signer = SerializedIdentity::decode(&*endorsed.endorsements.first()?.endorser).ok()?;
    let done = ChaincodeAction::decode(&*response.extension).ok()?;
    Some((invocation.chaincode_spec?.input?.args, signer.mspid, done))
}

/// Repeats a recorded call of `_lifecycle` and compares its complete read-write set.
fn repeat_lifecycle_call(envelope: &[u8], config: &ChannelConfig, ledger: &Ledger, release: Release) -> bool {
    let Some((arguments, msp_id, done)) = call(envelope) else { return false };
    if done.chaincode_id.as_ref().unwrap().name != lifecycle::NAMESPACE {
        return false;
    }
    let function = String::from_utf8(arguments[0].clone()).unwrap();
    let mut simulation = ledger.simulate("transaction");
    let context = LifecycleContext {
        simulation: Some(&mut simulation),
        config: Some(config),
        msp_id: &msp_id,
        packages: &NoPackages,
        release,
    };
    let result = lifecycle::invoke(&function, &arguments[1], context).unwrap();
    assert_eq!(result, done.response.unwrap().payload, "{function}");
    let simulated = simulation.finish().unwrap();
    assert_eq!(simulated.public, done.results, "{function}");
    true
}

/// The number of `_lifecycle` calls, configuration blocks and invalid transactions.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    lifecycle_calls: usize,
    configurations: usize,
    invalid: usize,
}

/// The configuration in a block, which its update must produce.
fn next_config(block: &Block, config: &ChannelConfig) -> Option<ChannelConfig> {
    let (_, envelope) = config_envelope(&block.data.as_ref()?.data[0]).ok()?;
    let proposed = config.apply_update(envelope.last_update.as_ref()?).unwrap();
    assert_eq!(proposed, envelope);
    Some(ChannelConfig::from_block(block).unwrap())
}

fn replay(fixture: &[u8], release: Release, own: &str) -> (Ledger, ChannelConfig, Seen) {
    let blocks = blocks(fixture);
    let mut config = ChannelConfig::from_block(&blocks[0]).unwrap();
    let ledger = Ledger::new(config.channel());
    let mut seen = Seen { lifecycle_calls: 0, configurations: 0, invalid: 0 };
    for block in blocks {
        let expected = codes(&block);
        for envelope in &block.data.as_ref().unwrap().data {
            seen.lifecycle_calls += usize::from(repeat_lifecycle_call(envelope, &config, &ledger, release));
        }
        let checked = validate(&block, &config, &ledger);
        let next = next_config(&block, &config);
        let state = ledger.state();
        let rules = StateRules { state: &state, msp_id: own };
        let number = block.header.as_ref().unwrap().number;
        let hash = metadata(&block, BlockMetadataIndex::CommitHash).to_vec();
        let committed = ledger.commit(block, checked, &rules).unwrap();
        assert_eq!(codes(&committed.block.block), expected, "block {number}");
        seen.invalid += expected.iter().filter(|code| **code != TxValidationCode::Valid).count();
        let ours = metadata(&committed.block.block, BlockMetadataIndex::CommitHash);
        let value = |metadata: &[u8]| hex::encode(Metadata::decode(metadata).unwrap().value);
        assert_eq!(value(ours), value(&hash), "block {number}");
        if let Some(next) = next {
            seen.configurations += 1;
            config = next;
        }
    }
    (ledger, config, seen)
}

/// Two chaincodes were approved twice and committed once each; three writes were endorsed by the
/// wrong organization.
fn replay_conformance(fixture: &[u8], release: Release) {
    let (ledger, _, seen) = replay(fixture, release, "Org2MSP");
    assert_eq!(seen, Seen { lifecycle_calls: 6, configurations: 0, invalid: 3 });
    let definition = lifecycle::definition(&ledger.state(), "conformance").unwrap();
    assert_eq!((definition.sequence, definition.init_required), (1, true));
}

#[test]
fn blocks_of_3_1_get_the_same_codes() {
    replay_conformance(include_bytes!("../../../tests/fixtures/conformance-3.1.blocks.gz"), Release::V3_1);
}

#[test]
fn blocks_of_2_5_get_the_same_codes() {
    replay_conformance(include_bytes!("../../../tests/fixtures/conformance-2.5.blocks.gz"), Release::V2_5);
}

/// An anchor peer, another batch size, and a policy with an ACL that names it.
#[test]
fn updates_produce_the_real_orderers_configuration() {
    let fixture = include_bytes!("../../../tests/fixtures/config-3.1.blocks.gz");
    let (_, config, seen) = replay(fixture, Release::V3_1, "Org1MSP");
    assert_eq!((seen.configurations, seen.invalid, config.sequence()), (3, 0, 3));
    assert_eq!(config.organizations()[0].anchor_peers[0].host, "peer.example.com");
    assert_eq!(config.batch().max_message_count, 7);
    assert_eq!(config.acl("qscc/GetChainInfo"), Some("/Channel/Application/Special"));
}
