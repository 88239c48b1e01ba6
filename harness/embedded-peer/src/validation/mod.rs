//! Validates the transactions of a block before the ledger checks their reads.
//!
//! Codes and the order of checks are Fabric's (`core/committer/txvalidator/v20`). Messages and
//! signatures are checked in parallel; endorsement policies, which may depend on earlier
//! transactions of the block, in order.
//!
//! Where a Fabric peer would stop processing the channel (an invalid configuration update, an
//! unknown plugin), the transaction is invalid instead.

mod endorsement;
mod envelope;

use std::collections::HashSet;
use std::num::NonZero;
use std::thread;

use fabric_protos::common::Block;
use fabric_protos::protos::TxValidationCode as Code;

use self::endorsement::BlockContext;
use self::envelope::{Content, Opened, open};
use crate::config::ChannelConfig;
use crate::ledger::{CheckedTransaction, Ledger, TransactionKind};

/// Smaller blocks are validated without extra threads.
const MIN_PARALLEL: usize = 8;

/// Validates every transaction of a block against the previous configuration and state. The genesis
/// block is accepted unchecked.
pub fn validate(block: &Block, config: &ChannelConfig, ledger: &Ledger) -> Vec<CheckedTransaction> {
    let envelopes = block.data.as_ref().map(|data| &*data.data).unwrap_or_default();
    let number = block.header.as_ref().map_or(0, |header| header.number);
    let opened = open_all(envelopes, config);
    if number == 0 {
        return opened.into_iter().map(|one| checked(one, Code::Valid)).collect();
    }
    let mut context = BlockContext::new(number, config, ledger.state(), &opened);
    let mut codes: Vec<Code> =
        opened.iter().enumerate().map(|(index, one)| code(index, one, config, ledger, &mut context)).collect();
    mark_duplicates(&opened, &mut codes);
    opened.into_iter().zip(codes).map(|(one, code)| checked(one, code)).collect()
}

/// Decodes the envelopes, on all processors if there are many.
fn open_all(envelopes: &[Vec<u8>], config: &ChannelConfig) -> Vec<Opened> {
    let open = |envelope: &Vec<u8>| open(envelope, config);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    if threads == 1 || envelopes.len() < MIN_PARALLEL {
        return envelopes.iter().map(open).collect();
    }
    let share = envelopes.len().div_ceil(threads);
    thread::scope(|scope| {
        let workers: Vec<_> = envelopes
            .chunks(share)
            .map(|chunk| (chunk, scope.spawn(move || chunk.iter().map(open).collect::<Vec<_>>())))
            .collect();
        // A worker only fails by panicking; then its share is redone here, and panics here.
        workers
            .into_iter()
            .flat_map(|(chunk, worker)| worker.join().unwrap_or_else(|_| chunk.iter().map(open).collect()))
            .collect()
    })
}

fn code(index: usize, one: &Opened, config: &ChannelConfig, ledger: &Ledger, context: &mut BlockContext<'_>) -> Code {
    match &one.content {
        Err(code) => *code,
        Ok(Content::Config(envelope)) => match config.next(envelope) {
            Ok(_) => Code::Valid,
            Err(error) => {
                tracing::warn!(channel = config.channel(), %error, "configuration transaction is not valid");
                Code::InvalidConfigTransaction
            }
        },
        Ok(Content::Endorser(_)) if ledger.transaction(&one.id).is_some() => Code::DuplicateTxid,
        Ok(Content::Endorser(action)) => match action {
            Ok(action) => context.code(index, action),
            Err(code) => *code,
        },
    }
}

/// Of several valid transactions with the same ID only the first is valid.
fn mark_duplicates(opened: &[Opened], codes: &mut [Code]) {
    let mut seen = HashSet::new();
    for (one, code) in opened.iter().zip(codes) {
        let counts = *code == Code::Valid && matches!(one.content, Ok(Content::Endorser(_))) && !one.id.is_empty();
        if counts && !seen.insert(&one.id) {
            *code = Code::DuplicateTxid;
        }
    }
}

fn checked(one: Opened, code: Code) -> CheckedTransaction {
    let (writes, event) = match one.content {
        Ok(Content::Endorser(Ok(action))) => (Some(action.sets), action.event),
        _ => (None, None),
    };
    CheckedTransaction { id: one.id, code, writes, kind: one.kind, event }
}

#[cfg(test)]
mod tests;
