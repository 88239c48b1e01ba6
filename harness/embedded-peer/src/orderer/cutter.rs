//! Cuts messages into batches by the channel's limits (`orderer/common/blockcutter`).
//!
//! The caller applies the batch timeout.

/// The limits of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchSize {
    pub(crate) max_message_count: u32,
    pub(crate) preferred_max_bytes: u32,
}

/// A message, its envelope encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) envelope: Vec<u8>,
    /// The size that the limits apply to: payload and signature.
    pub(crate) size: usize,
}

/// The pending batch.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    pending: Vec<Message>,
    bytes: usize,
}

impl Cutter {
    /// Adds a message, and returns the batches that it completes, in order.
    pub(crate) fn ordered(&mut self, message: Message, limits: BatchSize) -> Vec<Vec<Vec<u8>>> {
        let preferred = limits.preferred_max_bytes as usize;
        let mut batches = Vec::new();
        if message.size > preferred {
            // A message above the preferred size is a batch by itself.
            batches.extend(self.cut());
            batches.push(vec![message.envelope]);
            return batches;
        }
        if self.bytes + message.size > preferred {
            batches.extend(self.cut());
        }
        self.bytes += message.size;
        self.pending.push(message);
        if self.pending.len() >= limits.max_message_count as usize {
            batches.extend(self.cut());
        }
        batches
    }

    /// Whether there are pending messages.
    pub(crate) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Cuts the pending messages into a batch; `None` if there are none.
    pub(crate) fn cut(&mut self) -> Option<Vec<Vec<u8>>> {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.pending);
        (!batch.is_empty()).then(|| batch.into_iter().map(|message| message.envelope).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BatchSize = BatchSize { max_message_count: 3, preferred_max_bytes: 10 };

    fn message(name: u8, size: usize) -> Message {
        Message { envelope: vec![name], size }
    }

    fn batches(sizes: &[usize]) -> (Vec<Vec<u8>>, bool) {
        let mut cutter = Cutter::default();
        let mut cut = Vec::new();
        for (name, size) in (0..).zip(sizes) {
            cut.extend(cutter.ordered(message(name, *size), LIMITS));
        }
        (cut.into_iter().map(|batch| batch.concat()).collect(), cutter.is_pending())
    }

    #[test]
    fn the_message_count_completes_a_batch() {
        assert_eq!(batches(&[1, 1]), (vec![], true));
        assert_eq!(batches(&[1, 1, 1]), (vec![vec![0, 1, 2]], false));
    }

    #[test]
    fn a_message_that_does_not_fit_starts_the_next_batch() {
        assert_eq!(batches(&[6, 4]), (vec![], true));
        assert_eq!(batches(&[6, 5]), (vec![vec![0]], true));
        // The byte count starts again with the second batch.
        assert_eq!(batches(&[6, 5, 5]), (vec![vec![0]], true));
    }

    #[test]
    fn a_message_above_the_preferred_size_is_a_batch_by_itself() {
        assert_eq!(batches(&[11]), (vec![vec![0]], false));
        assert_eq!(batches(&[1, 11, 1]), (vec![vec![0], vec![1]], true));
    }

    #[test]
    fn cutting_removes_the_pending_messages() {
        let mut cutter = Cutter::default();
        assert_eq!(cutter.cut(), None);
        cutter.ordered(message(7, 1), LIMITS);
        assert_eq!(cutter.cut(), Some(vec![vec![7]]));
        assert_eq!(cutter.cut(), None);
    }
}
