//! Topologies from and to YAML.
//!
//! The reader collects every value of a wrong type and every unknown or missing field, then validates the result
//! (`validate`), and reports all mistakes together.

use std::collections::BTreeMap;
use std::time::Duration;

use fabric_primitives::text::shorten;
use serde::Serializer;

use super::error::{Location, Mistake, TopologyError};
use super::tree::{self, Tree, Value};
use super::{Batch, Channel, Consensus, Node, Ordering, Organization, Rule, Topology};

const UNITS: [(&str, u32); 3] = [("MB", 1024 * 1024), ("KB", 1024), ("B", 1)];

impl Topology {
    /// Reads a topology from YAML and validates it.
    ///
    /// # Errors
    ///
    /// Every mistake in the text with its path, line and column; for text that is not YAML, the
    /// first syntax error.
    pub fn from_yaml(text: &str) -> Result<Self, TopologyError> {
        let tree = tree::parse(text)?;
        let mut reader = Reader::default();
        let topology = reader.topology(&tree);
        // An unreadable value was replaced with a default, whose mistakes are not the user's.
        if let Err(error) = topology.validate() {
            for mut mistake in error.into_mistakes() {
                if !reader.is_covered(&mistake.path) {
                    mistake.location = reader.location_of(&mistake.path);
                    reader.mistakes.push(mistake);
                }
            }
        }
        reader.mistakes.sort_by_key(|mistake| mistake.location);
        TopologyError::check(reader.mistakes)?;
        Ok(topology)
    }

    /// Writes the topology as YAML that [`from_yaml`](Self::from_yaml) reads back, with every default: a start for a
    /// custom topology.
    pub fn to_yaml(&self) -> String {
        // Strings, numbers, lists and structs always serialize; writing to a string cannot fail.
        serde_saphyr::to_string(self).unwrap_or_default()
    }
}

/// Reads a tree, and collects mistakes and the position of each path.
#[derive(Default)]
struct Reader {
    mistakes: Vec<Mistake>,
    locations: BTreeMap<String, Location>,
}

/// The fields of one mapping. Those that are not taken are unknown.
struct Fields<'a> {
    path: String,
    entries: Vec<&'a (String, Tree)>,
    location: Option<Location>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, name: &'static str) -> Option<&'a Tree> {
        self.known.push(name);
        let index = self.entries.iter().position(|(key, _)| key == name)?;
        Some(&self.entries.remove(index).1)
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

impl Reader {
    fn topology(&mut self, tree: &Tree) -> Topology {
        let mut fields = self.fields("", tree);
        let organizations = self.list(&mut fields, "organizations", true, Self::organization);
        let ordering = self.required(&mut fields, "ordering", |reader, path, tree| Some(reader.ordering(path, tree)));
        let channels = self.list(&mut fields, "channels", true, Self::channel);
        self.finish(&fields);
        Topology { organizations, ordering: ordering.unwrap_or_else(|| Topology::solo().ordering), channels }
    }

    fn organization(&mut self, path: &str, tree: &Tree) -> Organization {
        let mut fields = self.fields(path, tree);
        let name = self.required(&mut fields, "name", Self::text).unwrap_or_default();
        let organization = Organization {
            msp_id: self.optional(&mut fields, "msp_id", Self::text).unwrap_or_else(|| default_msp_id(&name)),
            domain: self.required(&mut fields, "domain", Self::text).unwrap_or_default(),
            peers: self.list(&mut fields, "peers", true, Self::node),
            users: self.optional(&mut fields, "users", Self::count).unwrap_or(1),
            name,
        };
        self.finish(&fields);
        organization
    }

    fn ordering(&mut self, path: &str, tree: &Tree) -> Ordering {
        let mut fields = self.fields(path, tree);
        let name = self.optional(&mut fields, "name", Self::text).unwrap_or_else(|| "Orderer".to_owned());
        let orderers = self.list(&mut fields, "orderers", true, Self::node);
        let tick = self.optional(&mut fields, "tick", Self::duration);
        let ordering = Ordering {
            msp_id: self.optional(&mut fields, "msp_id", Self::text).unwrap_or_else(|| default_msp_id(&name)),
            domain: self.required(&mut fields, "domain", Self::text).unwrap_or_default(),
            consensus: self
                .optional(&mut fields, "consensus", |reader, path, tree| {
                    let choices = [("etcdraft", Consensus::Etcdraft), ("bft", Consensus::Bft)];
                    reader.choice(path, tree, &choices)
                })
                .unwrap_or_default(),
            batch: self
                .optional(&mut fields, "batch", |reader, path, tree| Some(reader.batch(path, tree)))
                .unwrap_or_default(),
            tick: tick.unwrap_or_else(|| Ordering::default_tick(orderers.len())),
            orderers,
            name,
        };
        self.finish(&fields);
        ordering
    }

    fn batch(&mut self, path: &str, tree: &Tree) -> Batch {
        let mut fields = self.fields(path, tree);
        let default = Batch::default();
        let batch = Batch {
            timeout: self.optional(&mut fields, "timeout", Self::duration).unwrap_or(default.timeout),
            max_messages: self.optional(&mut fields, "max_messages", Self::count).unwrap_or(default.max_messages),
            absolute_max_bytes: self
                .optional(&mut fields, "absolute_max_bytes", Self::bytes)
                .unwrap_or(default.absolute_max_bytes),
            preferred_max_bytes: self
                .optional(&mut fields, "preferred_max_bytes", Self::bytes)
                .unwrap_or(default.preferred_max_bytes),
        };
        self.finish(&fields);
        batch
    }

    fn channel(&mut self, path: &str, tree: &Tree) -> Channel {
        let mut fields = self.fields(path, tree);
        let channel = Channel {
            name: self.required(&mut fields, "name", Self::text).unwrap_or_default(),
            organizations: self.list(&mut fields, "organizations", false, |reader, path, tree| {
                reader.text(path, tree).unwrap_or_default()
            }),
            endorsement: self
                .optional(&mut fields, "endorsement", |reader, path, tree| {
                    let choices = [("majority", Rule::Majority), ("any", Rule::Any), ("all", Rule::All)];
                    reader.choice(path, tree, &choices)
                })
                .unwrap_or_default(),
        };
        self.finish(&fields);
        channel
    }

    fn node(&mut self, path: &str, tree: &Tree) -> Node {
        let mut fields = self.fields(path, tree);
        let node = Node { name: self.required(&mut fields, "name", Self::text).unwrap_or_default() };
        self.finish(&fields);
        node
    }
}

/// The types of fields.
impl Reader {
    fn text(&mut self, path: &str, tree: &Tree) -> Option<String> {
        match &tree.value {
            Value::Text(text) => Some(text.clone()),
            other => {
                let hint = if matches!(other, Value::Integer(_) | Value::Other(_)) { "; put it in quotes" } else { "" };
                self.note(path, tree, format!("must be text, not {}{hint}", other.describe()))
            }
        }
    }

    fn count(&mut self, path: &str, tree: &Tree) -> Option<u32> {
        match &tree.value {
            Value::Integer(number) if u32::try_from(*number).is_ok() => u32::try_from(*number).ok(),
            other => {
                let message = format!("must be a whole number from 0 to {}, not {}", u32::MAX, other.describe());
                self.note(path, tree, message)
            }
        }
    }

    fn duration(&mut self, path: &str, tree: &Tree) -> Option<Duration> {
        match &tree.value {
            Value::Text(text) if humantime::parse_duration(text).is_ok() => humantime::parse_duration(text).ok(),
            other => {
                let message = format!("must be a duration such as `20ms` or `2s`, not {}", other.describe());
                self.note(path, tree, message)
            }
        }
    }

    fn bytes(&mut self, path: &str, tree: &Tree) -> Option<u32> {
        let parsed = match &tree.value {
            Value::Integer(number) => u32::try_from(*number).ok(),
            Value::Text(text) => parse_bytes(text),
            _ => None,
        };
        parsed.or_else(|| {
            let message = format!(
                "must be a size such as `10 MB`, `512 KB` or a number of bytes below 4 GB, not {}",
                tree.value.describe()
            );
            self.note(path, tree, message)
        })
    }

    fn choice<T: Copy>(&mut self, path: &str, tree: &Tree, choices: &[(&str, T)]) -> Option<T> {
        if let Value::Text(text) = &tree.value
            && let Some((_, choice)) = choices.iter().find(|(name, _)| name == text)
        {
            return Some(*choice);
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
        let message = format!("must be one of {}, not {}", names.join(", "), tree.value.describe());
        self.note(path, tree, message)
    }
}

/// Mappings and lists.
impl Reader {
    fn fields<'a>(&mut self, path: &str, tree: &'a Tree) -> Fields<'a> {
        self.place(path, tree);
        let entries = if let Value::Map(entries) = &tree.value {
            for (key, value) in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                self.place(&path, value);
            }
            entries.iter().collect()
        } else {
            let message = format!("must be a mapping of fields, not {}", tree.value.describe());
            self.note::<()>(path, tree, message);
            Vec::new()
        };
        Fields { path: path.to_owned(), entries, location: tree.location, known: Vec::new() }
    }

    fn optional<T>(
        &mut self,
        fields: &mut Fields<'_>,
        name: &'static str,
        read: impl FnOnce(&mut Self, &str, &Tree) -> Option<T>,
    ) -> Option<T> {
        let tree = fields.take(name)?;
        read(self, &fields.path_of(name), tree)
    }

    fn required<T>(
        &mut self,
        fields: &mut Fields<'_>,
        name: &'static str,
        read: impl FnOnce(&mut Self, &str, &Tree) -> Option<T>,
    ) -> Option<T> {
        let tree = self.present(fields, name)?;
        read(self, &fields.path_of(name), tree)
    }

    fn list<T>(
        &mut self,
        fields: &mut Fields<'_>,
        name: &'static str,
        required: bool,
        mut read: impl FnMut(&mut Self, &str, &Tree) -> T,
    ) -> Vec<T> {
        let tree = if required { self.present(fields, name) } else { fields.take(name) };
        let Some(tree) = tree else { return Vec::new() };
        let path = fields.path_of(name);
        let Value::List(items) = &tree.value else {
            self.note::<()>(&path, tree, format!("must be a list, not {}", tree.value.describe()));
            return Vec::new();
        };
        if items.is_empty() && !required {
            self.note::<()>(&path, tree, "must not be empty; leave it out for all".to_owned());
        }
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.place(&path, item);
            values.push(read(self, &path, item));
        }
        values
    }

    /// A required field. It is not reported as missing when the parent is not a mapping, which was reported.
    fn present<'a>(&mut self, fields: &mut Fields<'a>, name: &'static str) -> Option<&'a Tree> {
        let tree = fields.take(name);
        if tree.is_none() {
            let path = fields.path_of(name);
            if !self.is_covered(&path) {
                self.mistakes.push(Mistake { path, message: "is missing".to_owned(), location: fields.location });
            }
        }
        tree
    }

    fn finish(&mut self, fields: &Fields<'_>) {
        for (key, tree) in &fields.entries {
            let path = fields.path_of(&shorten(key));
            let message = format!("unknown field; expected one of: {}", fields.known.join(", "));
            self.note::<()>(&path, tree, message);
        }
    }

    fn place(&mut self, path: &str, tree: &Tree) {
        if let Some(location) = tree.location {
            self.locations.insert(path.to_owned(), location);
        }
    }

    fn note<T>(&mut self, path: &str, tree: &Tree, message: String) -> Option<T> {
        self.mistakes.push(Mistake { path: path.to_owned(), message, location: tree.location });
        None
    }

    /// Whether a mistake was reported at this path or a parent, so that the value is a default.
    fn is_covered(&self, path: &str) -> bool {
        self.mistakes.iter().any(|mistake| mistake.path.is_empty() || is_within(path, &mistake.path))
    }

    /// The position of a path, or else of the nearest parent.
    fn location_of(&self, path: &str) -> Option<Location> {
        let mut path = path;
        loop {
            if let Some(location) = self.locations.get(path) {
                return Some(*location);
            }
            path = path.rfind(['.', '[']).and_then(|end| path.get(..end))?;
        }
    }
}

fn default_msp_id(organization: &str) -> String {
    if organization.is_empty() { String::new() } else { format!("{organization}MSP") }
}

/// Whether `inner` is `outer` or a part of it.
fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn parse_bytes(text: &str) -> Option<u32> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let factor =
        UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim_start())).map(|(_, factor)| *factor)?;
    number.parse::<u32>().ok()?.checked_mul(factor)
}

/// A duration as the reader accepts it, such as `20ms`.
pub(super) fn serialize_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

/// A size as `10 MB`, in the largest unit that divides it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
pub(super) fn serialize_bytes<S: Serializer>(bytes: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    let divides = |(_, factor): &&(&str, u32)| *bytes != 0 && bytes.is_multiple_of(*factor);
    match UNITS.iter().find(divides) {
        Some((unit, factor)) if *factor > 1 => serializer.collect_str(&format_args!("{} {unit}", bytes / factor)),
        _ => serializer.serialize_u32(*bytes),
    }
}
