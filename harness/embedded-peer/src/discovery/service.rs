//! Answers discovery queries of authorized clients (`discovery/service.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::discovery::discovery_server::Discovery;
use fabric_protos::discovery::query::Query as Kind;
use fabric_protos::discovery::query_result::Result as Outcome;
use fabric_protos::discovery::{
    ChaincodeQuery, ChaincodeQueryResult, EndorsementDescriptor, Error, Layout, PeerMembershipResult, Peers, Query,
    QueryResult, Request, Response, SignedRequest,
};
use fabric_protos::protos::ChaincodeInterest;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tonic::Status;

use super::{descriptor, gossip, has_all, network_config};
use crate::msp::role;
use crate::node::Client;
use crate::peer::{Member, Peer, calls, members};
use crate::policy::SignedData;

/// The policy for queries about a channel.
const WRITERS: &str = "/Channel/Application/Writers";

/// A peer's discovery service.
#[derive(Clone, Debug)]
pub struct Service(pub Arc<Peer>);

#[tonic::async_trait]
impl Discovery for Service {
    async fn discover(&self, request: tonic::Request<SignedRequest>) -> Result<tonic::Response<Response>, Status> {
        let client = request.extensions().get::<Client>().cloned();
        let certificate = client.and_then(|client| client.certificate);
        let signed = request.into_inner();
        let work = async { self.respond(signed, certificate.as_deref()).map_err(Status::unknown) };
        let answered = |response: &Response| format!("{} results", response.results.len());
        let method = "discovery.Discovery/Discover";
        calls::call(&self.0, method, String::new, work, answered).await.map(tonic::Response::new)
    }
}

/// Decodes a request that has a client identity and, with mutual TLS, the client's certificate
/// hash.
fn open(signed: &SignedRequest, is_mutual: bool, certificate: Option<&[u8]>) -> Result<Request, String> {
    let request = Request::decode(signed.payload.as_slice())
        .map_err(|_| "failed parsing request: proto: cannot parse invalid wire-format data")?;
    let authentication = request.authentication.as_ref().ok_or("access denied, no authentication info in request")?;
    if authentication.client_identity.is_empty() {
        return Err("access denied, client identity wasn't supplied".to_owned());
    }
    if !is_mutual {
        return Ok(request);
    }
    let certificate = certificate.ok_or("client didn't send a TLS certificate")?;
    if *Sha256::digest(certificate) != *authentication.client_tls_cert_hash {
        return Err("client claimed TLS hash doesn't match computed TLS hash from gRPC stream".to_owned());
    }
    Ok(request)
}

fn error(content: impl Into<String>) -> QueryResult {
    QueryResult { result: Some(Outcome::Error(Error { content: content.into() })) }
}

impl Service {
    fn respond(&self, signed: SignedRequest, certificate: Option<&[u8]>) -> Result<Response, String> {
        let is_mutual = self.0.configuration.peer.tls.client_auth_required;
        let asked = open(&signed, is_mutual, certificate)?;
        let data = SignedData {
            message: signed.payload.into(),
            identity: asked.authentication.unwrap_or_default().client_identity.into(),
            signature: signed.signature.into(),
        };
        let results = asked.queries.iter().map(|query| self.answer(query, &data));
        Ok(Response { results: results.collect() })
    }

    fn answer(&self, query: &Query, data: &SignedData) -> QueryResult {
        if let Err(reason) = self.check(&query.channel, data) {
            tracing::warn!("discovery denied for channel {:?}: {reason}", query.channel);
            return error("access denied");
        }
        let outcome = match (&query.query, query.channel.as_str()) {
            (Some(Kind::LocalPeers(_)), "") => Ok(self.known_peers()),
            (Some(Kind::ConfigQuery(_)), channel) if !channel.is_empty() => self.config(channel),
            (Some(Kind::PeerQuery(query)), channel) if !channel.is_empty() => {
                self.channel_peers(channel, query.filter.as_ref())
            }
            (Some(Kind::CcQuery(query)), channel) if !channel.is_empty() => self.endorsers(channel, query),
            _ => Err("unknown or missing request type".to_owned()),
        };
        outcome.map_or_else(error, |outcome| QueryResult { result: Some(outcome) })
    }

    /// Checks that the signer may query a channel, or the peers of the network.
    fn check(&self, channel: &str, data: &SignedData) -> Result<(), String> {
        if !channel.is_empty() {
            let joined = self.0.channel(channel).ok_or("the channel does not exist")?;
            let data = std::slice::from_ref(data);
            return joined.config().evaluate(WRITERS, data).map_err(|error| error.to_string());
        }
        let identity = self.0.local_msp.identity(&data.identity).map_err(|error| error.to_string())?;
        identity.verify(&data.message, &data.signature).map_err(|error| error.to_string())?;
        let members_may = self.0.configuration.peer.discovery.org_members_allowed_access;
        let wanted = if members_may { MspRoleType::Member } else { MspRoleType::Admin };
        let has_role = identity.satisfies(&role(identity.msp_id(), wanted));
        has_role.then_some(()).ok_or_else(|| "signature set did not satisfy policy".to_owned())
    }

    fn known_peers(&self) -> Outcome {
        let nodes = self.0.nodes();
        let peers = nodes.as_ref().map(|nodes| nodes.peers()).unwrap_or_default();
        let mut peers_by_org = BTreeMap::<String, Peers>::new();
        for peer in peers.iter().filter(|peer| !peer.is_stopped()) {
            peers_by_org.entry(peer.msp_id.clone()).or_default().peers.push(gossip::alive(peer));
        }
        Outcome::Members(PeerMembershipResult { peers_by_org })
    }

    fn config(&self, channel: &str) -> Result<Outcome, String> {
        let failed = || format!("failed fetching config for channel {channel}");
        let joined = self.0.channel(channel).ok_or_else(failed)?;
        network_config::of(&joined.config()).map(Outcome::ConfigResult).map_err(|reason| {
            tracing::warn!("{}: {reason}", failed());
            failed()
        })
    }

    fn channel_peers(&self, channel: &str, filter: Option<&ChaincodeInterest>) -> Result<Outcome, String> {
        let nodes = self.0.nodes();
        let all = nodes.as_ref().map(|nodes| nodes.peers()).unwrap_or_default();
        // Organizations without peers on the channel are listed too.
        let mut peers_by_org: BTreeMap<String, Peers> =
            all.iter().map(|peer| (peer.msp_id.clone(), Peers::default())).collect();
        for member in self.authorized(channel, filter)? {
            let peers = peers_by_org.entry(member.peer.msp_id.clone()).or_default();
            peers.peers.push(gossip::on_channel(&member));
        }
        Ok(Outcome::Members(PeerMembershipResult { peers_by_org }))
    }

    /// The peers of a channel that have the chaincodes of the filter and may read its collections.
    fn authorized(&self, channel: &str, filter: Option<&ChaincodeInterest>) -> Result<Vec<Member>, String> {
        let mut members = members(&self.0, channel);
        let Some(filter) = filter.filter(|filter| !filter.chaincodes.is_empty()) else { return Ok(members) };
        let joined = self.0.channel(channel).ok_or("the channel does not exist")?;
        let config = joined.config();
        let mut infos = Vec::new();
        for call in &filter.chaincodes {
            let info = joined
                .definition(&call.name)
                .ok_or_else(|| format!("No metadata was found for chaincode {} in channel {channel}", call.name))?;
            if !call.no_private_reads {
                for collection in &call.collection_names {
                    let holders = info.collection_members(collection).ok_or_else(|| {
                        format!(
                            "collection {collection} doesn't exist in collection config for chaincode {}",
                            call.name
                        )
                    })?;
                    members.retain(|member| {
                        let identity = config.msps().deserialize(member.peer.signer.identity());
                        identity.is_ok_and(|identity| holders.iter().any(|holder| identity.satisfies(holder)))
                    });
                }
            }
            infos.push(info);
        }
        members.retain(|member| has_all(member, filter, &infos));
        Ok(members)
    }

    fn endorsers(&self, channel: &str, query: &ChaincodeQuery) -> Result<Outcome, String> {
        check_interests(&query.interests)?;
        let members = members(&self.0, channel);
        let mut content = Vec::with_capacity(query.interests.len());
        for interest in &query.interests {
            let described = descriptor(&self.0, channel, &members, interest).map_err(|reason| {
                tracing::warn!("failed constructing descriptor on channel {channel}: {reason}");
                format!("failed constructing descriptor for {}", text(interest))
            })?;
            let group = |number: &usize| format!("G{number}");
            let peers_of = |peers: &Vec<usize>| Peers {
                peers: members.iter().filter(|member| peers.contains(&member.number)).map(gossip::on_channel).collect(),
            };
            let layout = |layout: &BTreeMap<usize, usize>| Layout {
                quantities_by_group: layout
                    .iter()
                    .map(|(number, quantity)| (group(number), u32::try_from(*quantity).unwrap_or(u32::MAX)))
                    .collect(),
            };
            let groups = described.peers.iter().enumerate().filter(|(_, peers)| !peers.is_empty());
            content.push(EndorsementDescriptor {
                chaincode: interest.chaincodes.first().map(|call| call.name.clone()).unwrap_or_default(),
                endorsers_by_groups: groups.map(|(number, peers)| (group(&number), peers_of(peers))).collect(),
                layouts: described.layouts.iter().map(layout).collect(),
            });
        }
        Ok(Outcome::CcQueryRes(ChaincodeQueryResult { content }))
    }
}

fn check_interests(interests: &[ChaincodeInterest]) -> Result<(), String> {
    if interests.is_empty() {
        return Err("chaincode query must have at least one chaincode interest".to_owned());
    }
    for interest in interests {
        if interest.chaincodes.is_empty() {
            return Err("chaincode interest must contain at least one chaincode".to_owned());
        }
        if interest.chaincodes.iter().any(|call| call.name.is_empty()) {
            return Err("chaincode name in interest cannot be empty".to_owned());
        }
    }
    Ok(())
}

/// An interest as printed by Go.
fn text(interest: &ChaincodeInterest) -> String {
    let calls = interest.chaincodes.iter().map(|call| {
        let collections = call.collection_names.iter().map(|name| format!(" collection_names:{name:?}"));
        let flag = |is_set: bool, name: &str| if is_set { format!(" {name}:true") } else { String::new() };
        let private = flag(call.no_private_reads, "no_private_reads");
        let own = flag(call.disregard_namespace_policy, "disregard_namespace_policy");
        format!("chaincodes:{{name:{:?}{}{private}{own}}}", call.name, collections.collect::<String>())
    });
    calls.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fabric_protos::discovery::AuthInfo;
    use fabric_protos::protos::ChaincodeCall;

    fn signed(authentication: Option<AuthInfo>) -> SignedRequest {
        let request = Request { authentication, queries: Vec::new() };
        SignedRequest { payload: request.encode_to_vec(), signature: Vec::new() }
    }

    #[test]
    fn requests_require_an_identity() {
        let text = |request: &SignedRequest| open(request, false, None).unwrap_err();
        assert_eq!(text(&signed(None)), "access denied, no authentication info in request");
        let nobody = Some(AuthInfo::default());
        assert_eq!(text(&signed(nobody)), "access denied, client identity wasn't supplied");
        let garbage = SignedRequest { payload: b"\x0f".to_vec(), signature: Vec::new() };
        assert!(text(&garbage).starts_with("failed parsing request"));
    }

    #[test]
    fn mutual_tls_requires_the_certificate_hash_in_the_request() {
        let named =
            AuthInfo { client_identity: b"i".to_vec(), client_tls_cert_hash: Sha256::digest(b"certificate").to_vec() };
        let request = signed(Some(named));
        assert!(open(&request, true, Some(b"certificate")).is_ok());
        let none = open(&request, true, None).unwrap_err();
        assert_eq!(none, "client didn't send a TLS certificate");
        let other = open(&request, true, Some(b"other")).unwrap_err();
        assert_eq!(other, "client claimed TLS hash doesn't match computed TLS hash from gRPC stream");
    }

    #[test]
    fn interests_must_name_chaincodes() {
        let interest = |names: &[&str]| ChaincodeInterest {
            chaincodes: names
                .iter()
                .map(|name| ChaincodeCall { name: (*name).to_owned(), ..ChaincodeCall::default() })
                .collect(),
        };
        assert!(check_interests(&[interest(&["a", "b"])]).is_ok());
        let text = |interests: &[ChaincodeInterest]| check_interests(interests).unwrap_err();
        assert_eq!(text(&[]), "chaincode query must have at least one chaincode interest");
        assert_eq!(text(&[interest(&[])]), "chaincode interest must contain at least one chaincode");
        assert_eq!(text(&[interest(&["a", ""])]), "chaincode name in interest cannot be empty");
        assert_eq!(super::text(&interest(&["a", "b"])), "chaincodes:{name:\"a\"} chaincodes:{name:\"b\"}");
    }
}
