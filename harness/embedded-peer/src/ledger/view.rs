//! A read-only view of the world state after a block.

use std::ops::Bound;
use std::sync::Arc;

use super::chain::Chain;
use super::state::VersionedValue;

/// The state after a block. Clones share it.
#[derive(Clone)]
pub struct StateView(pub(crate) Arc<Chain>);

impl StateView {
    /// The ledger's height in this state.
    pub fn height(&self) -> u64 {
        self.0.height()
    }

    /// A public value.
    pub fn get(&self, namespace: &str, key: &str) -> Option<&VersionedValue> {
        self.0.state.get(namespace, key).map(Arc::as_ref)
    }

    /// A private value, if this peer holds it.
    pub fn private(&self, namespace: &str, collection: &str, key: &str) -> Option<&VersionedValue> {
        self.0.state.private(namespace, collection, key).map(Arc::as_ref)
    }

    /// The SHA-256 digest of a private value by the SHA-256 digest of its key. Every peer of the
    /// channel has it.
    pub fn private_hash(&self, namespace: &str, collection: &str, key_hash: &[u8]) -> Option<&VersionedValue> {
        self.0.state.hashed(namespace, collection, key_hash).map(Arc::as_ref)
    }

    /// Public values by key from `start` (inclusive) to `end` (exclusive). An empty `start` is the
    /// first key, an empty `end` is after the last.
    pub fn range<'view>(
        &'view self,
        namespace: &str,
        start: &str,
        end: &str,
    ) -> impl Iterator<Item = (&'view str, &'view VersionedValue)> + use<'view> {
        let values = self.0.state.public(namespace);
        let found = values.map(|values| values.range(Bound::Included(start.as_bytes()), end.as_bytes()));
        found.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_ref()))
    }
}
