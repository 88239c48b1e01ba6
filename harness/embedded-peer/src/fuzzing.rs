//! Entry points for fuzz targets and property tests: bytes from clients of a peer's and an
//! orderer's services. Not part of the crate's API.
//!
//! Random bytes fail at the first signature check. So most calls wrap them in a proposal or an
//! envelope signed by an administrator.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use fabric_network::bundle::Bundle;
use fabric_network::topology::Topology;
use fabric_protos::common::{ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader};
use fabric_protos::discovery::SignedRequest;
use fabric_protos::gateway::{
    EndorseRequest, EvaluateRequest, SignedChaincodeEventsRequest, SignedCommitStatusRequest, SubmitRequest,
};
use fabric_protos::protos::{
    ChaincodeHeaderExtension, ChaincodeId, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload,
    ChaincodeSpec, Proposal, SignedProposal,
};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use prost::Message;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt as _;

use crate::network::{Network, Options, services};
use crate::node::Client;
use crate::testing::transaction::hash as hash_of;
use crate::testing::{Member, genesis, started};

const CHANNEL: &str = "mychannel";
/// The number of responses to read from a stream.
const MAX_RESPONSES: usize = 4;
/// How long to wait for a response: a stream may be waiting for the next block.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(20);

/// A peer and an orderer with a channel.
#[allow(missing_debug_implementations, reason = "holds private keys")]
pub struct Services {
    network: Network,
    bundle: Bundle,
    admin: Member,
    orderer_admin: Member,
    calls: AtomicU64,
    _directory: tempfile::TempDir,
}

/// A method, and how to make its request from bytes.
type Call = (&'static str, fn(&Services, &[u8]) -> Vec<u8>);

const PEER: &[Call] = &[
    ("protos.Endorser/ProcessProposal", raw),
    ("protos.Endorser/ProcessProposal", |services, bytes| services.proposal(bytes).encode_to_vec()),
    ("protos.Endorser/ProcessProposal", |services, bytes| services.invocation("_lifecycle", bytes).encode_to_vec()),
    ("protos.Endorser/ProcessProposal", |services, bytes| services.invocation("qscc", bytes).encode_to_vec()),
    ("protos.Endorser/ProcessProposal", |services, bytes| services.invocation("cscc", bytes).encode_to_vec()),
    ("gateway.Gateway/Evaluate", raw),
    ("gateway.Gateway/Evaluate", |services, bytes| {
        let proposed_transaction = Some(services.invocation("qscc", bytes));
        let request = EvaluateRequest { channel_id: CHANNEL.to_owned(), proposed_transaction, ..Default::default() };
        request.encode_to_vec()
    }),
    ("gateway.Gateway/Endorse", raw),
    ("gateway.Gateway/Endorse", |services, bytes| {
        let proposed_transaction = Some(services.invocation("_lifecycle", bytes));
        let request = EndorseRequest { channel_id: CHANNEL.to_owned(), proposed_transaction, ..Default::default() };
        request.encode_to_vec()
    }),
    ("gateway.Gateway/Submit", raw),
    ("gateway.Gateway/Submit", |services, bytes| {
        let prepared_transaction = Some(services.envelope(HeaderType::EndorserTransaction, bytes));
        let request = SubmitRequest { channel_id: CHANNEL.to_owned(), prepared_transaction, ..Default::default() };
        request.encode_to_vec()
    }),
    ("gateway.Gateway/CommitStatus", raw),
    ("gateway.Gateway/CommitStatus", |services, bytes| {
        let signature = services.admin.sign(bytes);
        SignedCommitStatusRequest { request: bytes.to_vec(), signature }.encode_to_vec()
    }),
    ("gateway.Gateway/ChaincodeEvents", raw),
    ("gateway.Gateway/ChaincodeEvents", |services, bytes| {
        let signature = services.admin.sign(bytes);
        SignedChaincodeEventsRequest { request: bytes.to_vec(), signature }.encode_to_vec()
    }),
    ("discovery.Discovery/Discover", raw),
    ("discovery.Discovery/Discover", |services, bytes| {
        let signature = services.admin.sign(bytes);
        SignedRequest { payload: bytes.to_vec(), signature }.encode_to_vec()
    }),
    ("protos.Deliver/Deliver", raw),
    ("protos.Deliver/Deliver", seek),
    ("protos.Deliver/DeliverFiltered", seek),
    ("protos.Deliver/DeliverWithPrivateData", seek),
];

const ORDERER: &[Call] = &[
    ("orderer.AtomicBroadcast/Broadcast", raw),
    ("orderer.AtomicBroadcast/Broadcast", |services, bytes| services.signed(bytes.to_vec()).encode_to_vec()),
    ("orderer.AtomicBroadcast/Broadcast", |services, bytes| {
        services.envelope(HeaderType::EndorserTransaction, bytes).encode_to_vec()
    }),
    ("orderer.AtomicBroadcast/Broadcast", |services, bytes| {
        services.envelope(HeaderType::ConfigUpdate, bytes).encode_to_vec()
    }),
    ("orderer.AtomicBroadcast/Deliver", raw),
    ("orderer.AtomicBroadcast/Deliver", |services, bytes| {
        services.orderer_admin.envelope(HeaderType::DeliverSeekInfo, &services.nonce(), bytes).encode_to_vec()
    }),
];

fn raw(_: &Services, bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

fn seek(services: &Services, bytes: &[u8]) -> Vec<u8> {
    services.envelope(HeaderType::DeliverSeekInfo, bytes).encode_to_vec()
}

impl Services {
    /// The number of choices in [`Services::call`]; higher numbers wrap around.
    pub const CHOICES: usize = PEER.len() + ORDERER.len() + 1;

    /// Starts the services.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, and if they cannot be started.
    pub fn start() -> Self {
        let (network, bundle, directory) = started(&Topology::solo(), Options::default(), |_| ());
        let genesis = genesis(&bundle);
        for orderer in network.nodes().orderers() {
            orderer.join(&genesis).expect("the orderer joins");
        }
        for peer in network.nodes().peers() {
            peer.join(CHANNEL, genesis.clone()).expect("the peer joins");
        }
        let admin = Member::admin(&bundle, 0);
        let orderer_admin = Member::new(&bundle.identities.orderer_organization.admin);
        Self { network, bundle, admin, orderer_admin, calls: AtomicU64::default(), _directory: directory }
    }

    /// Makes one call and returns the gRPC status of its response, if any. Joining an orderer to a
    /// channel is a call too; it returns 0 for success and 1 for failure.
    pub async fn call(&self, choice: u8, bytes: &[u8]) -> Option<i32> {
        let choice = usize::from(choice) % Self::CHOICES;
        let nodes = self.network.nodes();
        if let Some((method, wrap)) = PEER.get(choice) {
            return answer(services::of_peer(&nodes.peers()[0]), method, &wrap(self, bytes)).await;
        }
        if let Some((method, wrap)) = ORDERER.get(choice - PEER.len()) {
            return answer(services::of_orderer(&nodes.orderers()[0]), method, &wrap(self, bytes)).await;
        }
        let block = fabric_protos::common::Block::decode(bytes).ok()?;
        Some(i32::from(nodes.orderers()[0].join(&block).is_err()))
    }

    /// A signed proposal with these bytes.
    fn proposal(&self, bytes: &[u8]) -> SignedProposal {
        SignedProposal { proposal_bytes: bytes.to_vec(), signature: self.admin.sign(bytes) }
    }

    /// A proposal to a system chaincode with these bytes as encoded arguments.
    fn invocation(&self, chaincode: &str, bytes: &[u8]) -> SignedProposal {
        let chaincode_id = Some(ChaincodeId { name: chaincode.to_owned(), ..ChaincodeId::default() });
        let nonce = self.nonce();
        let mut header = self.admin.header(HeaderType::EndorserTransaction, &nonce);
        header.extension = ChaincodeHeaderExtension { chaincode_id: chaincode_id.clone() }.encode_to_vec();
        let input = ChaincodeInput::decode(bytes).unwrap_or_else(|_| {
            // Otherwise each line is an argument.
            let args = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            ChaincodeInput { args, ..ChaincodeInput::default() }
        });
        let spec = ChaincodeSpec { chaincode_id, input: Some(input), ..ChaincodeSpec::default() };
        let input = ChaincodeInvocationSpec { chaincode_spec: Some(spec) }.encode_to_vec();
        let proposal = Proposal {
            header: self.admin.headers(&header, &nonce).encode_to_vec(),
            payload: ChaincodeProposalPayload { input, ..ChaincodeProposalPayload::default() }.encode_to_vec(),
            ..Proposal::default()
        };
        self.proposal(&proposal.encode_to_vec())
    }

    fn envelope(&self, kind: HeaderType, bytes: &[u8]) -> Envelope {
        self.admin.envelope(kind, &self.nonce(), bytes)
    }

    /// A new nonce for each call, since transaction IDs must be unique.
    fn nonce(&self) -> [u8; 24] {
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&self.calls.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        nonce
    }

    fn signed(&self, payload: Vec<u8>) -> Envelope {
        Envelope { signature: self.admin.sign(&payload), payload }
    }

    /// The files and identities of the nodes.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }
}

impl Member {
    fn header(&self, kind: HeaderType, nonce: &[u8]) -> ChannelHeader {
        ChannelHeader {
            r#type: kind.into(),
            channel_id: CHANNEL.to_owned(),
            tx_id: hex::encode(hash_of(&[nonce, &self.creator])),
            timestamp: Some(std::time::SystemTime::now().into()),
            ..ChannelHeader::default()
        }
    }

    fn headers(&self, header: &ChannelHeader, nonce: &[u8]) -> Header {
        let signature_header = SignatureHeader { creator: self.creator.clone(), nonce: nonce.to_vec() };
        Header { channel_header: header.encode_to_vec(), signature_header: signature_header.encode_to_vec() }
    }

    fn envelope(&self, kind: HeaderType, nonce: &[u8], data: &[u8]) -> Envelope {
        let header = self.headers(&self.header(kind, nonce), nonce);
        let payload = Payload { header: Some(header), data: data.to_vec() }.encode_to_vec();
        Envelope { signature: self.sign(&payload), payload }
    }
}

/// Calls a method with one HTTP/2 message and reads the response.
async fn answer(routes: Routes, method: &str, message: &[u8]) -> Option<i32> {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).ok()?);
    frame.put_slice(message);
    let body = Full::<Bytes>::new(frame.freeze()).map_err(|never: Infallible| match never {});
    let request =
        Request::post(format!("/{method}")).header("content-type", "application/grpc").header("te", "trailers");
    let mut request = request.body(Body::new(body)).ok()?;
    request.extensions_mut().insert(Client { address: ([127, 0, 0, 1], 1).into(), certificate: None });
    let response = routes.oneshot(request).await.ok()?;
    let status = |headers: &hyper::HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
    if let Some(status) = status(response.headers()) {
        return Some(status);
    }
    let mut body = response.into_body();
    for _ in 0..MAX_RESPONSES {
        let frame = tokio::time::timeout(RESPONSE_TIMEOUT, body.frame()).await.ok()??.ok()?;
        if let Some(trailers) = frame.trailers_ref() {
            return status(trailers);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use fabric_protos::orderer::{SeekInfo, SeekPosition, SeekSpecified, seek_position};
    use proptest::prelude::*;

    fn place(calls: &[Call], method: &str, number: usize) -> u8 {
        let mut places = calls.iter().enumerate().filter(|(_, (name, _))| name.ends_with(method));
        u8::try_from(places.nth(number).unwrap().0).unwrap()
    }

    /// Meaningful bytes reach the services behind the signature checks.
    #[tokio::test]
    async fn signed_requests_reach_the_services() {
        let services = Services::start();
        let (ok, invalid) = (Some(0), Some(3));
        let evaluate = place(PEER, "Evaluate", 1);
        assert_eq!(services.call(evaluate, b"GetChainInfo\nmychannel").await, ok);
        assert_ne!(services.call(evaluate, b"NoSuchFunction\nmychannel").await, ok);
        assert_eq!(services.call(place(PEER, "Evaluate", 0), b"").await, invalid);
        let start = SeekPosition { r#type: Some(seek_position::Type::Specified(SeekSpecified { number: 0 })) };
        let seek = SeekInfo { start: Some(start), stop: Some(start), ..SeekInfo::default() }.encode_to_vec();
        assert_eq!(services.call(place(PEER, "/Deliver", 1), &seek).await, ok);
        let orderers = u8::try_from(PEER.len()).unwrap();
        assert_eq!(services.call(orderers + place(ORDERER, "/Deliver", 1), &seek).await, ok);
        let block = &services.bundle().channels[0].genesis_block;
        assert_eq!(services.call(u8::try_from(Services::CHOICES - 1).unwrap(), block).await, Some(1));
        assert_eq!(services.call(u8::try_from(Services::CHOICES - 1).unwrap(), b"none").await, None);
    }

    #[test]
    fn random_bytes_never_crash_a_service() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let services = runtime.block_on(async { Services::start() });
        let bytes = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "(ApproveChaincodeDefinitionForMyOrg|QueryChaincodeDefinition|GetBlockByNumber|JoinChain)\n\\PC{0,40}"
                .prop_map(String::into_bytes),
        ];
        proptest!(ProptestConfig::with_cases(600), |(choice in any::<u8>(), bytes in bytes)| {
            runtime.block_on(services.call(choice, &bytes));
        });
        // The services still respond.
        let evaluate = place(PEER, "Evaluate", 1);
        assert_eq!(runtime.block_on(services.call(evaluate, b"GetChainInfo\nmychannel")), Some(0));
    }
}
