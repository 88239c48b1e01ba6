//! Cases as data: a call and its expected result. [`CaseFile`] reads them from a file.

pub use super::file::{CaseFile, CaseFileError};

use super::data::{Base64, Data, Json};
use super::saved::{Save, Until};
use super::scope::Misfit;
use crate::runtime::{Action, Running};
use fabric_network::topology::LONGEST_LIST;
use fabric_protos::protos::TxValidationCode;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A call and its expected result.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The name: a sentence that holds if the case passes.
    pub name: String,
    /// Function and arguments of a transaction that is endorsed, ordered and committed.
    pub submit: Option<Vec<Data>>,
    /// Function and arguments of a call that is only evaluated on one peer.
    pub evaluate: Option<Vec<Data>>,
    /// Whether the call is the chaincode's initialization. Default no.
    #[serde(default)]
    pub init: bool,
    /// Transient data, by name. Default none.
    #[serde(default)]
    pub transient: BTreeMap<String, Data>,
    /// The caller. Default: the first user of the channel's first organization.
    pub identity: Option<IdentityName>,
    /// The channel. Default: the topology's first.
    pub channel: Option<String>,
    /// The chaincode's name in its definition. Default: the one under test.
    pub chaincode: Option<String>,
    /// Names or MSP IDs of organizations that endorse; for `evaluate`, one of them evaluates. Default: the gateway
    /// chooses.
    #[serde(default)]
    pub endorsing_organizations: Vec<String>,
    /// The expected payload as JSON; an object may have more members.
    pub payload: Option<Json>,
    /// The expected payload as text.
    pub payload_text: Option<String>,
    /// The expected payload as bytes.
    pub payload_base64: Option<Base64>,
    /// The expected status of the chaincode's response. From 400 it is an error for the client.
    pub status: Option<i32>,
    /// A text that the client's error must contain.
    pub error: Option<String>,
    /// The validation code of a transaction that must be committed as invalid.
    pub invalid: Option<InvalidCode>,
    /// The expected chaincode event.
    pub event: Option<ExpectedEvent>,
    /// How many organizations must have endorsed.
    pub endorsed_by: Option<usize>,
    /// What is done before the call. `after` is a former name of the field.
    #[serde(alias = "after")]
    pub setup: Option<Setup>,
    /// The values that are taken from the payload, for later cases. Default: none.
    #[serde(default)]
    pub save: Save,
    /// How long an `evaluate` is repeated until the case passes. Default: it is called once.
    pub until: Option<Until>,
    /// What the case needs; otherwise it is not run. Default: nothing.
    #[serde(default)]
    pub needs: Needs,
}

/// A user or administrator and its organization, by the organization's name or domain:
/// `User1@Org1`, `Admin@org1.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityName {
    /// `Admin`, or `User` and a number from 1.
    pub user: String,
    /// Name or domain of the organization.
    pub organization: String,
}

impl FromStr for IdentityName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_user = |user: &str| {
            let number = user.strip_prefix("User").and_then(|number| number.parse::<u32>().ok());
            user == "Admin" || number.is_some_and(|number| user == format!("User{number}") && number > 0)
        };
        match text.split_once('@') {
            Some((user, organization)) if is_user(user) && !organization.is_empty() => {
                Ok(Self { user: user.to_owned(), organization: organization.to_owned() })
            }
            _ => Err(format!("invalid identity {text:?}; give Admin@ORGANIZATION, User1@ORGANIZATION, …")),
        }
    }
}

impl<'de> Deserialize<'de> for IdentityName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A validation code other than `VALID`, by its name in Fabric's `TxValidationCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidCode(pub TxValidationCode);

impl<'de> Deserialize<'de> for InvalidCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match TxValidationCode::from_str_name(&text) {
            Some(code) if code != TxValidationCode::Valid => Ok(Self(code)),
            _ => Err(serde::de::Error::custom(
                "not a validation code of an invalid transaction, such as ENDORSEMENT_POLICY_FAILURE or MVCC_READ_CONFLICT",
            )),
        }
    }
}

/// An expected chaincode event.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedEvent {
    /// The event's name.
    pub name: String,
    /// Its payload as JSON; an object may have more members. Default: any payload.
    pub payload: Option<Json>,
}

/// What is done before the call of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setup {
    /// Restart the chaincode server at the same address.
    RestartChaincode,
    /// Restart every peer with its data.
    RestartPeers,
    /// Restart, stop, kill or start one node or chaincode server, until another case starts it again.
    Control(Action, String),
}

impl Setup {
    const RESTART_CHAINCODE: &str = "restart-chaincode";
    const RESTART_PEERS: &str = "restart-peers";

    /// Whether it is about every chaincode server.
    pub(super) fn is_of_chaincode(&self) -> bool {
        match self {
            Self::RestartChaincode => true,
            Self::RestartPeers => false,
            Self::Control(_, name) => name == Running::EVERY_SERVER,
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RestartChaincode => formatter.write_str(Self::RESTART_CHAINCODE),
            Self::RestartPeers => formatter.write_str(Self::RESTART_PEERS),
            Self::Control(action, name) => write!(formatter, "{} {name}", action.name()),
        }
    }
}

impl FromStr for Setup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            Self::RESTART_CHAINCODE => return Ok(Self::RestartChaincode),
            Self::RESTART_PEERS => return Ok(Self::RestartPeers),
            _ => {}
        }
        let named = text.split_once(' ').and_then(|(action, name)| {
            let (_, action) = Action::ALL.into_iter().find(|(known, _)| *known == action)?;
            (!name.is_empty() && !name.contains(char::is_whitespace)).then(|| Self::Control(action, name.to_owned()))
        });
        named.ok_or_else(|| {
            format!(
                "invalid setup {text:?}; give {}, {}, or one of {} with `chaincode` or a node's name: \"stop peer0.org2\"",
                Self::RESTART_CHAINCODE,
                Self::RESTART_PEERS,
                Action::ALL.map(|(name, _)| name).join(", ")
            )
        })
    }
}

impl<'de> Deserialize<'de> for Setup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a case needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Needs {
    /// The smallest number of organizations in the channel. Default 0.
    pub organizations: usize,
    /// The smallest number of channels. Default 0.
    pub channels: usize,
    /// Whether the peers' state database must be CouchDB (true) or LevelDB (false). Default: any.
    pub couchdb: Option<bool>,
}

impl Needs {
    /// What a network with this many channels does not have. `organizations` is the number in the case's channel, if
    /// that is known.
    pub(super) fn unmet(&self, organizations: Option<usize>, channels: usize, couchdb: bool) -> Option<String> {
        if channels < self.channels {
            return Some(format!("needs {} channels, the network has {channels}", self.channels));
        }
        if let Some(organizations) = organizations.filter(|organizations| *organizations < self.organizations) {
            return Some(format!("needs {} organizations, the channel has {organizations}", self.organizations));
        }
        let name = |couchdb: bool| if couchdb { "CouchDB" } else { "LevelDB" };
        let needed = self.couchdb.filter(|needed| *needed != couchdb)?;
        Some(format!("needs {} as the state database, the peers have {}", name(needed), name(couchdb)))
    }
}

/// How a case calls the chaincode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call<'a> {
    /// A transaction that is endorsed, ordered and committed.
    Submit(&'a [Data]),
    /// A call that one peer evaluates.
    Evaluate(&'a [Data]),
}

impl Call<'_> {
    /// Function and arguments.
    pub fn arguments(&self) -> &[Data] {
        match self {
            Self::Submit(arguments) | Self::Evaluate(arguments) => arguments,
        }
    }
}

/// Below this status, gateways treat a chaincode's response as an error (`internal/pkg/gateway/apiutils.go`).
const LOWEST_STATUS: i32 = 200;

/// From this status, a chaincode's response is an error, which peers do not endorse.
const ERROR_THRESHOLD: i32 = 400;

impl Case {
    /// What the case calls.
    pub fn call(&self) -> Call<'_> {
        match (&self.submit, &self.evaluate) {
            (Some(arguments), _) => Call::Submit(arguments),
            (None, arguments) => Call::Evaluate(arguments.as_deref().unwrap_or_default()),
        }
    }

    /// Whether the call must end in an error before anything is ordered.
    pub fn must_fail(&self) -> bool {
        self.error.is_some() || self.status.is_some_and(|status| status >= ERROR_THRESHOLD)
    }

    /// Why the case says little if it passes after this number of comparisons.
    pub(super) fn weakness(&self, checked: usize) -> Option<&'static str> {
        let event = self.event.as_ref().and_then(|event| event.payload.as_ref());
        let matches_all = |json: &Json| json.0.as_object().is_some_and(serde_json::Map::is_empty);
        if self.payload.as_ref().or(event).is_some_and(matches_all) {
            Some("any object matches the `payload` {}; give the expected members")
        } else if checked == 0 {
            Some("it checks only that the call succeeds; add a `payload`, `payload_text`, `status` or `error`")
        } else {
            None
        }
    }

    /// What is wrong in any network, each with the path of its value.
    pub(super) fn misfits(&self) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        let mut keep = |is_wrong: bool, path: &str, message: String| {
            if is_wrong {
                misfits.push((path.to_owned(), message));
            }
        };
        let is_empty = |text: &str| text.trim().is_empty();
        keep(is_empty(&self.name), "name", "the name is empty; give what is true when the case passes".to_owned());
        if let Err(reason) = self.contradiction() {
            keep(true, "", reason.to_owned());
        }
        let lowest = self.status.is_some_and(|status| status < LOWEST_STATUS);
        let message =
            format!("must be at least {LOWEST_STATUS}; gateways report a lower status as an error without it");
        keep(lowest, "status", message);
        let message = "is empty, which every error contains; give a part of the expected text";
        keep(self.error.as_deref().is_some_and(is_empty), "error", message.to_owned());
        let message = "a chaincode event has a name, but this one is empty";
        keep(self.event.as_ref().is_some_and(|event| is_empty(&event.name)), "event.name", message.to_owned());
        keep(self.endorsed_by == Some(0), "endorsed_by", "must be at least 1".to_owned());
        for (path, needed) in
            [("needs.organizations", self.needs.organizations), ("needs.channels", self.needs.channels)]
        {
            let message = format!("no network has {needed}; at most {LONGEST_LIST} are possible");
            keep(needed > LONGEST_LIST, path, message);
        }
        misfits
    }

    /// Checks that the fields do not contradict each other.
    fn contradiction(&self) -> Result<(), &'static str> {
        let ((Some(arguments), None) | (None, Some(arguments))) = (&self.submit, &self.evaluate) else {
            return Err("give one of `submit` and `evaluate`");
        };
        if arguments.is_empty() {
            return Err("no function; the first argument is its name");
        }
        let payloads = [self.payload.is_some(), self.payload_text.is_some(), self.payload_base64.is_some()];
        if payloads.iter().filter(|is_given| **is_given).count() > 1 {
            return Err("give one of `payload`, `payload_text` and `payload_base64`");
        }
        let of_submit = self.event.is_some() || self.endorsed_by.is_some() || self.invalid.is_some();
        if self.must_fail() && (payloads.contains(&true) || of_submit || !self.save.is_empty()) {
            return Err("a call that must fail has no payload, event, endorsements or validation code");
        }
        if self.submit.is_some() && self.until.is_some() {
            return Err("`until` repeats the call, so it needs `evaluate`");
        }
        if self.status.is_some_and(|status| status < ERROR_THRESHOLD) && self.error.is_some() {
            return Err("a status below 400 is a success and has no `error`");
        }
        if self.evaluate.is_some() && (of_submit || self.init) {
            return Err(
                "only a submitted transaction has an event, endorsements or a validation code, or can be an `init`; \
                 use `submit`",
            );
        }
        if self.invalid.is_some() && self.event.is_some() {
            return Err("an invalid transaction brings no event");
        }
        Ok(())
    }
}
