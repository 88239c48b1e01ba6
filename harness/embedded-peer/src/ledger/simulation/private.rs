//! Private data in a simulation: values of this peer and public hashes.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::error::LedgerError;
use super::super::hash::digest;
use super::super::rows::{Cursor, Record, Rows, Source};
use super::super::state::VersionedValue;
use super::super::version::Version;
use super::Simulation;
use super::queries::rows;

impl Simulation {
    /// A private value, if this peer holds it.
    ///
    /// # Errors
    ///
    /// The collection is not defined, or the value is older than the public hash.
    pub fn private_get(&mut self, namespace: &str, collection: &str, key: &str) -> Result<Option<Bytes>, LedgerError> {
        self.defined(namespace, collection)?;
        self.shared.database.check_key(key)?;
        let value = self.state.private(namespace, collection, key).map(|value| (value.value.clone(), value.version));
        let version = value.as_ref().map(|(_, version)| *version);
        let hash = self.state.private_hash(namespace, collection, &digest(key.as_bytes()));
        let public = hash.map(|hash| hash.version);
        if public != version {
            return Err(LedgerError::PrivateVersion { public: Version::text(public), private: Version::text(version) });
        }
        self.note_private_read(namespace, collection, key, version);
        Ok(value.map(|(value, _)| value))
    }

    /// Several private values, in order. Unlike [`Self::private_get`] it does not check the hashes.
    ///
    /// # Errors
    ///
    /// The collection is not defined.
    pub fn private_gets<'key>(
        &mut self,
        namespace: &str,
        collection: &str,
        keys: impl IntoIterator<Item = &'key str>,
    ) -> Result<Vec<Option<Bytes>>, LedgerError> {
        self.defined(namespace, collection)?;
        let mut values = Vec::new();
        for key in keys {
            let value =
                self.state.private(namespace, collection, key).map(|value| (value.value.clone(), value.version));
            self.note_private_read(namespace, collection, key, value.as_ref().map(|(_, version)| *version));
            values.push(value.map(|(value, _)| value));
        }
        Ok(values)
    }

    /// The SHA-256 digest of a private value, which every peer of the channel has.
    ///
    /// # Errors
    ///
    /// The collection is not defined.
    pub fn private_hash(&mut self, namespace: &str, collection: &str, key: &str) -> Result<Option<Bytes>, LedgerError> {
        Ok(self.read_hash(namespace, collection, key)?.map(|hash| hash.value))
    }

    /// The metadata of a private key by name; empty if there is none.
    ///
    /// # Errors
    ///
    /// The collection is not defined.
    pub fn private_metadata(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<BTreeMap<String, Bytes>, LedgerError> {
        Ok(self.read_hash(namespace, collection, key)?.map(|hash| hash.metadata()).unwrap_or_default())
    }

    /// Writes a private key. An empty value deletes it.
    ///
    /// # Errors
    ///
    /// The collection is not defined; also see [`Self::set_state`].
    pub fn private_set(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: impl Into<Bytes>,
    ) -> Result<(), LedgerError> {
        let value = value.into();
        self.defined(namespace, collection)?;
        self.may_write(key, &value)?;
        self.builder.private_write(namespace, collection, key, value);
        self.note_private_metadata(namespace, collection, key);
        Ok(())
    }

    /// Deletes a private key. Committed blocks keep their private data.
    ///
    /// # Errors
    ///
    /// See [`Self::private_set`].
    pub fn private_delete(&mut self, namespace: &str, collection: &str, key: &str) -> Result<(), LedgerError> {
        self.private_set(namespace, collection, key, Bytes::new())
    }

    /// Deletes a private key and its history on all peers.
    ///
    /// # Errors
    ///
    /// See [`Self::private_set`].
    pub fn private_purge(&mut self, namespace: &str, collection: &str, key: &str) -> Result<(), LedgerError> {
        self.defined(namespace, collection)?;
        self.may_write(key, &[])?;
        self.builder.purge(namespace, collection, key);
        self.note_private_metadata(namespace, collection, key);
        Ok(())
    }

    /// Replaces all metadata of a private key; an empty map removes it.
    ///
    /// # Errors
    ///
    /// See [`Self::private_set`].
    pub fn private_set_metadata(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        metadata: BTreeMap<String, Bytes>,
    ) -> Result<(), LedgerError> {
        self.defined(namespace, collection)?;
        self.may_write(key, &[])?;
        self.builder.private_metadata(namespace, collection, key, metadata);
        self.note_private_metadata(namespace, collection, key);
        Ok(())
    }

    /// Private keys of a range, like [`Self::range`], but not checked at commit. Only for
    /// transactions without writes.
    ///
    /// # Errors
    ///
    /// The transaction has written, or the collection is not defined.
    pub fn private_range(
        &mut self,
        namespace: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<Rows, LedgerError> {
        self.may_query_private()?;
        self.defined(namespace, collection)?;
        let values = self.state.0.state.collection(namespace, collection).map(|stored| &stored.private);
        Ok(rows(namespace, Source::Range(Cursor::new(values, start, end)), Record::Nothing))
    }

    /// A rich query over private JSON values. Only for transactions without writes.
    ///
    /// # Errors
    ///
    /// See [`Self::private_range`] and [`Self::query`].
    pub fn private_query(&mut self, namespace: &str, collection: &str, query: &str) -> Result<Rows, LedgerError> {
        self.may_query_private()?;
        self.defined(namespace, collection)?;
        let values = self.state.0.state.collection(namespace, collection).map(|stored| &stored.private);
        Ok(rows(namespace, self.ask(values, query)?, Record::Nothing))
    }

    fn read_hash(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<VersionedValue>, LedgerError> {
        self.defined(namespace, collection)?;
        let hash = self.state.private_hash(namespace, collection, &digest(key.as_bytes())).cloned();
        self.builder.private_read(namespace, collection, key, hash.as_ref().map(|hash| hash.version));
        Ok(hash)
    }

    fn note_private_read(&mut self, namespace: &str, collection: &str, key: &str, version: Option<Version>) {
        self.builder.private_read(namespace, collection, key, version);
        self.private_reads.entry(namespace.to_owned()).or_default().insert(collection.to_owned());
    }

    fn may_query_private(&mut self) -> Result<(), LedgerError> {
        if self.done.wrote {
            return Err(LedgerError::PrivateQueryAfterWrite { transaction: self.transaction.clone() });
        }
        self.done.queried_private = true;
        Ok(())
    }

    /// Checks that the chaincode defines the collection.
    fn defined(&mut self, namespace: &str, collection: &str) -> Result<(), LedgerError> {
        if !self.collections.contains_key(namespace) {
            let Some(provider) = self.shared.collections() else { return Ok(()) };
            let names = provider.collections(&self.state, namespace).map_err(LedgerError::Collections)?;
            let names = names.ok_or_else(|| LedgerError::CollectionsNotDefined { namespace: namespace.to_owned() })?;
            self.collections.insert(namespace.to_owned(), names);
        }
        if self.collections.get(namespace).is_some_and(|names| names.contains(collection)) {
            return Ok(());
        }
        Err(LedgerError::CollectionNotDefined { namespace: namespace.to_owned(), collection: collection.to_owned() })
    }
}
