//! The values of a package's templates on each peer of the run.

use super::data::Json;
use crate::server::{self, Template};
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The value with the first two parts of the peer's full name, such as `peer0org1`, as in fabric-samples.
const PEER_NAME: &str = "peername";
/// The value with the peer's full name, as in fablo.
const PEER_HOST: &str = "peer_hostname";

/// The values of a package's templates, by name. In texts, `${…}` is a variable of the server, with the address to
/// which peers connect.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(BTreeMap<String, Pattern>);

#[derive(Debug, Clone, PartialEq)]
enum Pattern {
    Text(Template),
    List(Vec<Pattern>),
    Table(BTreeMap<String, Pattern>),
    Other(Value),
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Pattern::of(Json::deserialize(deserializer)?.0) {
            Ok(Pattern::Table(values)) => Ok(Self(values)),
            Ok(_) => Err(D::Error::custom("expected a table with the names and values of the templates")),
            Err(reason) => Err(D::Error::custom(reason)),
        }
    }
}

impl Values {
    /// Whether a value is or contains the address of the run's server.
    pub fn name_the_server(&self) -> bool {
        self.0.values().any(Pattern::has_variables)
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The JSON object of a peer, by its full name: these values, and those that the peers of fabric-samples and
    /// fablo have.
    pub fn of_peer(&self, peer: &str, address: &str, package_id: &str) -> Map<String, Value> {
        let name: String = peer.split('.').take(2).collect();
        let defaults = [(PEER_NAME, json!(name)), (PEER_HOST, json!(peer))];
        let defaults = defaults.into_iter().map(|(name, value)| (name.to_owned(), value));
        defaults.chain(self.of_server(address, package_id)).collect()
    }

    /// The JSON object for a server at this `HOST:PORT` and the package with this ID.
    fn of_server(&self, address: &str, package_id: &str) -> Map<String, Value> {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let known = [
            (server::ADDRESS, address),
            (server::HOST, host.trim_matches(['[', ']'])),
            (server::PORT, port),
            (server::ID, package_id),
        ];
        let known = known.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.0.iter().map(|(name, pattern)| (name.clone(), pattern.fill(&known))).collect()
    }
}

impl Pattern {
    fn of(value: Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Text(text.parse()?),
            Value::Array(items) => Self::List(items.into_iter().map(Self::of).collect::<Result<_, _>>()?),
            Value::Object(members) => {
                let member = |(name, value)| Ok((name, Self::of(value)?));
                Self::Table(members.into_iter().map(member).collect::<Result<_, String>>()?)
            }
            other => Self::Other(other),
        })
    }

    fn has_variables(&self) -> bool {
        match self {
            Self::Text(template) => template.plain().is_none(),
            Self::List(items) => items.iter().any(Self::has_variables),
            Self::Table(members) => members.values().any(Self::has_variables),
            Self::Other(_) => false,
        }
    }

    fn fill(&self, known: &BTreeMap<String, String>) -> Value {
        match self {
            Self::Text(template) => template.fill(known).into(),
            Self::List(items) => items.iter().map(|item| item.fill(known)).collect(),
            Self::Table(members) => members.iter().map(|(name, value)| (name.clone(), value.fill(known))).collect(),
            Self::Other(value) => value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filled_in_wherever_there_is_text() {
        let values = |text: &str| toml::from_str::<BTreeMap<String, Values>>(text).map_err(|error| error.to_string());
        let text = "v = { a = '${CHAINCODE_SERVER_ADDRESS}', l = [1, 'p${CHAINCODE_SERVER_PORT}'], \
                    t = { h = '${CHAINCODE_SERVER_HOST}', b = true, d = '$$' } }";
        let filled = values(text).unwrap()["v"].of_server("[::1]:7", "own_1:00");
        assert_eq!(
            Value::from(filled),
            json!({"a": "[::1]:7", "l": [1, "p7"], "t": {"h": "::1", "b": true, "d": "$"}})
        );
        assert!(values("v = 5").unwrap_err().contains("expected a table"));
        assert!(values("v = { a = '${HOME}' }").unwrap_err().contains("unknown variable ${HOME}"));
    }

    #[test]
    fn peers_have_the_values_of_known_networks_unless_others_are_given() {
        let of = |text: &str| {
            let values = toml::from_str::<BTreeMap<String, Values>>(text).unwrap().remove("v").unwrap_or_default();
            Value::from(values.of_peer("peer0.org1.example.com", "a:1", ""))
        };
        assert_eq!(of(""), json!({"peername": "peer0org1", "peer_hostname": "peer0.org1.example.com"}));
        let given = json!({"peername": "mine", "peer_hostname": "peer0.org1.example.com", "n": 1});
        assert_eq!(of("v = { peername = 'mine', n = 1 }"), given);
    }

    #[test]
    fn values_with_a_variable_name_the_server() {
        let values = |text: &str| toml::from_str::<BTreeMap<String, Values>>(text).unwrap().remove("v").unwrap();
        assert!(values("v = { a = [{ b = '${CHAINCODE_SERVER_PORT}' }] }").name_the_server());
        assert!(!values("v = { a = [{ b = '$$' }, 1] }").name_the_server());
    }
}
