//! The newest values of a store, up to a number of bytes.

use std::collections::{HashMap, VecDeque};

/// Values by the offset of their record, in the order in which they were added.
pub(super) struct Cache<V> {
    values: HashMap<u64, V>,
    order: VecDeque<(u64, usize)>,
    bytes: usize,
    limit: usize,
}

impl<V> Cache<V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), bytes: 0, limit }
    }

    pub(super) fn get(&self, offset: u64) -> Option<&V> {
        self.values.get(&offset)
    }

    /// Adds a value of this size, and returns the oldest ones that it replaces. The newest one always stays.
    pub(super) fn insert(&mut self, offset: u64, value: V, size: usize) -> Vec<V> {
        self.values.insert(offset, value);
        self.order.push_back((offset, size));
        self.bytes += size;
        let mut evicted = Vec::new();
        while self.bytes > self.limit && self.order.len() > 1 {
            let Some((oldest, size)) = self.order.pop_front() else { break };
            self.bytes -= size;
            evicted.extend(self.values.remove(&oldest));
        }
        evicted
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
