//! Storage for structures: the public state of `_lifecycle` or an organization's implicit
//! collection, either in a simulation that records reads or in a committed state.

use bytes::Bytes;

use super::NAMESPACE;
use crate::ledger::{Simulation, StateView};

/// Readable values by key. Errors are texts for the client.
pub(super) trait Reads {
    fn get(&mut self, key: &str) -> Result<Option<Bytes>, String>;

    /// All keys with this prefix, in order.
    fn range(&mut self, prefix: &str) -> Result<Vec<(String, Bytes)>, String>;
}

/// Writable values by key.
pub(super) trait Writes: Reads {
    fn put(&mut self, key: &str, value: Vec<u8>) -> Result<(), String>;

    fn delete(&mut self, key: &str) -> Result<(), String>;
}

/// Values of which only the hashes are known.
pub(super) trait Hashes {
    fn hash(&mut self, key: &str) -> Result<Option<Bytes>, String>;
}

/// The public state after a block.
pub(super) struct Committed<'a>(pub(super) &'a StateView);

impl Reads for Committed<'_> {
    fn get(&mut self, key: &str) -> Result<Option<Bytes>, String> {
        Ok(self.0.get(NAMESPACE, key).map(|value| value.value.clone()))
    }

    fn range(&mut self, prefix: &str) -> Result<Vec<(String, Bytes)>, String> {
        let found = self.0.range(NAMESPACE, prefix, &after(prefix));
        Ok(found.map(|(key, value)| (key.to_owned(), value.value.clone())).collect())
    }
}

/// The hashes of an organization's collection after a block.
pub(super) struct CommittedHashes<'a> {
    pub(super) view: &'a StateView,
    pub(super) collection: &'a str,
}

impl Hashes for CommittedHashes<'_> {
    fn hash(&mut self, key: &str) -> Result<Option<Bytes>, String> {
        let key_hash = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
        Ok(self.view.private_hash(NAMESPACE, self.collection, key_hash.as_ref()).map(|value| value.value.clone()))
    }
}

/// The public state in a transaction.
pub(super) struct Public<'a>(pub(super) &'a mut Simulation);

impl Reads for Public<'_> {
    fn get(&mut self, key: &str) -> Result<Option<Bytes>, String> {
        self.0.get_state(NAMESPACE, key).map_err(|error| error.to_string())
    }

    fn range(&mut self, prefix: &str) -> Result<Vec<(String, Bytes)>, String> {
        let failed = |error: crate::ledger::LedgerError| format!("could not get state iterator: {error}");
        let mut rows = self.0.range(NAMESPACE, prefix, &after(prefix)).map_err(failed)?;
        let mut found = Vec::new();
        while let Some(row) = self.0.next(&mut rows).map_err(failed)? {
            found.push((row.key, row.value));
        }
        Ok(found)
    }
}

impl Writes for Public<'_> {
    fn put(&mut self, key: &str, value: Vec<u8>) -> Result<(), String> {
        self.0.set_state(NAMESPACE, key, value).map_err(|error| error.to_string())
    }

    fn delete(&mut self, key: &str) -> Result<(), String> {
        self.0.delete_state(NAMESPACE, key).map_err(|error| error.to_string())
    }
}

/// An organization's collection in a transaction.
pub(super) struct Private<'a> {
    pub(super) simulation: &'a mut Simulation,
    pub(super) collection: &'a str,
}

impl Reads for Private<'_> {
    fn get(&mut self, key: &str) -> Result<Option<Bytes>, String> {
        self.simulation.private_get(NAMESPACE, self.collection, key).map_err(|error| error.to_string())
    }

    fn range(&mut self, prefix: &str) -> Result<Vec<(String, Bytes)>, String> {
        let failed = |error: crate::ledger::LedgerError| format!("could not get state iterator: {error}");
        let rows = self.simulation.private_range(NAMESPACE, self.collection, prefix, &after(prefix));
        let mut rows = rows.map_err(failed)?;
        let mut found = Vec::new();
        while let Some(row) = self.simulation.next(&mut rows).map_err(failed)? {
            found.push((row.key, row.value));
        }
        Ok(found)
    }
}

impl Writes for Private<'_> {
    fn put(&mut self, key: &str, value: Vec<u8>) -> Result<(), String> {
        self.simulation.private_set(NAMESPACE, self.collection, key, value).map_err(|error| error.to_string())
    }

    fn delete(&mut self, key: &str) -> Result<(), String> {
        self.simulation.private_delete(NAMESPACE, self.collection, key).map_err(|error| error.to_string())
    }
}

impl Hashes for Private<'_> {
    fn hash(&mut self, key: &str) -> Result<Option<Bytes>, String> {
        self.simulation.private_hash(NAMESPACE, self.collection, key).map_err(|error| error.to_string())
    }
}

/// The end of the range of keys with this prefix, for names without DEL and higher characters.
fn after(prefix: &str) -> String {
    format!("{prefix}\u{7f}")
}
