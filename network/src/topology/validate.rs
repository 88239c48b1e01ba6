//! Checks what Fabric requires of a topology. Every rule is checked, so that all mistakes are reported together.

use std::collections::BTreeMap;
use std::time::Duration;

use fabric_primitives::names;
use fabric_primitives::text::shorten;

use super::error::{Mistake, TopologyError};
use super::{Consensus, LONGEST_LIST, Node, Topology};

/// A common name in a certificate has at most 64 characters (RFC 5280, `ub-common-name`), including `tlsca.` or
/// `User1000@` before the domain.
const MAXIMUM_DOMAIN_LENGTH: usize = 54;
const MAXIMUM_COMMON_NAME_LENGTH: usize = 64;
const MAXIMUM_IDENTIFIER_LENGTH: usize = 100;
const MAXIMUM_USERS: u32 = 1000;
/// The limit of a gRPC message is 100 MB; the rest is for the metadata of the block.
const MAXIMUM_BATCH_BYTES: u32 = 99 * 1024 * 1024;
const BATCH_TIMEOUT: (Duration, Duration) = (Duration::from_millis(1), Duration::from_mins(10));
const TICK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(10));
const RAFT_CONSENTERS: [usize; 3] = [1, 3, 5];
const MINIMUM_BFT_CONSENTERS: usize = 4;

impl Topology {
    /// Checks the topology, for any Fabric release.
    ///
    /// # Errors
    ///
    /// Every mistake, with its path.
    pub fn validate(&self) -> Result<(), TopologyError> {
        let mut checker = Checker { topology: self, mistakes: Vec::new() };
        checker.organizations();
        checker.ordering();
        checker.channels();
        checker.uniqueness();
        TopologyError::check(checker.mistakes)
    }
}

struct Checker<'a> {
    topology: &'a Topology,
    mistakes: Vec<Mistake>,
}

impl Checker<'_> {
    fn note(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.mistakes.push(Mistake { path: path.into(), message: message.into(), location: None });
    }

    fn organizations(&mut self) {
        self.list_length("organizations", self.topology.organizations.len());
        for (index, organization) in self.topology.organizations.iter().enumerate() {
            let path = format!("organizations[{index}]");
            self.names(&path, &organization.name, &organization.msp_id, &organization.domain);
            self.nodes(&format!("{path}.peers"), &organization.peers, &organization.domain);
            if organization.users > MAXIMUM_USERS {
                self.note(
                    format!("{path}.users"),
                    format!("must be at most {MAXIMUM_USERS}, not {}", organization.users),
                );
            }
        }
    }

    fn ordering(&mut self) {
        let ordering = &self.topology.ordering;
        self.names("ordering", &ordering.name, &ordering.msp_id, &ordering.domain);
        self.nodes("ordering.orderers", &ordering.orderers, &ordering.domain);
        let count = ordering.orderers.len();
        match ordering.consensus {
            _ if count == 0 => {}
            Consensus::Etcdraft if !RAFT_CONSENTERS.contains(&count) => self.note(
                "ordering.orderers",
                format!("must be 1, 3 or 5 with etcdraft, not {count}"),
            ),
            Consensus::Bft if count < MINIMUM_BFT_CONSENTERS => self.note(
                "ordering.orderers",
                format!(
                    "must be at least {MINIMUM_BFT_CONSENTERS} with bft, which tolerates failures of less than a third, not {count}"
                ),
            ),
            Consensus::Etcdraft | Consensus::Bft => {}
        }
        self.duration("ordering.tick", ordering.tick, TICK);
        self.duration("ordering.batch.timeout", ordering.batch.timeout, BATCH_TIMEOUT);
        self.batch();
    }

    fn batch(&mut self) {
        let batch = &self.topology.ordering.batch;
        if batch.max_messages == 0 {
            self.note("ordering.batch.max_messages", "must be at least 1");
        }
        if batch.absolute_max_bytes == 0 || batch.absolute_max_bytes > MAXIMUM_BATCH_BYTES {
            self.note(
                "ordering.batch.absolute_max_bytes",
                format!("must be from 1 to {MAXIMUM_BATCH_BYTES} bytes (99 MB), not {}", batch.absolute_max_bytes),
            );
        }
        if batch.preferred_max_bytes == 0 {
            self.note("ordering.batch.preferred_max_bytes", "must be at least 1 byte");
        } else if batch.preferred_max_bytes > batch.absolute_max_bytes {
            self.note(
                "ordering.batch.preferred_max_bytes",
                format!(
                    "must be at most absolute_max_bytes ({}), not {}",
                    batch.absolute_max_bytes, batch.preferred_max_bytes
                ),
            );
        }
    }

    fn channels(&mut self) {
        self.list_length("channels", self.topology.channels.len());
        for (index, channel) in self.topology.channels.iter().enumerate() {
            let path = format!("channels[{index}]");
            if let Err(invalid) = names::channel(&channel.name) {
                self.note(format!("{path}.name"), invalid.to_string());
            }
            let mut seen = BTreeMap::new();
            for (position, name) in channel.organizations.iter().enumerate() {
                let path = format!("{path}.organizations[{position}]");
                let known = self.topology.organizations.iter().any(|organization| organization.name == *name);
                if !known && self.every_organization_is_named() {
                    let message = self.unknown_organization(name);
                    self.note(path, message);
                } else if known && let Some(first) = seen.insert(name, position) {
                    self.note(path, format!("duplicate organization `{name}`, already at [{first}]"));
                }
            }
        }
    }

    /// Otherwise, an unknown organization may be one whose name is missing, which is a separate mistake.
    fn every_organization_is_named(&self) -> bool {
        self.topology.organizations.iter().all(|organization| !organization.name.is_empty())
    }

    fn unknown_organization(&self, name: &str) -> String {
        let names: Vec<_> = self
            .topology
            .organizations
            .iter()
            .map(|organization| format!("`{}`", shorten(&organization.name)))
            .collect();
        format!("unknown organization `{}`; known: {}", shorten(name), names.join(", "))
    }

    /// The name, MSP ID and domain of an organization.
    fn names(&mut self, path: &str, name: &str, msp_id: &str, domain: &str) {
        if let Some(message) = identifier_mistake(name, "name", &['.', '-']) {
            self.note(format!("{path}.name"), message);
        }
        // An MSP ID derived from a missing name is not a second mistake.
        let is_derived = name.is_empty() && msp_id.is_empty();
        if !is_derived && let Some(message) = identifier_mistake(msp_id, "MSP ID", &['.', '-', '_']) {
            self.note(format!("{path}.msp_id"), message);
        }
        if let Some(message) = domain_mistake(domain) {
            self.note(format!("{path}.domain"), message);
        }
    }

    fn nodes(&mut self, path: &str, nodes: &[Node], domain: &str) {
        self.list_length(path, nodes.len());
        let mut seen = BTreeMap::new();
        for (index, node) in nodes.iter().enumerate() {
            let name_path = format!("{path}[{index}].name");
            if let Err(invalid) = names::dns_label(&node.name) {
                self.note(name_path, invalid.to_string());
            } else if node.name.len() + 1 + domain.len() > MAXIMUM_COMMON_NAME_LENGTH {
                self.note(
                    name_path,
                    format!(
                        "`{}.{}` has more than {MAXIMUM_COMMON_NAME_LENGTH} characters, the limit of a certificate's common name",
                        node.name,
                        shorten(domain)
                    ),
                );
            } else if let Some(first) = seen.insert(&node.name, index) {
                self.note(name_path, format!("duplicate name `{}`, already used by [{first}]", node.name));
            }
        }
    }

    /// Names, MSP IDs and domains of organizations, and names of channels, must be unique.
    fn uniqueness(&mut self) {
        let ordering = &self.topology.ordering;
        let all: Vec<(String, [&str; 3])> = self
            .topology
            .organizations
            .iter()
            .enumerate()
            .map(|(index, organization)| {
                let values = [&*organization.name, &*organization.msp_id, &*organization.domain];
                (format!("organizations[{index}]"), values)
            })
            .chain([("ordering".to_owned(), [&*ordering.name, &*ordering.msp_id, &*ordering.domain])])
            .collect();
        for (position, field) in ["name", "msp_id", "domain"].into_iter().enumerate() {
            let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
            for (path, values) in &all {
                let value = values[position];
                if value.is_empty() {
                    continue;
                }
                if let Some(first) = seen.get(value) {
                    self.note(
                        format!("{path}.{field}"),
                        format!("duplicate {field} `{}`, already used by {first}", shorten(value)),
                    );
                } else {
                    seen.insert(value, path);
                }
            }
        }
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, channel) in self.topology.channels.iter().enumerate() {
            if let Some(first) = seen.get(&*channel.name) {
                self.note(
                    format!("channels[{index}].name"),
                    format!("duplicate name `{}`, already used by channels[{first}]", shorten(&channel.name)),
                );
            } else {
                seen.insert(&channel.name, index);
            }
        }
    }

    fn list_length(&mut self, path: &str, length: usize) {
        if length == 0 {
            self.note(path, "must not be empty");
        } else if length > LONGEST_LIST {
            self.note(path, format!("must have at most {LONGEST_LIST} entries, not {length}"));
        }
    }

    fn duration(&mut self, path: &str, value: Duration, (least, most): (Duration, Duration)) {
        if value < least || value > most {
            self.note(
                path,
                format!(
                    "must be from {} to {}, not {}",
                    humantime::format_duration(least),
                    humantime::format_duration(most),
                    humantime::format_duration(value)
                ),
            );
        }
    }
}

fn domain_mistake(domain: &str) -> Option<String> {
    if domain.len() > MAXIMUM_DOMAIN_LENGTH {
        return Some(format!(
            "`{}` has more than {MAXIMUM_DOMAIN_LENGTH} characters, the limit of a domain in a certificate's common name",
            shorten(domain)
        ));
    }
    names::domain(domain).err().map(|invalid| invalid.to_string())
}

/// What is wrong with the key of a configuration group (`common/configtx/validator.go`) with this punctuation.
fn identifier_mistake(text: &str, what: &str, punctuation: &[char]) -> Option<String> {
    let fits = (1..=MAXIMUM_IDENTIFIER_LENGTH).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || punctuation.contains(&c))
        && text.chars().any(|c| c.is_ascii_alphanumeric());
    (!fits).then(|| {
        let allowed: Vec<_> = punctuation.iter().map(|c| format!("`{c}`")).collect();
        format!(
            "invalid {what} `{}`: use 1 to {MAXIMUM_IDENTIFIER_LENGTH} letters, digits, {}",
            shorten(text),
            allowed.join(" and ")
        )
    })
}
