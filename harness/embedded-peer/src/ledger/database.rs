//! Which database a peer keeps its state in, as far as chaincodes notice.

use bytes::Bytes;

use super::error::LedgerError;
use super::mango::Json;
use super::sets::ReadWriteSets;

/// The state database whose rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateDatabase {
    /// `LevelDB`'s rules for keys, values and ranges, and CouchDB's rich queries over values that are JSON.
    #[default]
    LevelDbWithQueries,
    /// goleveldb, Fabric's default: keys and values of any bytes, no rich queries.
    LevelDb,
    /// CouchDB: rich queries, its rules for keys and values, and JSON comes back as it writes it. As a peer without a
    /// cache (`ledger.state.couchDBConfig.cacheSize` 0): one with a cache gives some values as they were written.
    CouchDb,
}

impl StateDatabase {
    pub(crate) const fn has_queries(self) -> bool {
        !matches!(self, Self::LevelDb)
    }

    /// Whether there can be such a key (`statecouchdb.validateKey`).
    pub(crate) fn check_key(self, key: &str) -> Result<(), LedgerError> {
        if self != Self::CouchDb {
            return Ok(());
        }
        if key.starts_with('_') {
            return Err(LedgerError::Unstorable(format!("invalid key [{key}], cannot begin with \"_\"")));
        }
        if key.is_empty() {
            let text = "invalid key. Empty string is not supported as a key by couchdb";
            return Err(LedgerError::Unstorable(text.to_owned()));
        }
        Ok(())
    }

    /// Whether a key and its value can be stored (`statecouchdb.ValidateKeyValue`).
    pub(crate) fn check(self, key: &str, value: &[u8]) -> Result<(), LedgerError> {
        self.check_key(key)?;
        if self != Self::CouchDb {
            return Ok(());
        }
        let Some(Json::Object(fields)) = Json::document(value) else { return Ok(()) };
        match fields.keys().find(|name| *name == "~version" || name.starts_with('_')) {
            Some(name) => {
                Err(LedgerError::Unstorable(format!("field [{name}] is not valid for the CouchDB state database")))
            }
            None => Ok(()),
        }
    }

    /// What a value is once it is stored; none when it stays what it is.
    pub(crate) fn stored(self, value: &[u8]) -> Option<Bytes> {
        (self == Self::CouchDb).then(|| Json::document(value)).flatten().map(|document| document.text().into())
    }

    /// Whether all public writes of a transaction can be stored.
    pub(crate) fn takes_all(self, sets: &ReadWriteSets) -> bool {
        self != Self::CouchDb
            || sets
                .namespaces
                .iter()
                .flat_map(|set| &set.set.writes)
                .all(|write| self.check(&write.key, &write.value).is_ok())
    }
}
