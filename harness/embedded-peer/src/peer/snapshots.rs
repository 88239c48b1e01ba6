//! The snapshot service (`core/ledger/snapshotgrpc`).
//!
//! Ledgers are in memory, so requests are authorized, but snapshots are rejected and none is ever pending.

use std::sync::Arc;

use fabric_protos::common::SignatureHeader;
use fabric_protos::protos::snapshot_server::{Snapshot, SnapshotServer};
use fabric_protos::protos::{QueryPendingSnapshotsResponse, SignedSnapshotRequest, SnapshotQuery, SnapshotRequest};
use prost::Message;
use tonic::{Request, Response, Status};

use super::Peer;
use crate::channel::PeerChannel;
use crate::config::acl;
use crate::policy::SignedData;

/// The snapshot service of a peer.
pub(crate) fn service(peer: &Arc<Peer>) -> SnapshotServer<impl Snapshot> {
    SnapshotServer::new(Service(Arc::clone(peer)))
}

struct Service(Arc<Peer>);

impl Service {
    /// The channel of a request, if its creator is authorized.
    fn channel(
        &self,
        resource: &str,
        signed: SignedSnapshotRequest,
        header: Option<SignatureHeader>,
        channel: &str,
    ) -> Result<Arc<PeerChannel>, Status> {
        let header = header.ok_or_else(|| Status::unknown("missing signature header"))?;
        let identity = self.0.local_msp.deserialize(&header.creator);
        if identity.is_ok_and(|identity| self.0.clock.now() > identity.expires_at()) {
            return Err(Status::unknown("client identity expired"));
        }
        let data = SignedData {
            message: signed.request.into(),
            identity: header.creator.into(),
            signature: signed.signature.into(),
        };
        acl::check_signed(resource, &self.0.local_msp, &data).map_err(Status::unknown)?;
        if channel.is_empty() {
            return Err(Status::unknown("missing channel ID"));
        }
        self.0.channel(channel).ok_or_else(|| Status::unknown(format!("cannot find ledger for channel {channel}")))
    }
}

fn decode<M: Message + Default>(signed: &SignedSnapshotRequest) -> Result<M, Status> {
    let unreadable = "failed to unmarshal snapshot request: proto: cannot parse invalid wire-format data";
    M::decode(&*signed.request).map_err(|_| Status::unknown(unreadable))
}

#[tonic::async_trait]
impl Snapshot for Service {
    async fn generate(&self, request: Request<SignedSnapshotRequest>) -> Result<Response<()>, Status> {
        let signed = request.into_inner();
        let SnapshotRequest { signature_header, channel_id, block_number } = decode(&signed)?;
        let channel = self.channel("snapshot/submitrequest", signed, signature_header, &channel_id)?;
        let newest = channel.ledger.height().saturating_sub(1);
        if block_number != 0 && block_number < newest {
            return Err(Status::unknown(format!(
                "requested snapshot for block number {block_number} cannot be less than the last committed block number {newest}"
            )));
        }
        Err(Status::unknown("this peer keeps its ledgers in memory and makes no snapshots of them"))
    }

    async fn cancel(&self, request: Request<SignedSnapshotRequest>) -> Result<Response<()>, Status> {
        let signed = request.into_inner();
        let SnapshotRequest { signature_header, channel_id, block_number } = decode(&signed)?;
        self.channel("snapshot/cancelrequest", signed, signature_header, &channel_id)?;
        Err(Status::unknown(format!("no snapshot request exists for block number {block_number}")))
    }

    async fn query_pendings(
        &self,
        request: Request<SignedSnapshotRequest>,
    ) -> Result<Response<QueryPendingSnapshotsResponse>, Status> {
        let signed = request.into_inner();
        let SnapshotQuery { signature_header, channel_id } = decode(&signed)?;
        self.channel("snapshot/listpending", signed, signature_header, &channel_id)?;
        Ok(Response::new(QueryPendingSnapshotsResponse::default()))
    }
}

#[cfg(test)]
mod tests {
    use fabric_network::topology::Topology;

    use super::*;
    use crate::network::Options;
    use crate::testing::{Member, genesis, started};

    fn signed(member: &Member, channel: &str, block_number: u64) -> Request<SignedSnapshotRequest> {
        let header = SignatureHeader { creator: member.creator.clone(), nonce: vec![1; 24] };
        let request = SnapshotRequest { signature_header: Some(header), channel_id: channel.to_owned(), block_number };
        let request = request.encode_to_vec();
        Request::new(SignedSnapshotRequest { signature: member.sign(&request), request })
    }

    #[tokio::test]
    async fn snapshots_are_rejected_and_none_is_pending() {
        let (network, bundle, _directory) = started(&Topology::solo(), Options::default(), |_| ());
        let peer = &network.nodes().peers()[0];
        peer.join("mychannel", genesis(&bundle)).unwrap();
        let service = Service(Arc::clone(peer));
        let (user, admin) = (Member::user(&bundle, 0), Member::admin(&bundle, 0));

        let pending = service.query_pendings(signed(&admin, "mychannel", 0)).await.unwrap().into_inner();
        assert_eq!(pending.block_numbers, Vec::<u64>::new());
        let refused = service.generate(signed(&admin, "mychannel", 7)).await.unwrap_err();
        assert_eq!(refused.message(), "this peer keeps its ledgers in memory and makes no snapshots of them");
        let missing = service.cancel(signed(&admin, "mychannel", 7)).await.unwrap_err();
        assert_eq!(missing.message(), "no snapshot request exists for block number 7");
        let nowhere = service.query_pendings(signed(&admin, "nowhere", 0)).await.unwrap_err();
        assert_eq!(nowhere.message(), "cannot find ledger for channel nowhere");
        let denied = service.cancel(signed(&user, "mychannel", 7)).await.unwrap_err();
        let not_admin = "failed verifying that the signed data identity satisfies local MSP principal during channelless check policy with policy [Admins]: [The identity is not an admin under this MSP [Org1MSP]: The identity does not contain OU [ADMIN], MSP: [Org1MSP]]";
        assert_eq!(denied.message(), not_admin);
        let garbage = SignedSnapshotRequest { request: vec![0xff], ..SignedSnapshotRequest::default() };
        let garbage = service.generate(Request::new(garbage)).await.unwrap_err();
        assert!(garbage.message().starts_with("failed to unmarshal snapshot request: "), "{garbage}");
    }
}
