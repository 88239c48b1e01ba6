//! The contents of a genesis block, and the input that is rejected.

#![allow(clippy::unwrap_used, reason = "a test's helpers panic as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use fabric_network::channel::{ChannelError, ChannelInput, Consensus, HostPort, genesis_block};
use fabric_network::identity;
use fabric_network::release::Release;
use fabric_network::topology::{Rule, Topology};
use fabric_protos::common::signature_policy::Type;
use fabric_protos::common::{
    Block, BlockMetadataIndex, Capabilities, ChannelHeader, ConfigEnvelope, ConfigGroup, ConfigPolicy, Envelope,
    ImplicitMetaPolicy, Metadata, OrdererAddresses, OrdererBlockMetadata, Orderers, Payload, SignatureHeader,
    SignaturePolicyEnvelope, implicit_meta_policy,
};
use fabric_protos::etcdraft::ConfigMetadata;
use fabric_protos::msp::SerializedIdentity;
use fabric_protos::orderer::{BatchTimeout, ConsensusType};
use fabric_protos::protos::AnchorPeers;
use fabric_protos::smartbft;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::channel_fixture::{channel_input, placement, validity};

fn input(topology: &Topology) -> ChannelInput {
    let placement = placement(topology);
    let identities = identity::generate(topology, &placement, validity()).expect("a preset has identities");
    channel_input(topology, &placement, &identities, Release::V3_1)
}

/// The block, its payload, its configuration tree.
fn parse(bytes: &[u8]) -> (Block, Payload, ConfigGroup) {
    let block = Block::decode(bytes).unwrap();
    let envelope = Envelope::decode(&*block.data.as_ref().unwrap().data[0]).unwrap();
    let payload = Payload::decode(&*envelope.payload).unwrap();
    let group = ConfigEnvelope::decode(&*payload.data).unwrap().config.unwrap().channel_group.unwrap();
    (block, payload, group)
}

fn tree(input: &ChannelInput) -> ConfigGroup {
    parse(&genesis_block(input).unwrap()).2
}

fn value<M: Message + Default>(group: &ConfigGroup, name: &str) -> M {
    M::decode(&*group.values[name].value).unwrap()
}

fn meta(policy: &ConfigPolicy) -> (implicit_meta_policy::Rule, String) {
    let policy = ImplicitMetaPolicy::decode(&*policy.policy.as_ref().unwrap().value).unwrap();
    (policy.rule(), policy.sub_policy)
}

#[test]
fn the_same_input_gives_the_same_block_and_another_input_another() {
    let input = input(&Topology::duo());
    let block = genesis_block(&input).unwrap();
    assert_eq!(genesis_block(&input).unwrap(), block);
    let mut other = input.clone();
    other.organizations[0].anchor_peers.clear();
    let nonce =
        |bytes: &[u8]| SignatureHeader::decode(&*parse(bytes).1.header.unwrap().signature_header).unwrap().nonce;
    assert_ne!(nonce(&genesis_block(&other).unwrap()), nonce(&block));
    assert_eq!(nonce(&block).len(), 24);
}

#[test]
fn header_and_metadata_are_those_of_an_unsigned_configuration_block() {
    let (block, payload, _) = parse(&genesis_block(&input(&Topology::solo())).unwrap());
    let header = block.header.unwrap();
    assert_eq!((header.number, &*header.previous_hash), (0, &[][..]));
    assert_eq!(header.data_hash, Sha256::digest(&block.data.unwrap().data[0]).to_vec());

    let metadata = block.metadata.unwrap().metadata;
    assert_eq!(metadata.len(), 5, "one entry for each BlockMetadataIndex");
    let signatures = Metadata::decode(&*metadata[BlockMetadataIndex::Signatures as usize]).unwrap();
    assert!(signatures.signatures.is_empty());
    assert_eq!(OrdererBlockMetadata::decode(&*signatures.value).unwrap().last_config.unwrap().index, 0);

    let header = payload.header.unwrap();
    let channel = ChannelHeader::decode(&*header.channel_header).unwrap();
    assert_eq!((channel.r#type, &*channel.channel_id, channel.epoch), (1, "mychannel", 0));
    let timestamp = channel.timestamp.unwrap();
    assert_eq!((timestamp.seconds, timestamp.nanos), (1_700_000_000, 0));
    let nonce = SignatureHeader::decode(&*header.signature_header).unwrap().nonce;
    assert_eq!(channel.tx_id, hex::encode(Sha256::digest(nonce)));
}

#[test]
fn everything_is_modified_by_admins() {
    fn check(path: &str, group: &ConfigGroup) {
        assert_eq!(group.mod_policy, "Admins", "{path}");
        let values = group.values.iter().map(|(name, value)| (name, &value.mod_policy));
        let policies = group.policies.iter().map(|(name, policy)| (name, &policy.mod_policy));
        for (name, mod_policy) in values.chain(policies) {
            assert_eq!(mod_policy, "Admins", "{path}/{name}");
        }
        for (name, group) in &group.groups {
            check(&format!("{path}/{name}"), group);
        }
    }
    check("Channel", &tree(&input(&Topology::bft())));
}

#[test]
fn capabilities_are_the_least_that_the_consensus_needs() {
    for (topology, channel) in [(Topology::solo(), "V2_0"), (Topology::bft(), "V3_0")] {
        let tree = tree(&input(&topology));
        for (group, expected) in
            [(&tree, channel), (&tree.groups["Orderer"], "V2_0"), (&tree.groups["Application"], "V2_5")]
        {
            let capabilities: Capabilities = value(group, "Capabilities");
            assert_eq!(capabilities.capabilities.into_keys().collect::<Vec<_>>(), [expected]);
        }
    }
}

#[test]
fn the_endorsement_rule_decides_on_transactions_and_definitions() {
    use implicit_meta_policy::Rule as Meta;
    for (rule, expected) in [(Rule::Majority, Meta::Majority), (Rule::Any, Meta::Any), (Rule::All, Meta::All)] {
        let input = ChannelInput { endorsement: rule, ..input(&Topology::solo()) };
        let policies = &tree(&input).groups["Application"].policies;
        assert_eq!(meta(&policies["Endorsement"]), (expected, "Endorsement".to_owned()));
        assert_eq!(meta(&policies["LifecycleEndorsement"]), (expected, "Endorsement".to_owned()));
        assert_eq!(meta(&policies["Admins"]), (Meta::Majority, "Admins".to_owned()));
    }
}

#[test]
fn each_organization_has_its_anchor_peer_and_the_ordering_one_its_endpoints() {
    let mut input = input(&Topology::duo());
    input.organizations[1].anchor_peers = vec![];
    let tree = tree(&input);
    let organizations = &tree.groups["Application"].groups;
    let anchors: AnchorPeers = value(&organizations["Org1"], "AnchorPeers");
    let anchors: Vec<_> = anchors.anchor_peers.iter().map(|peer| (&*peer.host, peer.port)).collect();
    assert_eq!(anchors, [("peer0.org1.example.com", 7030)]);
    assert!(!organizations["Org2"].values.contains_key("AnchorPeers"), "none, rather than an empty list");
    let endpoints: OrdererAddresses = value(&tree.groups["Orderer"].groups["Orderer"], "Endpoints");
    let expected = ["orderer1.example.com:7000", "orderer2.example.com:7010", "orderer3.example.com:7020"];
    assert_eq!(endpoints.addresses, expected);
    assert!(!tree.values.contains_key("OrdererAddresses"), "global endpoints are refused with V3_0");
}

#[test]
fn an_ipv6_endpoint_has_brackets_and_an_ipv6_consenter_none() {
    let mut input = input(&Topology::solo());
    let address = HostPort { host: "::1".to_owned(), port: 7050 };
    input.ordering.endpoints = vec![address.clone()];
    input.ordering.consenters[0].address = address;
    let orderer = &tree(&input).groups["Orderer"];
    assert_eq!(value::<OrdererAddresses>(&orderer.groups["Orderer"], "Endpoints").addresses, ["[::1]:7050"]);
    let consensus: ConsensusType = value(orderer, "ConsensusType");
    assert_eq!(ConfigMetadata::decode(&*consensus.metadata).unwrap().consenters[0].host, "::1");
}

#[test]
fn access_control_is_listed_only_when_given() {
    let mut input = input(&Topology::solo());
    assert!(tree(&input).groups["Application"].values.contains_key("ACLs"));
    input.acls = BTreeMap::new();
    assert!(!tree(&input).groups["Application"].values.contains_key("ACLs"));
}

#[test]
fn raft_has_every_consenter_and_the_tick() {
    let input = input(&Topology::duo());
    let consensus: ConsensusType = value(&tree(&input).groups["Orderer"], "ConsensusType");
    assert_eq!(consensus.r#type, "etcdraft");
    let metadata = ConfigMetadata::decode(&*consensus.metadata).unwrap();
    assert_eq!(metadata.options.unwrap().tick_interval, "100ms");
    let certificates: BTreeSet<Vec<u8>> = metadata.consenters.into_iter().map(|node| node.server_tls_cert).collect();
    let expected = input.ordering.consenters.iter().map(|node| node.server_tls_certificate_pem.clone().into_bytes());
    assert_eq!(certificates, expected.collect());
}

#[test]
fn bft_numbers_its_consenters_and_needs_three_of_four_signatures() {
    let input = input(&Topology::bft());
    let orderer = &tree(&input).groups["Orderer"];
    let consensus: ConsensusType = value(orderer, "ConsensusType");
    assert_eq!(consensus.r#type, "BFT");
    let options = smartbft::Options::decode(&*consensus.metadata).unwrap();
    let batch: BatchTimeout = value(orderer, "BatchTimeout");
    assert_eq!((&*options.request_batch_max_interval, options.request_batch_max_count), (&*batch.timeout, 500));

    let consenters = value::<Orderers>(orderer, "Orderers").consenter_mapping;
    assert_eq!(consenters.iter().map(|consenter| consenter.id).collect::<Vec<_>>(), [1, 2, 3, 4]);

    let policy = orderer.policies["BlockValidation"].policy.as_ref().unwrap();
    let policy = SignaturePolicyEnvelope::decode(&*policy.value).unwrap();
    let Some(Type::NOutOf(rule)) = policy.rule.unwrap().r#type else { panic!("a rule over the consenters") };
    assert_eq!((rule.n, rule.rules.len()), (3, 4));
    for (consenter, principal) in consenters.into_iter().zip(policy.identities) {
        let identity = SerializedIdentity { mspid: consenter.msp_id, id_bytes: consenter.identity };
        assert_eq!(principal.principal, identity.encode_to_vec());
    }
}

/// Makes one mistake.
type Change = fn(&mut ChannelInput);

#[test]
fn input_that_fabric_would_reject_is_rejected() {
    let raft = input(&Topology::duo());
    let bft = input(&Topology::bft());
    let cases: [(&ChannelInput, Change, &str); 22] = [
        (&raft, |input| input.name = "MyChannel".to_owned(), "invalid channel name `MyChannel`"),
        (&raft, |input| input.name = String::new(), "invalid channel name ``"),
        (&raft, |input| input.name = "a".repeat(250), "invalid channel name"),
        (&raft, |input| input.organizations.clear(), "no organization with peers"),
        (&raft, |input| input.organizations[1].name = "Org1".to_owned(), "duplicate organization name: Org1"),
        (&raft, |input| input.organizations[1].name = "Org/2".to_owned(), "invalid organization name `Org/2`"),
        (&raft, |input| input.organizations[1].msp.msp_id = "Org1MSP".to_owned(), "duplicate MSP ID: Org1MSP"),
        (&raft, |input| input.ordering.msp.msp_id = "Org1MSP".to_owned(), "duplicate MSP ID: Org1MSP"),
        (&raft, |input| input.ordering.msp.msp_id.clear(), "organization Orderer has no MSP ID"),
        (&raft, |input| input.organizations[0].msp.ca_certificate_pem.clear(), "CA certificate of Org1MSP"),
        (&raft, |input| input.ordering.msp.tls_ca_certificate_pem = "x".to_owned(), "TLS CA certificate of OrdererMSP"),
        (&raft, |input| input.organizations[0].anchor_peers[0].port = 0, "invalid address `peer0.org1.example.com:0`"),
        (&raft, |input| input.ordering.endpoints.clear(), "no orderer endpoint"),
        (&raft, |input| input.ordering.consenters.clear(), "no consenter"),
        (&raft, |input| input.ordering.consenters[1] = input.ordering.consenters[0].clone(), "duplicate client TLS"),
        (&raft, |input| input.ordering.consensus = Consensus::Etcdraft { tick: Duration::ZERO }, "tick of 0ns"),
        (&raft, |input| input.ordering.batch.timeout = Duration::MAX, "batch timeout of"),
        (&raft, |input| input.ordering.batch.max_messages = 0, "batch of 0 messages"),
        (&raft, |input| input.ordering.batch.absolute_max_bytes = 1, "batch of 1 absolute bytes"),
        (&bft, |input| input.release = Release::V2_5, "Fabric 2.5 has no BFT ordering"),
        (
            &bft,
            |input| input.ordering.consenters[3].identity_certificate_pem.clear(),
            "identity certificate of orderer4",
        ),
        (
            &bft,
            |input| {
                input.ordering.batch.preferred_max_bytes = 9_000;
                input.ordering.batch.absolute_max_bytes = 9_000;
            },
            "at least 10 KB with BFT",
        ),
    ];
    for (good, change, expected) in cases {
        let mut input = good.clone();
        change(&mut input);
        let error = genesis_block(&input).expect_err(expected).to_string();
        assert!(error.contains(expected), "expected {expected:?}, got: {error}");
    }
    let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let input = ChannelInput { created: early, ..raft };
    assert_eq!(genesis_block(&input), Err(ChannelError::Created { given: early }));
}
