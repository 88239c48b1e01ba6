//! The endorsers known to a gateway: the peers of this process
//! (`internal/pkg/gateway/registry.go`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fabric_protos::gateway::ErrorDetail;
use fabric_protos::protos::{ChaincodeInterest, ProposalResponse, Response};
use tonic::Status;

use super::plan::{PeerNumber, Plan};
use super::status::{Failure, examine};
use crate::discovery;
use crate::endorser::{self, Executed, Refusal};
use crate::peer::{Member, Peer, members};
use crate::proposal::UnpackedProposal;

/// The peers of a channel as seen by the gateway's peer.
pub(crate) struct Registry<'a> {
    peer: &'a Arc<Peer>,
    channel: &'a str,
    members: Vec<Member>,
}

impl<'a> Registry<'a> {
    pub(crate) fn new(peer: &'a Arc<Peer>, channel: &'a str) -> Self {
        Self { peer, channel, members: members(peer, channel) }
    }

    pub(crate) fn member(&self, number: PeerNumber) -> Result<&Member, Status> {
        let member = self.members.iter().find(|member| member.number == number);
        member.ok_or_else(|| Status::internal("an endorser is not known"))
    }

    /// A plan with one peer of each of these organizations that has the chaincode.
    pub(crate) fn plan_for(&self, chaincode: &str, organizations: &[String]) -> Result<Plan, String> {
        let mut by_organization = self.by_organization(chaincode);
        let mut groups = Vec::new();
        let mut missing = Vec::new();
        for organization in organizations {
            match by_organization.remove(organization.as_str()) {
                Some(peers) => groups.push(peers),
                // The client may name an organization twice.
                None if self.by_organization(chaincode).contains_key(organization.as_str()) => {}
                None => missing.push(organization.as_str()),
            }
        }
        if !missing.is_empty() {
            return Err(format!("failed to find any endorsing peers for org(s): {}", missing.join(", ")));
        }
        Ok(Plan::new(vec![(0..groups.len()).map(|group| (group, 1)).collect()], groups))
    }

    /// The peers for an evaluation: of these organizations, or of any if the list is empty; its own
    /// organization's first.
    pub(crate) fn evaluators(&self, chaincode: &str, organizations: &[String]) -> Result<Vec<PeerNumber>, String> {
        let allowed = |msp_id: &str| organizations.is_empty() || organizations.iter().any(|one| one == msp_id);
        let mut by_organization = self.by_organization(chaincode);
        let mut peers = by_organization.remove(self.peer.msp_id.as_str()).filter(|_| allowed(&self.peer.msp_id));
        let others = by_organization.into_iter().filter(|(msp_id, _)| allowed(msp_id)).flat_map(|(_, peers)| peers);
        let mut others: Vec<_> = others.collect();
        others.sort_by_key(|number| std::cmp::Reverse(self.height(*number)));
        let peers = peers.get_or_insert_default();
        peers.append(&mut others);
        if peers.is_empty() {
            let channel = self.channel;
            return Err(format!("no peers available to evaluate chaincode {chaincode} in channel {channel}"));
        }
        Ok(std::mem::take(peers))
    }

    /// The plan for an interest. Layouts with the preferred peer come first.
    pub(crate) fn plan(&self, interest: &ChaincodeInterest, preferred: Option<PeerNumber>) -> Result<Plan, String> {
        let descriptor = discovery::descriptor(self.peer, self.channel, &self.members, interest).map_err(|error| {
            format!("no combination of peers can be derived which satisfy the endorsement policy: {error}")
        })?;
        let mut groups = descriptor.peers;
        for peers in &mut groups {
            self.sort(peers);
        }
        let prefers = |group: usize| groups[group].iter().any(|peer| Some(*peer) == preferred);
        let (mut first, mut others): (Vec<_>, Vec<_>) = descriptor
            .layouts
            .into_iter()
            .partition(|layout: &BTreeMap<usize, usize>| layout.keys().any(|group| prefers(*group)));
        self.shuffle(&mut first);
        self.shuffle(&mut others);
        first.append(&mut others);
        Ok(Plan::new(first, groups))
    }

    /// Peers that have the chaincode, by MSP ID: sorted by ledger height, this peer first among
    /// equals.
    fn by_organization(&self, chaincode: &str) -> BTreeMap<&str, Vec<PeerNumber>> {
        let mut by_organization = BTreeMap::<&str, Vec<PeerNumber>>::new();
        for member in self.members.iter().filter(|member| member.has_chaincode(chaincode)) {
            by_organization.entry(member.peer.msp_id.as_str()).or_default().push(member.number);
        }
        for peers in by_organization.values_mut() {
            self.sort(peers);
        }
        by_organization
    }

    fn sort(&self, peers: &mut [PeerNumber]) {
        peers.sort_by_key(|number| {
            let is_local = self.members.iter().any(|member| member.number == *number && self.is_local(member));
            (std::cmp::Reverse(self.height(*number)), !is_local)
        });
    }

    fn height(&self, number: PeerNumber) -> u64 {
        self.members.iter().find(|member| member.number == number).map_or(0, |member| member.height)
    }

    fn is_local(&self, member: &Member) -> bool {
        Arc::ptr_eq(&member.peer, self.peer)
    }

    /// Shuffles to share the load; with a seed the order is reproducible.
    fn shuffle<T>(&self, items: &mut [T]) {
        if items.len() < 2 {
            return;
        }
        let Ok(nonce) = self.peer.signer.nonce() else { return };
        for index in (1..items.len()).rev() {
            let byte = nonce.get(index % nonce.len()).copied().unwrap_or_default();
            items.swap(index, usize::from(byte) % (index + 1));
        }
    }

    /// Asks a peer for an endorsement.
    pub(crate) async fn endorse(
        &self,
        number: PeerNumber,
        proposal: &Arc<UnpackedProposal>,
    ) -> Result<ProposalResponse, Failure> {
        let Ok(member) = self.member(number) else { return Err(Failure::unreachable("no such peer")) };
        let answer = self.ask(member, endorser::endorse(&member.peer, proposal)).await;
        examine(answer, self.is_local(member))
    }

    /// Asks a peer to run a proposal without signing.
    pub(crate) async fn run(&self, number: PeerNumber, proposal: &Arc<UnpackedProposal>) -> Result<Response, Failure> {
        let Ok(member) = self.member(number) else { return Err(Failure::unreachable("no such peer")) };
        let executed = async { endorser::execute(&member.peer, proposal).await.map(Executed::unsigned) };
        let answer = self.ask(member, executed).await;
        examine(answer, self.is_local(member)).map(|response| response.response.unwrap_or_default())
    }

    /// Fabric calls other peers over gRPC with a timeout, and its own peer directly.
    async fn ask<T>(&self, member: &Member, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        if self.is_local(member) {
            return work.await;
        }
        let bound: Duration = self.peer.configuration.peer.gateway.endorsement_timeout;
        let late = || Refusal::unanswered("rpc error: code = DeadlineExceeded desc = context deadline exceeded");
        tokio::time::timeout(bound, work).await.unwrap_or_else(|_| Err(late()))
    }

    /// The error detail for a failed peer.
    pub(crate) fn detail(&self, number: PeerNumber, message: &str) -> ErrorDetail {
        let member = self.members.iter().find(|member| member.number == number);
        ErrorDetail {
            address: member.map(|member| member.peer.endpoint.clone()).unwrap_or_default(),
            msp_id: member.map(|member| member.peer.msp_id.clone()).unwrap_or_default(),
            message: message.to_owned(),
        }
    }
}
