//! Clients that send what an honest one never does: altered, replayed, expired and oversized messages. Embedded nodes
//! answer each like Fabric's.
//!
//! `CCAAS_BUILDER` and `CHAINCODE_SAMPLE` are programs that `cargo xtask test` builds.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fabric_harness::client::transport::{Node, connect};
use fabric_harness::client::{Invocation, PeerClient, Signer, await_commit};
use fabric_harness::runtime::embedded::EMBEDDED;
use fabric_harness::runtime::process::PROCESS;
use fabric_harness::{Network, NetworkBuilder};
use fabric_network::identity::OrganizationIdentities;
use fabric_primitives::limits::MAX_MESSAGE_BYTES;
use fabric_protos::common::{
    ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader, Status as BlockStatus,
};
use fabric_protos::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use fabric_protos::orderer::seek_position::Type as Position;
use fabric_protos::orderer::{SeekInfo, SeekNewest, SeekPosition};
use fabric_protos::protos::deliver_client::DeliverClient;
use fabric_protos::protos::deliver_response::Type as Delivered;
use fabric_protos::protos::endorser_client::EndorserClient;
use fabric_protos::protos::{ProposalResponse, SignedProposal};
use prost::Message as _;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use tonic::transport::Channel;

use crate::fake::PATIENCE;

const CHANNEL: &str = "mychannel";
const CHAINCODE: &str = "asset-transfer";

fn builder() -> NetworkBuilder {
    let sample = std::env::var_os("CHAINCODE_SAMPLE").expect("`cargo xtask test` sets CHAINCODE_SAMPLE");
    Network::builder(sample)
}

/// A client of one peer and one orderer.
struct Client {
    network: Network,
    peer: Channel,
    orderer: Channel,
}

impl Client {
    async fn start(builder: NetworkBuilder) -> Self {
        let network = builder.start().await.unwrap();
        let nodes = network.nodes().running.nodes();
        let orderer = connect(&nodes[0].grpc, None).await.unwrap();
        let peer = connect(&nodes[1].grpc, None).await.unwrap();
        Self { network, peer, orderer }
    }

    fn organization(&self) -> &OrganizationIdentities {
        &self.network.nodes().bundle.identities.peer_organizations[0]
    }

    fn user(&self) -> Signer {
        let user = &self.organization().users[0];
        Signer::new(&user.msp_id, &user.certificate_pem, user.private_key_pem.as_pem()).unwrap()
    }

    /// A client of the organization whose certificate expired a minute ago.
    fn expired(&self) -> Signer {
        let organization = self.organization();
        let key = KeyPair::from_pem(organization.ca_key.as_ref().unwrap().as_pem()).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&organization.ca_pem, key).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "late");
        params.distinguished_name.push(DnType::OrganizationalUnitName, "client");
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = (SystemTime::now() - Duration::from_mins(1)).into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Signer::new(&organization.msp_id, &certificate.pem(), &key.serialize_pem()).unwrap()
    }

    /// What the peer answers.
    async fn process(&self, proposal: SignedProposal) -> Result<ProposalResponse, tonic::Status> {
        let mut client = EndorserClient::new(self.peer.clone())
            .max_encoding_message_size(usize::MAX)
            .max_decoding_message_size(usize::MAX);
        client.process_proposal(proposal).await.map(tonic::Response::into_inner)
    }

    async fn answer(&self, proposal: SignedProposal) -> String {
        match self.process(proposal).await {
            Ok(response) => {
                let response = response.response.unwrap_or_default();
                format!("{} {}", response.status, response.message)
            }
            Err(status) => format!("{:?} {}", status.code(), status.message()),
        }
    }

    async fn broadcast(&self, envelope: Envelope) -> String {
        let mut client = AtomicBroadcastClient::new(self.orderer.clone()).max_encoding_message_size(usize::MAX);
        let answers = client.broadcast(tokio_stream::once(envelope)).await;
        let answer = match answers {
            Ok(answers) => answers.into_inner().message().await,
            Err(status) => Err(status),
        };
        match answer {
            Ok(answer) => answer.map_or("closed".to_owned(), |answer| format!("{:?} {}", answer.status(), answer.info)),
            Err(status) => format!("{:?} {}", status.code(), status.message()),
        }
    }

    async fn committed(&self, transaction_id: &str) {
        let peer = PeerClient::new(Node::new("the peer", self.peer.clone()), Arc::new(self.user()));
        await_commit(&[peer], CHANNEL, transaction_id, tokio::time::Instant::now() + PATIENCE).await.unwrap();
    }

    /// The first answer to a request for blocks.
    async fn deliver(&self, envelope: Envelope) -> String {
        let mut client = DeliverClient::new(self.peer.clone());
        let mut answers = client.deliver(tokio_stream::once(envelope)).await.unwrap().into_inner();
        match answers.message().await.unwrap().and_then(|answer| answer.r#type) {
            Some(Delivered::Status(status)) => BlockStatus::try_from(status).unwrap().as_str_name().to_owned(),
            Some(Delivered::Block(_)) => "a block".to_owned(),
            other => format!("{other:?}"),
        }
    }

    /// A request for the newest block, made at this time.
    fn seek(signer: &Signer, time: SystemTime) -> Envelope {
        let position = SeekPosition { r#type: Some(Position::Newest(SeekNewest {})) };
        let seek = SeekInfo { start: Some(position), stop: Some(position), ..SeekInfo::default() };
        envelope(signer, HeaderType::DeliverSeekInfo, time, seek.encode_to_vec())
    }
}

fn envelope(signer: &Signer, kind: HeaderType, time: SystemTime, data: Vec<u8>) -> Envelope {
    let header = ChannelHeader {
        r#type: kind.into(),
        channel_id: CHANNEL.to_owned(),
        timestamp: Some(time.into()),
        ..ChannelHeader::default()
    };
    let signature_header = SignatureHeader { creator: signer.creator().to_vec(), nonce: vec![7; 24] };
    let header = Header { channel_header: header.encode_to_vec(), signature_header: signature_header.encode_to_vec() };
    let payload = Payload { header: Some(header), data }.encode_to_vec();
    Envelope { signature: signer.sign(&payload).unwrap(), payload }
}

fn creation(id: &str) -> Invocation {
    Invocation::new(CHANNEL, CHAINCODE, "CreateAsset").arguments([id, "blue", "5", "Tom", "300"])
}

/// Each attempt with its answer.
async fn answers(client: &Client) -> Vec<(&'static str, String)> {
    let (user, expired) = (client.user(), client.expired());
    let mut answers = Vec::new();

    let honest = creation("a1").propose(&user).unwrap();
    let response = client.process(honest.signed.clone()).await.unwrap();
    assert_eq!(response.response.as_ref().unwrap().status, 200, "{response:?}");
    let transaction = honest.endorsed(&[response], &user).unwrap();

    let other = creation("a2").propose(&user).unwrap();
    let altered = SignedProposal { signature: honest.signed.signature.clone(), ..other.signed.clone() };
    answers.push(("a signature of another proposal", client.answer(altered).await));
    let altered = SignedProposal { proposal_bytes: b"\xff".to_vec(), signature: Vec::new() };
    answers.push(("what is no proposal", client.answer(altered).await));
    let late = creation("a3").propose(&expired).unwrap();
    answers.push(("an expired certificate", client.answer(late.signed.clone()).await));
    let large = Invocation::new(CHANNEL, CHAINCODE, "AssetExists").argument(vec![b'a'; MAX_MESSAGE_BYTES / 2]);
    let large = large.propose(&user).unwrap();
    let answer = client.answer(large.signed).await.replace(&large.transaction_id[..8], "ID");
    // A peer sends the proposal and the arguments in it. Fabric's may see the end of the stream before its reason.
    let is_end = answer.ends_with(": error sending: chaincode stream terminated");
    answers.push(("a proposal of 50 MiB", if is_end { TOO_LARGE.to_owned() } else { before_sizes(&answer) }));
    let too_large = Invocation::new(CHANNEL, CHAINCODE, "AssetExists").argument(vec![b'a'; MAX_MESSAGE_BYTES]);
    let too_large = client.answer(too_large.propose(&user).unwrap().signed).await;
    answers.push(("a proposal of more than 100 MiB", before_sizes(&too_large)));

    let altered = Envelope { signature: user.sign(b"other").unwrap(), ..transaction.envelope.clone() };
    answers.push(("an altered transaction", client.broadcast(altered).await));
    let now = SystemTime::now();
    let late = envelope(&expired, HeaderType::Message, now, Vec::new());
    answers.push(("a message with an expired certificate", client.broadcast(late).await));
    let large = envelope(&user, HeaderType::Message, now, vec![0; MAX_MESSAGE_BYTES / 2]);
    let size = (large.payload.len() + large.signature.len()).to_string();
    answers.push(("a message of 50 MiB", client.broadcast(large).await.replace(&size, "SIZE")));
    let too_large = envelope(&user, HeaderType::Message, now, vec![0; MAX_MESSAGE_BYTES]);
    answers.push(("a message of more than 100 MiB", before_sizes(&client.broadcast(too_large).await)));
    answers.push(("a transaction", client.broadcast(transaction.envelope.clone()).await));
    client.committed(&honest.transaction_id).await;
    answers.push(("its proposal again", client.answer(honest.signed.clone()).await));
    answers.push(("the transaction again", client.broadcast(transaction.envelope).await));

    answers.push(("a request for blocks", client.deliver(Client::seek(&user, now)).await));
    for (what, time) in [
        ("a request of half an hour ago", now - Duration::from_mins(30)),
        ("a request of the next half hour", now + Duration::from_mins(30)),
    ] {
        answers.push((what, client.deliver(Client::seek(&user, time)).await));
    }
    let forged = Envelope { signature: user.sign(b"other").unwrap(), ..Client::seek(&user, now) };
    answers.push(("a forged request for blocks", client.deliver(forged).await));
    answers.push(("a request with an expired certificate", client.deliver(Client::seek(&expired, now)).await));
    let outlived = client.network.call(["AssetExists", "a1"]).evaluate().await;
    answers.push(("an honest proposal", String::from_utf8(outlived.unwrap()).unwrap()));
    let (id, creator) = (honest.transaction_id.as_str(), hex::encode(user.creator()));
    // Programs in Go print one of two spaces after `proto:`.
    let plain = |answer: String| answer.replace(id, "ID").replace(&creator, "CREATOR").replace('\u{a0}', " ");
    answers.into_iter().map(|(what, answer)| (what, plain(answer))).collect()
}

/// An answer without the sizes in it.
fn before_sizes(answer: &str) -> String {
    answer.split(" (").next().unwrap_or_default().to_owned()
}

/// The answer to a proposal of 50 MiB.
const TOO_LARGE: &str = "500 error in simulation: transaction returned with failure: [ID] error sending TRANSACTION: \
                         rpc error: code = ResourceExhausted desc = trying to send message larger than max";

/// What Fabric answers.
const ANSWERS: [(&str, &str); 18] = [
    (
        "a signature of another proposal",
        "Unknown error validating proposal: access denied: channel [mychannel] creator org [Org1MSP]",
    ),
    (
        "what is no proposal",
        "Unknown failed parsing proposal: error unmarshalling Proposal: proto: cannot parse invalid wire-format data",
    ),
    ("an expired certificate", "Unknown proposal client identity expired"),
    ("a proposal of 50 MiB", TOO_LARGE),
    ("a proposal of more than 100 MiB", "ResourceExhausted grpc: received message larger than max"),
    (
        "an altered transaction",
        "Forbidden implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of \
         the 'Writers' sub-policies to be satisfied: permission denied",
    ),
    ("a message with an expired certificate", "BadRequest broadcast client identity expired"),
    ("a message of 50 MiB", "BadRequest message payload is SIZE bytes and exceeds maximum allowed 10485760 bytes"),
    ("a message of more than 100 MiB", "ResourceExhausted grpc: received message larger than max"),
    ("a transaction", "Success "),
    ("its proposal again", "Unknown duplicate transaction found [ID]. Creator [CREATOR]"),
    ("the transaction again", "Success "),
    ("a request for blocks", "a block"),
    ("a request of half an hour ago", "BAD_REQUEST"),
    ("a request of the next half hour", "BAD_REQUEST"),
    ("a forged request for blocks", "FORBIDDEN"),
    ("a request with an expired certificate", "FORBIDDEN"),
    ("an honest proposal", "true"),
];

async fn assert_answers(builder: NetworkBuilder) {
    let client = Client::start(builder).await;
    let answers = answers(&client).await;
    assert_eq!(answers, ANSWERS.map(|(what, answer)| (what, answer.to_owned())));
    client.network.stop().await.unwrap();
}

#[tokio::test]
async fn embedded_nodes_answer_hostile_messages_like_fabric() {
    for fabric in ["3.1", "2.5"] {
        Box::pin(assert_answers(builder().runtime(&EMBEDDED).fabric(fabric))).await;
    }
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_hostile_messages_are_answered_as_expected() {
    let mut builder = builder().runtime(&PROCESS);
    if let Some(directory) = std::env::var_os("FABRIC_BIN") {
        builder = builder.fabric_bin(directory);
    }
    Box::pin(assert_answers(builder)).await;
}
