//! Checks, before anything starts, that a definition and its cases name only what exists: channels, organizations,
//! identities, chaincodes. Only a case that expects an error may call a chaincode that the run does not deploy.
//!
//! A case whose `needs` the network does not meet is not run, so it may name what another network has.

use super::cases::{Case, IdentityName};
use super::definition::{ChaincodeSection, PolicyOf};
use super::policy::{is_satisfiable, msp_ids};
use fabric_network::topology::{Channel, Organization, Topology};
use fabric_primitives::names::RESERVED_CHAINCODES;
use fabric_primitives::text::shorten;

/// The most names in a message.
const MOST_NAMES: usize = 10;

/// What can be named.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The network.
    pub(crate) topology: &'a Topology,
    /// The chaincode under test.
    pub(crate) chaincode: &'a ChaincodeSection,
    /// Whether the peers' state database is CouchDB.
    pub(crate) couchdb: bool,
}

/// The path of a value, below its section or case, and what is wrong with it.
pub(super) type Misfit = (String, String);

impl Scope<'_> {
    /// The MSP IDs in policies that the channels do not have. Each definition is committed on every channel, and
    /// each channel must have every member of a collection (`core/chaincode/lifecycle/scc.go`). An endorsement policy
    /// may name a member of another channel if the members of each channel can satisfy it.
    pub(super) fn definition(&self) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        let exists = |msp_id: &String| self.topology.organizations.iter().any(|one| one.msp_id == *msp_id);
        for PolicyOf { path, what, policy, is_membership } in self.chaincode.policies() {
            for channel in &self.topology.channels {
                let members: Vec<&str> = self.members(channel).map(|member| member.msp_id.as_str()).collect();
                let is_known = |msp_id: &str| members.contains(&msp_id) || msp_id == self.topology.ordering.msp_id;
                let is_optional = !is_membership && is_satisfiable(policy, is_known);
                for msp_id in msp_ids(policy).iter().filter(|id| !is_known(id) && (!is_optional || !exists(id))) {
                    let (unknown, name, known) = (shorten(msp_id), &channel.name, listed(&members));
                    let message = format!("{what} names the MSP {unknown}, but the channel {name} has only {known}");
                    misfits.push((path.clone(), message));
                }
            }
        }
        misfits
    }

    /// The names in a case that do not exist, and numbers that no answer can have.
    pub(super) fn case(&self, case: &Case) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        let mut keep = |path: &str, message: String| misfits.push((path.to_owned(), message));
        let channels = &self.topology.channels;
        if case.needs.unmet(None, channels.len(), self.couchdb).is_some() {
            return misfits;
        }
        let channel = match &case.channel {
            Some(name) => channels.iter().find(|channel| channel.name == *name),
            None => channels.first(),
        };
        let Some(channel) = channel else {
            let known: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
            let name = shorten(case.channel.as_deref().unwrap_or_default());
            keep("channel", format!("unknown channel {name}; the network has {}", listed(&known)));
            return misfits;
        };
        if let Some(name) = case.chaincode.as_ref().filter(|name| case.error.is_none() && !self.is_deployed(name)) {
            let known: Vec<String> =
                self.chaincode.definitions().into_iter().map(|definition| definition.name).collect();
            let (name, known) = (shorten(name), listed(&known));
            let message =
                format!("unknown chaincode {name}; the run deploys {known}; to check the answer, expect an `error`");
            keep("chaincode", message);
        }
        let members: Vec<&Organization> = self.members(channel).collect();
        if case.needs.unmet(Some(members.len()), channels.len(), self.couchdb).is_some() {
            return misfits;
        }
        let place = format!("the channel {} has", channel.name);
        if let Some(identity) = &case.identity
            && !members.iter().any(|member| has_identity(member, identity))
        {
            let known: Vec<String> = members.iter().flat_map(|member| identities(member)).collect();
            let name = shorten(&format!("{}@{}", identity.user, identity.organization));
            keep("identity", format!("unknown identity {name}; {place} {}", listed(&known)));
        }
        for (index, name) in case.endorsing_organizations.iter().enumerate() {
            if !members.iter().any(|member| [&member.name, &member.msp_id].contains(&name)) {
                let known: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
                let message = format!("unknown organization {}; {place} {}", shorten(name), listed(&known));
                keep(&format!("endorsing_organizations[{index}]"), message);
            }
        }
        if let Some(count) = case.endorsed_by.filter(|count| *count > members.len()) {
            let has = members.len();
            keep("endorsed_by", format!("{count} organizations cannot endorse; {place} {has}"));
        }
        misfits
    }

    /// Whether a chaincode exists: one of the run's, or one of a peer's own.
    fn is_deployed(&self, name: &str) -> bool {
        name == "_lifecycle"
            || RESERVED_CHAINCODES.contains(&name)
            || self.chaincode.definitions().iter().any(|definition| definition.name == name)
    }

    fn members<'b>(&'b self, channel: &'b Channel) -> impl Iterator<Item = &'b Organization> {
        self.topology.channel_organizations(channel)
    }
}

/// As [`crate::deploy`] makes the clients: each user, and the administrator.
fn has_identity(member: &Organization, identity: &IdentityName) -> bool {
    let number = identity.user.strip_prefix("User").and_then(|number| number.parse::<u32>().ok());
    let exists = number.is_none_or(|number| number <= member.users);
    exists && [&member.name, &member.domain].contains(&&identity.organization)
}

fn identities(member: &Organization) -> impl Iterator<Item = String> + '_ {
    let users = (1..=member.users).map(|number| format!("User{number}"));
    users.chain(["Admin".to_owned()]).map(|user| format!("{user}@{}", member.name))
}

fn listed(names: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(MOST_NAMES).map(AsRef::as_ref).collect();
    let more = if names.len() > MOST_NAMES { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
