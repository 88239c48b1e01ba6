//! Tests of endorsement policies of chaincodes, collections and keys.

use fabric_protos::common::SignaturePolicyEnvelope;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::kvrwset::{HashedRwSet, KvMetadataEntry, KvMetadataWriteHash, KvWriteHash, KvrwSet};
use fabric_protos::protos::{
    ApplicationPolicy, CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig, StaticCollectionConfig,
    TxValidationCode as Code, application_policy, collection_config, collection_policy_config,
};
use fabric_protos::rwset::{CollectionHashedReadWriteSet, NsReadWriteSet, TxReadWriteSet};
use prost::Message;

use super::codes::Network;
use crate::policy::{from_signature_policy, n_of_roles};
use crate::testing::Member;
use crate::testing::lifecycle::{approval, define, define_with};
use crate::testing::transaction::{Layer, Transaction, commit_sets, hash, policy_write, sets, write};

/// Requires one peer of this organization.
fn peer_of(msp_id: &str) -> SignaturePolicyEnvelope {
    n_of_roles(1, MspRoleType::Peer, &[msp_id])
}

/// A transaction of `basic` with these read-write sets.
fn transaction(network: &Network, nonce: u8, endorsers: &[usize], sets: &TxReadWriteSet) -> Vec<u8> {
    let endorsers: Vec<&Member> = endorsers.iter().map(|index| &network.peers[*index]).collect();
    Transaction::new(nonce, &network.user, &endorsers, "basic", sets).seal()
}

fn public(set: KvrwSet) -> TxReadWriteSet {
    sets(&[("basic", set)])
}

const FAILURE: Code = Code::EndorsementPolicyFailure;

#[test]
fn a_majority_must_endorse_by_default() {
    let network = Network::new();
    let set = public(write("key", "value"));
    let codes = network.codes(vec![
        transaction(&network, 1, &[0, 1], &set),
        transaction(&network, 2, &[0], &set),
        transaction(&network, 3, &[], &set),
        transaction(&network, 4, &[1, 1], &set),
    ]);
    assert_eq!(codes, [Code::Valid, FAILURE, FAILURE, FAILURE]);
}

#[test]
fn clients_do_not_endorse() {
    let network = Network::new();
    let set = public(write("key", "value"));
    let endorsers = [&network.peers[0], &network.other_user];
    let envelope = Transaction::new(1, &network.user, &endorsers, "basic", &set).seal();
    assert_eq!(network.codes(vec![envelope]), [FAILURE]);
}

#[test]
fn endorsements_of_other_payloads_do_not_count() {
    let network = Network::new();
    let envelope = network.transaction(1).seal_with(&mut |layer| {
        if let Layer::Endorsed(endorsed) = layer {
            let [one, two] = &mut *endorsed.endorsements else { panic!("two peers endorse") };
            std::mem::swap(&mut one.signature, &mut two.signature);
        }
    });
    assert_eq!(network.codes(vec![envelope]), [FAILURE]);
}

#[test]
fn a_transaction_without_writes_needs_the_chaincode_policy() {
    let network = Network::new();
    let nothing = public(KvrwSet::default());
    let codes = network.codes(vec![
        transaction(&network, 1, &[0, 1], &nothing),
        transaction(&network, 2, &[0], &nothing),
        transaction(&network, 3, &[0], &TxReadWriteSet::default()),
    ]);
    assert_eq!(codes, [Code::Valid, FAILURE, FAILURE]);
}

#[test]
fn the_definition_determines_the_policy() {
    let network = Network::without_chaincode();
    define_with(&network.ledger, &network.config, "basic", &from_signature_policy(peer_of("Org2MSP")), None);
    let set = public(write("key", "value"));
    let codes = network.codes(vec![transaction(&network, 1, &[0], &set), transaction(&network, 2, &[1], &set)]);
    assert_eq!(codes, [FAILURE, Code::Valid]);
}

#[test]
fn an_unknown_plugin_invalidates_transactions() {
    let network = Network::without_chaincode();
    let mut definition = approval("basic", 1);
    definition.validation_plugin = "custom".to_owned();
    define(&network.ledger, &network.config, &definition);
    let set = public(write("key", "value"));
    assert_eq!(network.codes(vec![transaction(&network, 1, &[0, 1], &set)]), [Code::InvalidOtherReason]);
}

#[test]
fn a_key_policy_replaces_the_chaincode_policy() {
    let network = Network::new();
    commit_sets(&network.ledger, &public(write("key", "value")).encode_to_vec());
    commit_sets(&network.ledger, &public(policy_write("key", &peer_of("Org2MSP").encode_to_vec())).encode_to_vec());
    let (owned, other) = (public(write("key", "new")), public(write("other", "new")));
    let mut both = write("key", "new");
    both.writes.extend(write("other", "new").writes);
    let codes = network.codes(vec![
        transaction(&network, 1, &[0], &owned),
        transaction(&network, 2, &[1], &owned),
        transaction(&network, 3, &[1], &other),
        transaction(&network, 4, &[1], &public(both.clone())),
        transaction(&network, 5, &[0, 1], &public(both)),
        transaction(&network, 6, &[0], &public(policy_write("key", b""))),
    ]);
    assert_eq!(codes, [FAILURE, Code::Valid, FAILURE, FAILURE, Code::Valid, FAILURE]);
}

#[test]
fn a_policy_change_in_the_block_invalidates_later_writes() {
    let network = Network::new();
    commit_sets(&network.ledger, &public(write("key", "value")).encode_to_vec());
    let change = public(policy_write("key", &peer_of("Org2MSP").encode_to_vec()));
    let owned = public(write("key", "new"));
    let other = public(write("other", "new"));
    let codes = network.codes(vec![
        transaction(&network, 1, &[0, 1], &owned),
        transaction(&network, 2, &[0, 1], &change),
        transaction(&network, 3, &[0, 1], &owned),
        transaction(&network, 4, &[1], &owned),
        transaction(&network, 5, &[0, 1], &other),
    ]);
    assert_eq!(codes, [Code::Valid, Code::Valid, FAILURE, FAILURE, Code::Valid]);
}

#[test]
fn an_invalid_policy_change_has_no_effect() {
    let network = Network::new();
    commit_sets(&network.ledger, &public(write("key", "value")).encode_to_vec());
    let change = public(policy_write("key", &peer_of("Org2MSP").encode_to_vec()));
    let owned = public(write("key", "new"));
    let codes = network.codes(vec![transaction(&network, 1, &[0], &change), transaction(&network, 2, &[0, 1], &owned)]);
    assert_eq!(codes, [FAILURE, Code::Valid]);
}

#[test]
fn an_invalid_key_policy_rejects_all_writes() {
    let network = Network::new();
    commit_sets(&network.ledger, &public(write("key", "value")).encode_to_vec());
    commit_sets(&network.ledger, &public(policy_write("key", b"\xff")).encode_to_vec());
    assert_eq!(network.codes(vec![transaction(&network, 1, &[0, 1], &public(write("key", "new")))]), [FAILURE]);
}

/// A collection of the first organization with an optional endorsement policy.
fn collection(name: &str, policy: Option<SignaturePolicyEnvelope>) -> CollectionConfig {
    let members = n_of_roles(1, MspRoleType::Member, &["Org1MSP"]);
    let policy =
        policy.map(|policy| ApplicationPolicy { r#type: Some(application_policy::Type::SignaturePolicy(policy)) });
    let collection = StaticCollectionConfig {
        name: name.to_owned(),
        member_orgs_policy: Some(CollectionPolicyConfig {
            payload: Some(collection_policy_config::Payload::SignaturePolicy(members)),
        }),
        endorsement_policy: policy,
        ..StaticCollectionConfig::default()
    };
    CollectionConfig { payload: Some(collection_config::Payload::StaticCollectionConfig(collection)) }
}

/// A network whose chaincode has two collections: `own` with a policy, and `plain` without.
fn with_collections() -> Network {
    let network = Network::without_chaincode();
    let config = vec![collection("own", Some(peer_of("Org1MSP"))), collection("plain", None)];
    define_with(&network.ledger, &network.config, "basic", b"", Some(CollectionConfigPackage { config }));
    network
}

fn hashed(collection: &str, set: &HashedRwSet) -> TxReadWriteSet {
    let collection = CollectionHashedReadWriteSet {
        collection_name: collection.to_owned(),
        hashed_rwset: set.encode_to_vec(),
        pvt_rwset_hash: hash(&[b"private"]),
    };
    let namespace = NsReadWriteSet {
        namespace: "basic".to_owned(),
        collection_hashed_rwset: vec![collection],
        ..NsReadWriteSet::default()
    };
    TxReadWriteSet { ns_rwset: vec![namespace], ..TxReadWriteSet::default() }
}

fn private_write(key: &str) -> HashedRwSet {
    let write =
        KvWriteHash { key_hash: hash(&[key.as_bytes()]), value_hash: hash(&[b"value"]), ..KvWriteHash::default() };
    HashedRwSet { hashed_writes: vec![write], ..HashedRwSet::default() }
}

fn private_policy(key: &str, policy: &[u8]) -> HashedRwSet {
    let entry = KvMetadataEntry { name: "VALIDATION_PARAMETER".to_owned(), value: policy.to_vec() };
    let write = KvMetadataWriteHash { key_hash: hash(&[key.as_bytes()]), entries: vec![entry] };
    HashedRwSet { metadata_writes: vec![write], ..HashedRwSet::default() }
}

#[test]
fn a_collection_policy_replaces_the_chaincode_policy() {
    let network = with_collections();
    let (own, plain) = (hashed("own", &private_write("key")), hashed("plain", &private_write("key")));
    let missing = hashed("missing", &private_write("key"));
    let codes = network.codes(vec![
        transaction(&network, 1, &[0], &own),
        transaction(&network, 2, &[1], &own),
        transaction(&network, 3, &[0], &plain),
        transaction(&network, 4, &[0, 1], &plain),
        transaction(&network, 5, &[0, 1], &missing),
    ]);
    assert_eq!(codes, [Code::Valid, FAILURE, FAILURE, Code::Valid, FAILURE]);
}

#[test]
fn implicit_collections_need_their_organizations_endorsement() {
    let network = with_collections();
    let of = |msp_id: &str| hashed(&format!("_implicit_org_{msp_id}"), &private_write("key"));
    let codes = network.codes(vec![
        transaction(&network, 1, &[0], &of("Org1MSP")),
        transaction(&network, 2, &[1], &of("Org1MSP")),
        transaction(&network, 3, &[1], &of("Org2MSP")),
        transaction(&network, 4, &[0, 1], &of("Org9MSP")),
    ]);
    assert_eq!(codes, [Code::Valid, FAILURE, Code::Valid, FAILURE]);
}

#[test]
fn private_keys_can_have_policies() {
    let network = with_collections();
    commit_sets(&network.ledger, &hashed("own", &private_write("key")).encode_to_vec());
    let policy = private_policy("key", &peer_of("Org2MSP").encode_to_vec());
    commit_sets(&network.ledger, &hashed("own", &policy).encode_to_vec());
    let owned = hashed("own", &private_write("key"));
    let codes = network.codes(vec![
        transaction(&network, 1, &[0], &owned),
        transaction(&network, 2, &[1], &owned),
        transaction(&network, 3, &[1], &hashed("own", &private_policy("key", b""))),
        transaction(&network, 4, &[1], &owned),
        transaction(&network, 5, &[0], &hashed("own", &private_write("another"))),
    ]);
    assert_eq!(codes, [FAILURE, Code::Valid, Code::Valid, FAILURE, Code::Valid]);
}

#[test]
fn policies_of_all_written_chaincodes_apply() {
    let network = Network::new();
    define_with(&network.ledger, &network.config, "other", &from_signature_policy(peer_of("Org2MSP")), None);
    let two = sets(&[("basic", write("key", "value")), ("other", write("key", "value"))]);
    let reads = sets(&[("basic", write("key", "value")), ("other", KvrwSet::default())]);
    define_with(&network.ledger, &network.config, "third", &from_signature_policy(peer_of("Org1MSP")), None);
    let endorsers = [&network.peers[0]];
    let third = |nonce, namespace| {
        let sets = sets(&[("third", write("key", "value")), (namespace, write("key", "value"))]);
        Transaction::new(nonce, &network.user, &endorsers, "third", &sets).seal()
    };
    let codes = network.codes(vec![
        transaction(&network, 1, &[0, 1], &two),
        transaction(&network, 2, &[0, 1], &reads),
        third(3, "third_is_alone"),
        third(4, "other"),
    ]);
    assert_eq!(codes, [Code::Valid, Code::Valid, Code::InvalidChaincode, FAILURE]);
}
