//! The target of the cases: channels, the clients of their organizations, and the features of the network.

use super::Difference;
use super::cases::{Case, IdentityName, Setup};
use super::data::Data;
use crate::client::readiness::answers_again;
use crate::client::{ClientError, Invocation, PeerClient, await_endorsers};
use futures::future::{BoxFuture, try_join_all};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The chaincode under test and its clients.
#[derive(Debug)]
pub struct Target {
    /// The channels on which it is committed. The first one is the default.
    pub channels: Vec<Channel>,
    /// The chaincode's name in its definition.
    pub chaincode: String,
    /// Every name under which it is committed, the first one included.
    pub chaincodes: Vec<String>,
    /// Whether its first call must be its initialization.
    pub init_required: bool,
    /// Whether the peers' state database is CouchDB.
    pub couchdb: bool,
    /// Whether the harness can restart the chaincode server.
    pub can_restart: bool,
    /// Timeout of each wait.
    pub timeout: Duration,
    /// The nodes that are stopped. Nobody waits for them.
    pub stopped: Mutex<BTreeSet<String>>,
}

/// A channel with the chaincode.
#[derive(Debug)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// All peers of the channel. A case ends when all have committed its transaction; otherwise peers would endorse the
    /// next one with different states, and the endorsements would not match.
    pub peers: Vec<PeerClient>,
    /// The clients. The first one is the default.
    pub clients: Vec<Client>,
    /// Name and MSP ID of each organization.
    pub organizations: Vec<(String, String)>,
}

/// A user or an administrator.
#[derive(Debug)]
pub struct Client {
    /// `Admin`, or `User` and a number.
    pub user: String,
    /// The organization's name.
    pub organization: String,
    /// The organization's domain.
    pub domain: String,
    /// The first peer of its organization, with this client's identity.
    pub gateway: PeerClient,
}

impl Target {
    /// What the case needs and the network does not have.
    pub(super) fn lacks(&self, case: &Case) -> Option<String> {
        let organizations = self.channel_of(case).ok().map(|channel| channel.organizations.len());
        if case.setup.as_ref().is_some_and(Setup::is_of_chaincode) && !self.can_restart {
            return Some("the harness does not manage the chaincode server".to_owned());
        }
        case.needs.unmet(organizations, self.channels.len(), self.couchdb)
    }

    /// Replaces the names of the stopped nodes.
    pub fn set_stopped(&self, names: BTreeSet<String>) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    fn stopped(&self) -> BTreeSet<String> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The peers of a channel that are not stopped.
    pub(super) fn running_peers(&self, channel: &Channel) -> Vec<PeerClient> {
        let stopped = self.stopped();
        channel.peers.iter().filter(|peer| !stopped.contains(peer.node().name())).cloned().collect()
    }

    /// The case's channel.
    pub(super) fn channel_of(&self, case: &Case) -> Result<&Channel, Difference> {
        self.channel(case.channel.as_deref())
    }

    /// The channel of this name, or the default one.
    pub(crate) fn channel(&self, name: Option<&str>) -> Result<&Channel, Difference> {
        let found = match name {
            Some(name) => self.channels.iter().find(|channel| channel.name == name),
            None => self.channels.first(),
        };
        found.ok_or_else(|| {
            let known: Vec<&str> = self.channels.iter().map(|channel| channel.name.as_str()).collect();
            Difference {
                expected: format!("a channel {}", name.unwrap_or_default()),
                seen: format!("the channels {}", known.join(", ")),
            }
        })
    }

    pub(super) fn invocation(&self, case: &Case, channel: &Channel) -> Invocation {
        Invocation {
            channel: channel.name.clone(),
            chaincode: case.chaincode.as_ref().unwrap_or(&self.chaincode).clone(),
            arguments: case.call().arguments().iter().map(Data::bytes).collect(),
            transient: case.transient.iter().map(|(name, value)| (name.clone(), value.bytes())).collect(),
            init: case.init,
        }
    }

    /// Waits until each chaincode answers on each channel. An error of the chaincode is an answer as well.
    ///
    /// # Errors
    ///
    /// Why it does not answer.
    pub async fn first_answer(&self) -> Result<(), ClientError> {
        for channel in &self.channels {
            let client = channel.clients.first().ok_or(ClientError::NoPeer { operation: "ask the gateway" })?;
            for chaincode in &self.chaincodes {
                let probe = Invocation { init: self.init_required, ..Invocation::probe(&channel.name, chaincode) };
                client.gateway.await_chaincode(&probe, self.deadline()).await?;
            }
        }
        Ok(())
    }

    /// Waits until the gateway of each peer knows every endorser of each channel and chaincode. It learns of them by
    /// gossip, which takes time. Not while nodes are stopped, because they may be needed.
    ///
    /// # Errors
    ///
    /// What a peer does not know at the timeout, or a failed call.
    pub async fn endorsers_are_known(&self) -> Result<(), ClientError> {
        if !self.stopped().is_empty() {
            return Ok(());
        }
        let mut known = Vec::new();
        for channel in &self.channels {
            for chaincode in &self.chaincodes {
                known.push(await_endorsers(&channel.peers, &channel.name, chaincode, self.deadline()));
            }
        }
        try_join_all(known).await.map(drop)
    }

    /// Waits until restarted peers serve as before: each answers on its existing connection and knows the endorsers.
    ///
    /// # Errors
    ///
    /// The first peer that times out, or a failed call.
    pub fn serves_again(&self) -> BoxFuture<'_, Result<(), ClientError>> {
        Box::pin(async {
            self.answers_again().await?;
            self.endorsers_are_known().await
        })
    }

    /// Waits until every peer that is not stopped answers on its existing connection.
    async fn answers_again(&self) -> Result<(), ClientError> {
        let stopped = self.stopped();
        for channel in &self.channels {
            let clients = channel.clients.iter().map(|client| &client.gateway);
            for peer in channel.peers.iter().chain(clients).filter(|peer| !stopped.contains(peer.node().name())) {
                answers_again(peer.node(), self.deadline()).await?;
            }
        }
        Ok(())
    }

    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }
}

impl Channel {
    /// The client of this name, or the default one.
    pub(crate) fn client(&self, name: Option<&IdentityName>) -> Result<&Client, Difference> {
        let found = match name {
            None => self.clients.first(),
            Some(name) => self.clients.iter().find(|client| {
                let organizations = [&client.organization, &client.domain];
                client.user == name.user && organizations.contains(&&name.organization)
            }),
        };
        found.ok_or_else(|| {
            let known = self.clients.iter().map(|client| format!("{}@{}", client.user, client.organization));
            let name = name.map(|name| format!(" {}@{}", name.user, name.organization)).unwrap_or_default();
            Difference {
                expected: format!("an identity{name}"),
                seen: format!("the identities {}", known.collect::<Vec<_>>().join(", ")),
            }
        })
    }

    /// The MSP IDs of organizations, given by name or MSP ID.
    pub(crate) fn msp_ids(&self, organizations: &[String]) -> Result<Vec<String>, Difference> {
        let msp_id = |wanted: &String| {
            let known = self.organizations.iter().find(|(name, msp_id)| [name, msp_id].contains(&wanted));
            known.map(|(_, msp_id)| msp_id.clone()).ok_or_else(|| {
                let known: Vec<&str> = self.organizations.iter().map(|(name, _)| name.as_str()).collect();
                Difference {
                    expected: format!("an organization {wanted} in the channel {}", self.name),
                    seen: format!("the organizations {}", known.join(", ")),
                }
            })
        };
        organizations.iter().map(msp_id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::cases::CaseFile;
    use super::*;

    fn case(text: &str) -> Case {
        let text = format!("[[case]]\nname = 'c'\nevaluate = ['F']\n{text}");
        CaseFile::from_toml("t", &text).unwrap().cases.remove(0)
    }

    fn target(couchdb: bool) -> Target {
        let channel = Channel {
            name: "mychannel".to_owned(),
            peers: Vec::new(),
            clients: Vec::new(),
            organizations: vec![("Org1".to_owned(), "Org1MSP".to_owned())],
        };
        Target {
            channels: vec![channel],
            chaincode: "basic".to_owned(),
            chaincodes: vec!["basic".to_owned()],
            init_required: false,
            couchdb,
            can_restart: !couchdb,
            timeout: Duration::from_secs(1),
            stopped: Mutex::default(),
        }
    }

    #[test]
    fn a_case_is_not_run_if_the_network_does_not_have_what_it_needs() {
        for (needs, couchdb, expected) in [
            ("", false, None),
            ("needs = { organizations = 1, channels = 1 }", false, None),
            ("needs = { organizations = 2 }", false, Some("needs 2 organizations, the channel has 1")),
            ("needs = { channels = 2 }", false, Some("needs 2 channels, the network has 1")),
            ("needs = { couchdb = true }", true, None),
            ("needs = { couchdb = false }", false, None),
            ("needs = { couchdb = true }", false, Some("needs CouchDB as the state database, the peers have LevelDB")),
            ("setup = 'restart-chaincode'", false, None),
            ("setup = 'restart-chaincode'", true, Some("the harness does not manage the chaincode server")),
            ("setup = 'kill chaincode'", true, Some("the harness does not manage the chaincode server")),
            ("setup = 'kill peer0.org1'", true, None),
            ("needs = { couchdb = false }", true, Some("needs LevelDB as the state database, the peers have CouchDB")),
        ] {
            assert_eq!(target(couchdb).lacks(&case(needs)).as_deref(), expected, "{needs}");
        }
    }

    #[test]
    fn an_unknown_name_is_reported_with_the_known_ones() {
        let target = target(false);
        let channel = target.channel_of(&case("")).unwrap();
        let absent = target.channel_of(&case("channel = 'other'")).unwrap_err();
        assert_eq!((absent.expected.as_str(), absent.seen.as_str()), ("a channel other", "the channels mychannel"));
        let identity = case("identity = 'User2@Org1'").identity;
        assert_eq!(channel.client(identity.as_ref()).unwrap_err().expected, "an identity User2@Org1");
        let known = ["Org1".to_owned(), "Org1MSP".to_owned()];
        assert_eq!(channel.msp_ids(&known).unwrap(), ["Org1MSP", "Org1MSP"]);
        assert_eq!(channel.msp_ids(&["Org2".to_owned()]).unwrap_err().seen, "the organizations Org1");
    }

    #[test]
    fn an_invocation_is_that_of_the_case() {
        let target = target(false);
        let case = case("transient = { a = 'b' }\nchaincode = 'other'");
        let invocation = target.invocation(&case, &target.channels[0]);
        let expected = Invocation::new("mychannel", "other", "F").transient("a", "b");
        assert_eq!(invocation, expected);
    }
}
