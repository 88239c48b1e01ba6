//! Fabric's discovery service: which endorsers of a chaincode a peer knows.
//!
//! A gateway finds endorsers as its peer knows them, by gossip, which takes time after a commit and after a
//! restart. A peer that requires TLS answers only clients with a TLS certificate (`discovery/service.go`), so
//! the connection needs one.

use std::collections::BTreeMap;
use std::time::Duration;

use fabric_protos::discovery::discovery_client::DiscoveryClient;
use fabric_protos::discovery::query::Query as Kind;
use fabric_protos::discovery::query_result::Result as Outcome;
use fabric_protos::discovery::{AuthInfo, Peer, PeerMembershipQuery, Query, Request, SignedRequest};
use fabric_protos::gossip::gossip_message::Content;
use fabric_protos::gossip::{Envelope, GossipMessage};
use fabric_protos::protos::{ChaincodeCall, ChaincodeInterest};
use futures::future::try_join_all;
use prost::Message as _;
use tokio::time::Instant;

use super::endorser::PeerClient;
use super::error::ClientError;
use super::transport::timed_out;
use crate::wait::{self, Poll};

/// An endorser of a chaincode, as another peer knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEndorser {
    /// `msp.SerializedIdentity`, encoded.
    pub identity: Vec<u8>,
    /// The address for other peers.
    pub address: String,
    /// Differs each time it starts, and increases.
    pub incarnation: u64,
}

impl KnownEndorser {
    /// `None` if a message cannot be decoded, or has no state, which a peer of a channel has.
    fn decode(peer: Peer) -> Option<Self> {
        let message = |envelope: Option<Envelope>| GossipMessage::decode(envelope?.payload.as_slice()).ok()?.content;
        let Some(Content::AliveMsg(alive)) = message(peer.membership_info) else { return None };
        let Some(Content::StateInfo(state)) = message(peer.state_info) else { return None };
        let address = alive.membership.unwrap_or_default().endpoint;
        Some(Self { identity: peer.identity, address, incarnation: state.timestamp?.inc_num })
    }
}

impl PeerClient {
    /// The endorsers of a chaincode that this peer knows, itself among them. The error of the result is the
    /// peer's reason, such as a chaincode that it does not know yet.
    ///
    /// # Errors
    /// As any call; a peer without TLS certificate of the client answers UNKNOWN.
    pub async fn known_endorsers(
        &self,
        channel: &str,
        chaincode: &str,
        deadline: Instant,
    ) -> Result<Result<Vec<KnownEndorser>, String>, ClientError> {
        let operation = "ask for the endorsers";
        let call = ChaincodeCall { name: chaincode.to_owned(), ..ChaincodeCall::default() };
        let filter = Some(ChaincodeInterest { chaincodes: vec![call] });
        let query = Query { channel: channel.to_owned(), query: Some(Kind::PeerQuery(PeerMembershipQuery { filter })) };
        let authentication = AuthInfo {
            client_identity: self.signer.creator().to_vec(),
            client_tls_cert_hash: self.node.client_certificate_hash().to_vec(),
        };
        let payload = Request { authentication: Some(authentication), queries: vec![query] }.encode_to_vec();
        let signature = self.signer.sign(&payload)?;
        let mut client = DiscoveryClient::new(self.node.channel());
        let call = client.discover(SignedRequest { payload, signature });
        let answer = self.node.call(operation, deadline, call).await?;
        match answer.results.into_iter().next().and_then(|result| result.result) {
            Some(Outcome::Members(members)) => {
                let peers = members.peers_by_org.into_values().flat_map(|peers| peers.peers);
                Ok(Ok(peers.filter_map(KnownEndorser::decode).collect()))
            }
            Some(Outcome::Error(error)) => Ok(Err(error.content)),
            _ => Err(ClientError::malformed(operation, self.name(), "no peers in it")),
        }
    }
}

/// Waits until each of these peers knows all of them as endorsers of a chaincode, as they run now: what a peer
/// knew of another one before its restart does not count.
///
/// # Errors
/// [`ClientError::TimedOut`] with what a peer does not know; and as any call.
pub async fn await_endorsers(
    peers: &[PeerClient],
    channel: &str,
    chaincode: &str,
    deadline: Instant,
) -> Result<(), ClientError> {
    let operation = "wait until the endorsers are known";
    let Some(first) = peers.first() else { return Err(ClientError::NoPeer { operation }) };
    let bound = deadline.saturating_duration_since(Instant::now());
    let known = wait::until(operation, bound, async || {
        // The whole wait is bounded, not each question: that would lose the last answer.
        let ample = deadline + Duration::from_secs(1);
        let views =
            try_join_all(peers.iter().map(async |peer| match peer.known_endorsers(channel, chaincode, ample).await {
                Ok(view) => Ok(view),
                Err(broken @ ClientError::Transport { .. }) => Ok(Err(broken.to_string())),
                Err(failed) => Err(failed),
            }))
            .await?;
        let missing = what_is_missing(peers.iter().map(PeerClient::name).zip(&views), chaincode);
        Ok(missing.map_or(Poll::Ready(()), Poll::NotYet))
    });
    known.await.map_err(|ended| timed_out(operation, first.name(), ended))
}

/// The first peer that does not know as many endorsers, as they run now, as there are peers.
fn what_is_missing<'a>(
    views: impl ExactSizeIterator<Item = (&'a str, &'a Result<Vec<KnownEndorser>, String>)> + Clone,
    chaincode: &str,
) -> Option<String> {
    let all = views.len();
    let mut latest = BTreeMap::new();
    for endorser in views.clone().filter_map(|(_, view)| view.as_ref().ok()).flatten() {
        let incarnation = latest.entry(&endorser.identity).or_insert(endorser.incarnation);
        *incarnation = endorser.incarnation.max(*incarnation);
    }
    let mut missing = views.filter_map(|(name, view)| {
        let known = match view {
            Ok(known) => known,
            Err(reason) => return Some(format!("{name} knows no endorsers of {chaincode}: {reason}")),
        };
        let current = known.iter().filter(|one| latest.get(&one.identity) == Some(&one.incarnation));
        let addresses: BTreeMap<_, _> = current.map(|one| (&one.identity, one.address.as_str())).collect();
        if addresses.len() >= all {
            return None;
        }
        let addresses = addresses.into_values().collect::<Vec<_>>().join(", ");
        Some(format!("{name} knows only these of {all} endorsers of {chaincode}: {addresses}"))
    });
    missing.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endorser(name: &str, incarnation: u64) -> KnownEndorser {
        KnownEndorser { identity: name.into(), address: format!("{name}:7051"), incarnation }
    }

    #[test]
    fn every_peer_must_know_every_endorser_as_it_runs_now() {
        let missing = |views: &[(&str, Result<Vec<KnownEndorser>, String>)]| {
            what_is_missing(views.iter().map(|(name, view)| (*name, view)), "basic")
        };
        let both = |first, second| Ok(vec![endorser("a", first), endorser("b", second)]);
        assert_eq!(missing(&[("a", both(1, 1)), ("b", both(1, 1))]), None);
        let one = missing(&[("a", both(1, 1)), ("b", Ok(vec![endorser("b", 1)]))]);
        assert_eq!(one.unwrap(), "b knows only these of 2 endorsers of basic: b:7051");
        let stale = missing(&[("a", both(1, 2)), ("b", both(1, 1))]);
        assert_eq!(stale.unwrap(), "b knows only these of 2 endorsers of basic: a:7051");
        let twice = missing(&[("a", both(1, 1)), ("b", Ok(vec![endorser("b", 1), endorser("b", 1)]))]);
        assert_eq!(twice.unwrap(), "b knows only these of 2 endorsers of basic: b:7051");
        let none = missing(&[("a", Err("No metadata was found".to_owned())), ("b", both(1, 1))]);
        assert_eq!(none.unwrap(), "a knows no endorsers of basic: No metadata was found");
    }
}
