//! The settings with which a peer overrides fields of connection.json: values and their origin.

use std::collections::BTreeMap;

use crate::connection::Field;

/// One setting of the peer. `Debug` prints no value, since it may be a private key.
#[derive(Clone, PartialEq, Eq)]
pub struct Override {
    /// Origin for messages: a variable's name, or a place in the configuration file.
    pub name: String,
    /// The value, or the path of a file with the value; see [`Override::path`].
    pub value: String,
}

impl std::fmt::Debug for Override {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Override({})", self.name)
    }
}

impl Override {
    /// The path, if the value is one: for certificates and keys every value that is not PEM, for other
    /// fields every value that starts with `/`.
    pub fn path(&self, field: Field) -> Option<&str> {
        let is_path = if field.is_pem() { !self.value.contains("-----BEGIN") } else { self.value.starts_with('/') };
        is_path.then_some(self.value.as_str())
    }
}

/// The peer's settings by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(BTreeMap<Field, Override>);

impl Overrides {
    /// Sets a field, replacing an earlier setting.
    pub fn set(&mut self, field: Field, setting: Override) {
        self.0.insert(field, setting);
    }

    /// Adds settings, which replace those of the same field.
    pub(crate) fn extend(&mut self, others: &Self) {
        self.0.extend(others.0.iter().map(|(field, setting)| (*field, setting.clone())));
    }

    /// Applies a layer of the configuration file; `None` removes the setting of that field.
    pub(crate) fn apply(&mut self, layer: &BTreeMap<Field, Option<Override>>) {
        for (field, setting) in layer {
            match setting {
                Some(setting) => self.0.insert(*field, setting.clone()),
                None => self.0.remove(field),
            };
        }
    }

    /// The setting for a field.
    pub fn get(&self, field: Field) -> Option<&Override> {
        self.0.get(&field)
    }
}
