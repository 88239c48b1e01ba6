mod operations;

use fabric_network::topology::Topology;
use fabric_protos::common::{
    Block, ChannelHeader, ConfigGroup, ConfigSignature, ConfigUpdate, ConfigUpdateEnvelope, ConfigValue, Envelope,
    Header, HeaderType, LastConfig, Metadata, Payload, SignatureHeader, Status,
};
use fabric_protos::orderer::{BatchTimeout, BroadcastResponse};
use prost::Message as _;

use super::*;
use crate::orderer::registrar::JoinError;
use crate::testing::{Member, genesis, started, validity};

const CHANNEL: &str = "mychannel";
const SOON: Duration = Duration::from_secs(20);

/// A network on free ports, with its files.
struct Running {
    network: Network,
    bundle: Bundle,
    _directory: tempfile::TempDir,
}

impl Running {
    fn new(topology: &Topology, options: Options) -> Self {
        Self::changed(topology, options, |_| ())
    }

    /// A network with changed files.
    fn changed(topology: &Topology, options: Options, change: impl FnOnce(&mut Bundle)) -> Self {
        let (network, bundle, directory) = started(topology, options, change);
        Self { network, bundle, _directory: directory }
    }

    /// A network whose nodes have joined the channel.
    fn joined(topology: &Topology, options: Options) -> Self {
        let running = Self::new(topology, options);
        running.join_orderers(usize::MAX);
        for peer in running.network.nodes().peers() {
            peer.join(CHANNEL, genesis(&running.bundle)).unwrap();
        }
        running
    }

    fn join_orderers(&self, count: usize) {
        for orderer in self.orderers().iter().take(count) {
            orderer.join(&genesis(&self.bundle)).unwrap();
        }
    }

    fn orderers(&self) -> &[Arc<Orderer>] {
        self.network.nodes().orderers()
    }

    async fn broadcast(&self, envelope: Envelope) -> BroadcastResponse {
        self.orderers()[0].broadcast(envelope).await
    }

    fn user(&self) -> Member {
        Member::user(&self.bundle, 0)
    }

    /// Waits until every peer has this block, and returns it.
    async fn block(&self, number: u64) -> Block {
        for peer in self.network.nodes().peers() {
            let channel = peer.channel(CHANNEL).unwrap();
            let mut heights = channel.ledger.heights();
            let there = tokio::time::timeout(SOON, heights.wait_for(|height| *height > number));
            there.await.expect("no such block in time").unwrap();
        }
        let channel = self.network.nodes().peers()[0].channel(CHANNEL).unwrap();
        Block::clone(&channel.ledger.block(number).unwrap().block)
    }
}

fn signed(member: &Member, header: &ChannelHeader, data: Vec<u8>) -> Envelope {
    let signature_header = SignatureHeader { creator: member.creator.clone(), nonce: vec![7; 24] };
    let header = Header { channel_header: header.encode_to_vec(), signature_header: signature_header.encode_to_vec() };
    let payload = Payload { header: Some(header), data }.encode_to_vec();
    let signature = member.sign(&payload);
    Envelope { payload, signature }
}

fn message(member: &Member, channel: &str, kind: HeaderType, size: usize) -> Envelope {
    let header = ChannelHeader { r#type: kind.into(), channel_id: channel.to_owned(), ..ChannelHeader::default() };
    signed(member, &header, vec![0; size])
}

#[track_caller]
fn assert_refused(response: &BroadcastResponse, status: Status, info: &str) {
    assert_eq!((response.status(), response.info.as_str()), (status, info));
}

#[tokio::test]
async fn messages_are_rejected_with_fabrics_errors() {
    let mut topology = Topology::solo();
    topology.ordering.batch.absolute_max_bytes = 8_000;
    topology.ordering.batch.preferred_max_bytes = 8_000;
    let running = Running::joined(&topology, Options::default());
    let user = running.user();
    let plain = |kind| message(&user, CHANNEL, kind, 10);

    let bad = Status::BadRequest;
    let refused = running.broadcast(Envelope::default()).await;
    assert_refused(&refused, bad, "could not determine channel ID: header not set");
    let refused = running.broadcast(message(&user, "nowhere", HeaderType::Message, 0)).await;
    assert_refused(&refused, bad, "channel does not exist");
    let refused = running.broadcast(plain(HeaderType::Config)).await;
    assert_refused(&refused, bad, "message is of type that cannot be processed directly");
    let refused = running.broadcast(plain(HeaderType::OrdererTransaction)).await;
    assert_refused(&refused, bad, "message is of type that is no longer supported");
    let large = message(&user, CHANNEL, HeaderType::Message, 8_000);
    let size = large.payload.len() + large.signature.len();
    let reason = format!("message payload is {size} bytes and exceeds maximum allowed 8000 bytes");
    assert_refused(&running.broadcast(large).await, bad, &reason);

    let refused = running.broadcast(Envelope { signature: user.sign(b"other"), ..plain(HeaderType::Message) }).await;
    let policy = "implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of \
                  the 'Writers' sub-policies to be satisfied: permission denied";
    assert_refused(&refused, Status::Forbidden, policy);

    assert_eq!(running.broadcast(plain(HeaderType::Message)).await.status(), Status::Success);
    running.network.clock().set(validity().not_after + Duration::from_secs(1));
    assert_refused(&running.broadcast(plain(HeaderType::Message)).await, bad, "broadcast client identity expired");
    running.network.stop().await;
}

#[tokio::test]
async fn fabric_2_5_has_another_error_text() {
    let options = Options { release: Release::V2_5, ..Options::default() };
    let running = Running::joined(&Topology::solo(), options);
    let refused = running.broadcast(message(&running.user(), "nowhere", HeaderType::Message, 0)).await;
    let reason = "channel creation request not allowed because the orderer system channel is not defined";
    assert_refused(&refused, Status::BadRequest, reason);
}

#[tokio::test]
async fn ordering_needs_a_quorum_of_orderers() {
    let running = Running::new(&Topology::duo(), Options::default());
    running.join_orderers(1);
    let envelope = message(&running.user(), CHANNEL, HeaderType::Message, 10);
    let refused = running.broadcast(envelope.clone()).await;
    assert_refused(&refused, Status::ServiceUnavailable, "no Raft leader");

    running.orderers()[2].join(&genesis(&running.bundle)).unwrap();
    for peer in running.network.nodes().peers() {
        peer.join(CHANNEL, genesis(&running.bundle)).unwrap();
    }
    assert_eq!(running.broadcast(envelope.clone()).await.status(), Status::Success);
    let block = running.block(1).await;
    assert_eq!(block.data.unwrap().data, [envelope.encode_to_vec()]);
    // An orderer that joins later has every block.
    let info = running.orderers()[1].join(&genesis(&running.bundle)).unwrap();
    assert_eq!((info.relation, info.status, info.height), ("consenter", "active", 2));
    assert_eq!(running.orderers()[1].join(&genesis(&running.bundle)), Err(JoinError::AlreadyExists));
    assert!(running.orderers()[1].leave(CHANNEL) && running.orderers()[2].leave(CHANNEL));
    let refused = running.broadcast(envelope).await;
    assert_refused(&refused, Status::ServiceUnavailable, "no Raft leader");
}

/// The signer of a block of a raft channel, whose signature must verify.
fn signer_of(bundle: &Bundle, block: &Block) -> Vec<u8> {
    let metadata = Metadata::decode(&*block.metadata.as_ref().unwrap().metadata[0]).unwrap();
    let [signature] = &metadata.signatures[..] else { panic!("one signature: {metadata:?}") };
    let header = crate::ledger::header_der(block.header.as_ref().unwrap());
    let by = SignatureHeader::decode(&*signature.signature_header).unwrap().creator;
    let message = [&*metadata.value, &signature.signature_header, &header].concat();
    let identity = crate::testing::config(bundle).msps().deserialize(&by).unwrap();
    identity.verify(&message, &signature.signature).unwrap();
    by
}

#[tokio::test]
async fn each_raft_orderer_signs_the_blocks_since_it_joined() {
    let running = Running::new(&Topology::duo(), Options::default());
    running.join_orderers(2);
    for peer in running.network.nodes().peers() {
        peer.join(CHANNEL, genesis(&running.bundle)).unwrap();
    }
    let envelope = message(&running.user(), CHANNEL, HeaderType::Message, 10);
    running.broadcast(envelope.clone()).await;
    running.block(1).await;
    running.orderers()[2].join(&genesis(&running.bundle)).unwrap();
    running.broadcast(envelope).await;
    running.block(2).await;

    let own = |index: usize| running.orderers()[index].signer.identity().to_vec();
    let fetch = |index: usize, number: &str| running.orderers()[index].fetch(CHANNEL, number).unwrap();
    for (number, signers) in [("1", [0, 1, 0]), ("2", [0, 1, 2])] {
        for (index, by) in signers.into_iter().enumerate() {
            let block = fetch(index, number);
            assert_eq!(signer_of(&running.bundle, &block), own(by), "block {number} of orderer {index}");
            assert_eq!(block.header, fetch(0, number).header);
            assert_eq!(fetch(index, number), block, "it signs once");
        }
    }
}

#[tokio::test]
async fn a_bft_block_has_the_signatures_of_a_quorum() {
    let running = Running::joined(&Topology::bft(), Options::default());
    let envelope = message(&running.user(), CHANNEL, HeaderType::Message, 10);
    assert_eq!(running.broadcast(envelope).await.status(), Status::Success);
    let metadata = running.block(1).await.metadata.unwrap().metadata;
    assert_eq!(Metadata::decode(&*metadata[0]).unwrap().signatures.len(), 3);
}

/// An update of the channel's batch timeout, signed by the orderers' administrator.
fn timeout_update(bundle: &Bundle, version: u64, timeout: &str) -> Envelope {
    let admin = Member::new(&bundle.identities.orderer_organization.admin);
    let value = ConfigValue {
        version,
        value: BatchTimeout { timeout: timeout.to_owned() }.encode_to_vec(),
        mod_policy: "Admins".to_owned(),
    };
    let orderer = |values| ConfigGroup { values, ..ConfigGroup::default() };
    let channel = |orderer| ConfigGroup { groups: [("Orderer".to_owned(), orderer)].into(), ..ConfigGroup::default() };
    let update = ConfigUpdate {
        channel_id: CHANNEL.to_owned(),
        read_set: Some(channel(orderer([].into()))),
        write_set: Some(channel(orderer([("BatchTimeout".to_owned(), value)].into()))),
        ..ConfigUpdate::default()
    }
    .encode_to_vec();
    let signature_header = SignatureHeader { creator: admin.creator.clone(), nonce: vec![1; 24] }.encode_to_vec();
    let signature = admin.sign(&[&*signature_header, &update].concat());
    let signatures = vec![ConfigSignature { signature_header, signature }];
    let data = ConfigUpdateEnvelope { config_update: update, signatures }.encode_to_vec();
    let header = ChannelHeader {
        r#type: HeaderType::ConfigUpdate.into(),
        channel_id: CHANNEL.to_owned(),
        ..ChannelHeader::default()
    };
    signed(&admin, &header, data)
}

#[tokio::test]
async fn a_configuration_update_is_a_separate_block_and_applies_to_all_nodes() {
    let running = Running::joined(&Topology::solo(), Options::default());
    let update = timeout_update(&running.bundle, 1, "5ms");
    assert_eq!(running.broadcast(update.clone()).await, BroadcastResponse { status: 200, info: String::new() });
    running.block(1).await;
    let peer = running.network.nodes().peers()[0].channel(CHANNEL).unwrap();
    assert_eq!((peer.config().sequence(), peer.config().batch().timeout), (1, Duration::from_millis(5)));

    // The same update is for an old sequence now.
    let refused = running.broadcast(update).await;
    assert_eq!(refused.status(), Status::BadRequest);
    assert!(refused.info.starts_with("error applying config update to existing channel 'mychannel': "), "{refused:?}");
    // Later blocks refer to the newest configuration.
    running.broadcast(message(&running.user(), CHANNEL, HeaderType::Message, 10)).await;
    let metadata = running.block(2).await.metadata.unwrap().metadata;
    let last = Metadata::decode(&*metadata[1]).unwrap();
    assert_eq!(LastConfig::decode(&*last.value).unwrap().index, 1);
}

#[tokio::test]
async fn ports_are_kept_by_a_restart_and_free_after_the_stop() {
    let running = Running::new(&Topology::solo(), Options::default());
    let ports: Vec<u16> = running.bundle.nodes.iter().map(|node| node.placement.ports.grpc).collect();
    let is_taken = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_err();
    assert!(ports.iter().all(is_taken));
    running.network.restart("orderer.example.com").await.unwrap();
    assert!(ports.iter().all(is_taken));
    running.network.stop().await;
    assert!(!ports.iter().any(is_taken));
}

#[tokio::test]
async fn an_error_names_the_port_in_use() {
    let running = Running::new(&Topology::solo(), Options::default());
    let error = Network::start(&running.bundle, Options::default()).unwrap_err();
    assert!(matches!(&error, StartError::Listen { node, .. } if node == "orderer.example.com"), "{error}");
}

#[tokio::test]
async fn a_network_can_be_restored_and_reset() {
    let running = Running::joined(&Topology::duo(), Options::default());
    let user = running.user();
    let send = async |size| {
        let response = running.broadcast(message(&user, CHANNEL, HeaderType::Message, size)).await;
        assert_eq!(response.status(), Status::Success, "{response:?}");
    };
    send(1).await;
    let first = running.block(1).await;
    let snapshot = running.network.snapshot().await;
    running.broadcast(timeout_update(&running.bundle, 1, "3ms")).await;
    running.block(2).await;
    send(2).await;
    running.block(3).await;

    for size in [3, 4] {
        running.network.restore(&snapshot).await;
        let peer = running.network.nodes().peers()[0].channel(CHANNEL).unwrap();
        assert_eq!((peer.ledger.height(), peer.config().sequence()), (2, 0));
        assert_eq!(running.orderers()[0].channel(CHANNEL).unwrap().height, 2);
        // It continues from the snapshot.
        send(size).await;
        let next = running.block(2).await;
        let expected = message(&user, CHANNEL, HeaderType::Message, size).payload;
        let envelope = Envelope::decode(&*next.data.as_ref().unwrap().data[0]).unwrap();
        assert_eq!(envelope.payload, expected);
        let hash = crate::ledger::header_hash(first.header.as_ref().unwrap());
        assert_eq!(next.header.unwrap().previous_hash, hash);
    }

    running.network.reset().await;
    assert!(running.network.nodes().peers().iter().all(|peer| peer.channels().is_empty()));
    assert!(running.orderers().iter().all(|orderer| orderer.channels().is_empty()));
    running.join_orderers(3);
    assert_eq!(running.orderers()[0].channel(CHANNEL).unwrap().height, 1);
}

#[tokio::test]
async fn a_stopped_peer_takes_no_blocks_and_is_not_seen_until_it_is_started() {
    let running = Running::joined(&Topology::duo(), Options::default());
    let nodes = running.network.nodes();
    let (stopped, other) = (&nodes.peers()[0], &nodes.peers()[1]);
    let height = |peer: &Arc<Peer>| peer.channel(CHANNEL).unwrap().ledger.height();
    running.network.stop_node(&stopped.name).await;
    let user = running.user();
    assert_eq!(running.broadcast(message(&user, CHANNEL, HeaderType::Message, 1)).await.status(), Status::Success);
    let mut heights = other.channel(CHANNEL).unwrap().ledger.heights();
    tokio::time::timeout(SOON, heights.wait_for(|height| *height > 1)).await.unwrap().unwrap();
    assert_eq!(height(stopped), 1);
    let seen = crate::peer::members(other, CHANNEL);
    assert_eq!(seen.len(), nodes.peers().len() - 1);
    assert!(seen.iter().all(|member| member.peer.name != stopped.name));
    assert!(std::net::TcpStream::connect(&stopped.endpoint).is_err());

    running.network.start_node(&stopped.name).await.unwrap();
    running.block(1).await;
    assert_eq!(crate::peer::members(other, CHANNEL).len(), nodes.peers().len());
    assert!(std::net::TcpStream::connect(&stopped.endpoint).is_ok());
}

#[tokio::test]
async fn orderers_that_are_stopped_do_not_count_for_a_quorum() {
    let running = Running::joined(&Topology::duo(), Options::default());
    let user = running.user();
    let names: Vec<String> = running.orderers().iter().map(|orderer| orderer.name.clone()).collect();
    let order = || async { running.broadcast(message(&user, CHANNEL, HeaderType::Message, 1)).await };
    running.network.stop_node(&names[1]).await;
    assert_eq!(order().await.status(), Status::Success);
    running.network.stop_node(&names[2]).await;
    assert_refused(&order().await, Status::ServiceUnavailable, "no Raft leader");
    running.network.start_node(&names[1]).await.unwrap();
    assert_eq!(order().await.status(), Status::Success);
}
