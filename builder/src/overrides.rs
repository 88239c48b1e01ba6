//! The settings by which a peer replaces fields of a package's connection.json. Holds the values and
//! their origin; reads no file and no variable.

use std::collections::BTreeMap;

use crate::connection::Field;

/// One setting of the peer.
#[derive(Clone, PartialEq, Eq)]
pub struct Override {
    /// Where it is set, for messages: a variable's name, or a place in the configuration file.
    pub name: String,
    /// A value, or the path of a file on the peer that holds it: see [`Override::path`].
    pub value: String,
}

impl std::fmt::Debug for Override {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Override({})", self.name)
    }
}

impl Override {
    /// The file that holds the value, if the value is a path. For certificates and keys that is
    /// whatever is not PEM; for other fields, whatever begins with `/`.
    pub fn path(&self, field: Field) -> Option<&str> {
        let is_path = if field.is_pem() { !self.value.contains("-----BEGIN") } else { self.value.starts_with('/') };
        is_path.then_some(self.value.as_str())
    }
}

/// Settings of the peer by field. A later one for the same field replaces the earlier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(BTreeMap<Field, Override>);

impl Overrides {
    /// Sets a field.
    pub fn set(&mut self, field: Field, setting: Override) {
        self.0.insert(field, setting);
    }

    /// Takes settings in, those of the same field replacing what was there.
    pub(crate) fn extend(&mut self, others: &Self) {
        self.0.extend(others.0.iter().map(|(field, setting)| (*field, setting.clone())));
    }

    /// Takes settings in; for a field without one, what was there goes.
    pub(crate) fn lay(&mut self, layer: &BTreeMap<Field, Option<Override>>) {
        for (field, setting) in layer {
            match setting {
                Some(setting) => self.0.insert(*field, setting.clone()),
                None => self.0.remove(field),
            };
        }
    }

    /// The setting for a field, if the peer has one.
    pub fn get(&self, field: Field) -> Option<&Override> {
        self.0.get(&field)
    }
}
