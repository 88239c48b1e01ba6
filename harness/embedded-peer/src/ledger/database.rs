//! The state database that a peer imitates, as visible to chaincodes.

use bytes::Bytes;

use super::error::LedgerError;
use super::mango::Json;
use super::sets::ReadWriteSets;

/// A state database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateDatabase {
    /// `LevelDB`'s rules for keys, values and ranges, plus CouchDB's rich queries over JSON values.
    #[default]
    LevelDbWithQueries,
    /// goleveldb, Fabric's default: arbitrary bytes, no rich queries.
    LevelDb,
    /// CouchDB: rich queries, its rules for keys and values, and normalized JSON. Like a peer
    /// without a cache (`ledger.state.couchDBConfig.cacheSize` 0): with a cache, some values are
    /// returned as written.
    CouchDb,
}

impl StateDatabase {
    pub(crate) const fn has_queries(self) -> bool {
        !matches!(self, Self::LevelDb)
    }

    /// Checks that a key is valid (`statecouchdb.validateKey`).
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

    /// Checks that a key and its value can be stored (`statecouchdb.ValidateKeyValue`).
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

    /// The stored form of a value; `None` if it is unchanged.
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
