//! The record of a range query in the read set: the reads, or the top of a Merkle tree if there are
//! many. Simulation and validation must build the same one (`rwsetutil.RangeQueryResultsHelper`).

use fabric_protos::kvrwset::{KvRead, QueryReads, QueryReadsMerkleSummary};
use fabric_protos::prost::Message as _;

use super::hash::digest;

/// More results than this are hashed; also the maximum number of a tree node's children.
pub(crate) const MAX_DEGREE: u32 = 50;

/// Collects the results of one range query.
#[derive(Debug, Clone)]
pub(crate) struct RangeReads {
    pending: Vec<KvRead>,
    degree: u32,
    /// Hashes by level; the leaves are level 1, at index 0.
    levels: Vec<Vec<Vec<u8>>>,
}

/// The recorded results.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Collected {
    Nothing,
    Raw(Vec<KvRead>),
    Hashed(QueryReadsMerkleSummary),
}

impl RangeReads {
    pub(crate) fn new(degree: u32) -> Self {
        Self { pending: Vec::new(), degree, levels: vec![Vec::new()] }
    }

    pub(crate) fn add(&mut self, read: KvRead) {
        self.pending.push(read);
        if self.pending.len() > self.degree as usize {
            self.hash_pending();
        }
    }

    pub(crate) fn done(&mut self) -> Collected {
        if self.levels.len() == 1 && self.levels.iter().all(Vec::is_empty) {
            let raw = std::mem::take(&mut self.pending);
            return if raw.is_empty() { Collected::Nothing } else { Collected::Raw(raw) };
        }
        if !self.pending.is_empty() {
            self.hash_pending();
        }
        self.close_levels();
        Collected::Hashed(self.summary())
    }

    /// The current top of the tree.
    pub(crate) fn summary(&self) -> QueryReadsMerkleSummary {
        QueryReadsMerkleSummary {
            max_degree: self.degree,
            max_level: u32::try_from(self.levels.len()).unwrap_or(u32::MAX),
            max_level_hashes: self.top().to_vec(),
        }
    }

    /// The number of levels and the hashes of the top level: the summary without a copy.
    pub(crate) fn peek(&self) -> (usize, &[Vec<u8>]) {
        (self.levels.len(), self.top())
    }

    fn top(&self) -> &[Vec<u8>] {
        self.levels.last().map_or(&[], Vec::as_slice)
    }

    fn hash_pending(&mut self) {
        let reads = QueryReads { kv_reads: std::mem::take(&mut self.pending) };
        self.push(0, digest(&reads.encode_to_vec()).to_vec());
        let mut level = 0;
        while let Some(hashes) = self.levels.get_mut(level)
            && hashes.len() > self.degree as usize
        {
            let combined = combine(&std::mem::take(hashes));
            level += 1;
            self.push(level, combined);
        }
    }

    /// Moves the remaining hashes of the lower levels up to the top level.
    fn close_levels(&mut self) {
        for level in 0..self.levels.len() - 1 {
            let mut hashes = std::mem::take(&mut self.levels[level]);
            match hashes.len() {
                0 => {}
                1 => {
                    let single = hashes.remove(0);
                    self.push(level + 1, single);
                }
                _ => self.push(level + 1, combine(&hashes)),
            }
        }
        let last = self.levels.len() - 1;
        if self.levels[last].len() > self.degree as usize {
            let combined = combine(&std::mem::take(&mut self.levels[last]));
            self.push(last + 1, combined);
        }
    }

    fn push(&mut self, level: usize, hash: Vec<u8>) {
        if level == self.levels.len() {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(hash);
    }
}

fn combine(hashes: &[Vec<u8>]) -> Vec<u8> {
    digest(&hashes.concat()).to_vec()
}
