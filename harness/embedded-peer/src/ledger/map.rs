//! A persistent ordered map: copies are cheap and share their content. States, snapshots and
//! simulations are based on it.

use std::ops::Bound;

use super::key::Key;

/// Keys in order with cheaply cloned values.
#[derive(Clone)]
pub(crate) struct Map<V>(imbl::OrdMap<Key, V>);

impl<V: Clone> Default for Map<V> {
    fn default() -> Self {
        Self(imbl::OrdMap::new())
    }
}

impl<V: Clone> Map<V> {
    pub(crate) fn get(&self, key: &[u8]) -> Option<&V> {
        self.0.get(key)
    }

    pub(crate) fn insert(&mut self, key: Key, value: V) {
        self.0.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.0.remove(key);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries from `start` (inclusive) to `end` (exclusive). An empty `end` is the end of the
    /// map.
    pub(crate) fn range<'map>(
        &'map self,
        start: Bound<&[u8]>,
        end: &[u8],
    ) -> impl Iterator<Item = (&'map Key, &'map V)> + use<'map, V> {
        let from = match start {
            Bound::Included(key) | Bound::Excluded(key) => key,
            Bound::Unbounded => &[],
        };
        let turned = !end.is_empty() && from >= end;
        let end = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
        let entries = (!turned).then(|| self.0.range::<_, [u8]>((start, end)));
        entries.into_iter().flatten()
    }
}
