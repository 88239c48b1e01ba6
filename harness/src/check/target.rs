//! Whom the cases call: channels, the clients of their organizations, and what the network has.

use super::Difference;
use super::cases::{Case, IdentityName, Setup};
use crate::client::readiness::answers_again;
use crate::client::{ClientError, Invocation, PeerClient};
use std::time::Duration;
use tokio::time::Instant;

/// The chaincode under test, as its clients see it.
#[derive(Debug)]
pub struct Target {
    /// The channels on which it is committed, the default one first.
    pub channels: Vec<Channel>,
    /// The chaincode's name in its definition.
    pub chaincode: String,
    /// Whether the peers' state database is CouchDB.
    pub couchdb: bool,
    /// Whether the chaincode server is started, and so can be restarted, by the harness.
    pub can_restart: bool,
    /// Longest wait for any one thing.
    pub timeout: Duration,
}

/// A channel with the chaincode.
#[derive(Debug)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// Every peer of the channel. A case ends when all of them have committed its transaction:
    /// peers that lag endorse the next one on another state, and the endorsements do not match.
    pub peers: Vec<PeerClient>,
    /// Who may call, the default one first.
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
    /// The first peer of its organization, called by this client.
    pub gateway: PeerClient,
}

impl Target {
    /// What the network lacks for this case, if anything.
    pub(super) fn lacks(&self, case: &Case) -> Option<String> {
        let organizations = self.channel_of(case).map_or(0, |channel| channel.organizations.len());
        if organizations < case.needs.organizations {
            return Some(format!("needs {} organizations, the channel has {organizations}", case.needs.organizations));
        }
        if self.channels.len() < case.needs.channels {
            return Some(format!("needs {} channels, the network has {}", case.needs.channels, self.channels.len()));
        }
        if case.setup == Some(Setup::RestartChaincode) && !self.can_restart {
            return Some("the chaincode server is not the harness's to restart".to_owned());
        }
        let database = if self.couchdb { "CouchDB" } else { "LevelDB" };
        match case.needs.couchdb {
            Some(couchdb) if couchdb != self.couchdb => {
                let needed = if couchdb { "CouchDB" } else { "LevelDB" };
                Some(format!("needs {needed} as the state database, the peers have {database}"))
            }
            _ => None,
        }
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
            arguments: case.call().arguments().iter().map(|argument| argument.bytes().to_vec()).collect(),
            transient: case.transient.iter().map(|(name, value)| (name.clone(), value.bytes().to_vec())).collect(),
            init: case.init,
        }
    }

    /// Has one peer of each channel simulate the case's call: whether the commit has really brought
    /// the chaincode. What it answers does not matter, and an error of the chaincode is an answer too.
    ///
    /// # Errors
    ///
    /// What the gateway said.
    pub async fn first_answer(&self, probe: &Case) -> Result<(), ClientError> {
        for channel in &self.channels {
            let invocation = self.invocation(probe, channel);
            match channel.default_client()?.evaluate(&invocation, &[], self.deadline()).await {
                Err(error) if error.chaincode_error().is_none() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits until the gateway of each organization can plan an endorsement. It learns from gossip
    /// which peers of other organizations run the chaincode, and gossip takes its time.
    ///
    /// # Errors
    ///
    /// When a gateway refuses for another reason, or knows too few peers until the time-out.
    pub async fn endorsers_are_known(&self, probe: &Case) -> Result<(), ClientError> {
        for channel in &self.channels {
            let invocation = self.invocation(probe, channel);
            let organizations = channel.msp_ids(&probe.endorsing_organizations).unwrap_or_default();
            channel.default_client()?.await_endorsers(&invocation, &organizations, self.deadline()).await?;
        }
        Ok(())
    }

    /// Waits until every peer answers on the connection that there is to it, after it was restarted.
    ///
    /// # Errors
    ///
    /// The first that does not until the time-out.
    pub async fn answers_again(&self) -> Result<(), ClientError> {
        let clients = self.channels.iter().flat_map(|channel| channel.clients.iter().map(|client| &client.gateway));
        for peer in self.channels.iter().flat_map(|channel| &channel.peers).chain(clients) {
            answers_again(peer.node(), self.deadline()).await?;
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

    /// The MSP IDs of organizations that are given by their names or MSP IDs.
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

    fn default_client(&self) -> Result<&PeerClient, ClientError> {
        let client = self.clients.first().ok_or(ClientError::NoPeer { operation: "ask the gateway" })?;
        Ok(&client.gateway)
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
        let (chaincode, timeout) = ("basic".to_owned(), Duration::from_secs(1));
        Target { channels: vec![channel], chaincode, couchdb, can_restart: !couchdb, timeout }
    }

    #[test]
    fn a_case_is_not_run_where_the_network_lacks_what_it_needs() {
        for (needs, couchdb, expected) in [
            ("", false, None),
            ("needs = { organizations = 1, channels = 1 }", false, None),
            ("needs = { organizations = 2 }", false, Some("needs 2 organizations, the channel has 1")),
            ("needs = { channels = 2 }", false, Some("needs 2 channels, the network has 1")),
            ("needs = { couchdb = true }", true, None),
            ("needs = { couchdb = false }", false, None),
            ("needs = { couchdb = true }", false, Some("needs CouchDB as the state database, the peers have LevelDB")),
            ("setup = 'restart-chaincode'", false, None),
            ("setup = 'restart-chaincode'", true, Some("the chaincode server is not the harness's to restart")),
            ("needs = { couchdb = false }", true, Some("needs LevelDB as the state database, the peers have CouchDB")),
        ] {
            assert_eq!(target(couchdb).lacks(&case(needs)).as_deref(), expected, "{needs}");
        }
    }

    #[test]
    fn a_name_that_the_network_has_not_is_told_beside_those_that_it_has() {
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
    fn an_invocation_is_what_the_case_says() {
        let target = target(false);
        let case = case("transient = { a = 'b' }\nchaincode = 'other'");
        let invocation = target.invocation(&case, &target.channels[0]);
        let expected = Invocation::new("mychannel", "other", "F").transient("a", "b");
        assert_eq!(invocation, expected);
    }
}
