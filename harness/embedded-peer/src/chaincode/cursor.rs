//! An open query whose results a chaincode reads in batches.

use std::collections::VecDeque;

use fabric_protos::prost::Message;
use fabric_protos::protos::QueryResultBytes;
use fabric_protos::queryresult::KeyModification;

use crate::ledger::{Rows, SharedSimulation, lock};

/// The number of results in one batch.
const BATCH: usize = 100;

/// An open query.
pub(super) struct Cursor {
    source: Source,
    /// A result that was read ahead and did not fit into the batch.
    pending: Option<QueryResultBytes>,
    /// The number of results returned so far.
    returned: i32,
}

pub(super) enum Source {
    Rows(Box<Rows>),
    History(VecDeque<KeyModification>),
}

impl Cursor {
    pub(super) fn new(source: Source) -> Self {
        Self { source, pending: None, returned: 0 }
    }

    fn next(&mut self, simulation: &SharedSimulation) -> Result<Option<QueryResultBytes>, String> {
        let encoded = match &mut self.source {
            Source::Rows(rows) => {
                let row = lock(simulation).next(rows).map_err(|error| error.to_string())?;
                row.map(|row| row.encode_to_vec())
            }
            Source::History(found) => found.pop_front().map(|change| change.encode_to_vec()),
        };
        Ok(encoded.map(|bytes| QueryResultBytes { result_bytes: bytes.into() }))
    }

    /// The next batch, and whether there is another. Reads one result ahead.
    pub(super) fn batch(
        &mut self,
        simulation: &SharedSimulation,
        limit: i32,
    ) -> Result<(Vec<QueryResultBytes>, bool), String> {
        let mut batch: Vec<QueryResultBytes> = self.pending.take().into_iter().collect();
        while self.returned < limit {
            let Some(result) = self.next(simulation)? else { break };
            self.returned += 1;
            if batch.len() == BATCH {
                self.pending = Some(result);
                return Ok((batch, true));
            }
            batch.push(result);
        }
        Ok((batch, false))
    }
}
