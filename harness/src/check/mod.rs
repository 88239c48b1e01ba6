//! Runs the cases against a deployed chaincode, through the gateway of a peer.
//!
//! Outcomes are values: a failed case does not abort the others. Cases are data, in [`cases`].

pub mod cases;
pub mod data;
pub mod definition;
mod expect;
mod file;
mod matching;
pub mod own_package;
pub mod package_verdict;
pub mod policy;
pub mod saved;
pub(crate) mod scope;
mod source;
mod target;
#[cfg(test)]
mod tests;
pub mod values;

pub use source::{Mistake, Mistakes};
pub use target::{Channel, Client, Target};

use cases::{Call, Case, Setup};
use saved::Saved;
use std::time::Duration;
use tokio::time::Instant;

/// The pause before a case with `until` is checked again.
const AGAIN: Duration = Duration::from_millis(100);

/// The result of a case.
#[derive(Debug, Clone)]
pub struct CaseReport {
    /// The case's name.
    pub name: String,
    /// The outcome.
    pub outcome: Outcome,
    /// How many expectations were compared with what was seen. That a call succeeds does not count.
    pub checked: usize,
    /// Why the case says little, although it passed.
    pub warning: Option<&'static str>,
    /// When it began.
    pub begin: Instant,
    /// When its call began, after the setup.
    pub call: Option<Instant>,
    /// How long it took.
    pub time: Duration,
}

/// The outcome of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything expected was seen.
    Passed,
    /// Something else was seen.
    Failed {
        /// What was expected.
        expected: String,
        /// What was seen.
        seen: String,
    },
    /// The network does not have what the case needs.
    NotRun {
        /// What is missing.
        reason: String,
    },
}

/// A difference between what was expected and what was seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, seen {seen}")]
pub struct Difference {
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
}

/// Runs the cases in order. `set_up` does what a case needs before its call.
pub async fn run(
    cases: &[Case],
    target: &Target,
    mut set_up: impl AsyncFnMut(&Setup) -> Result<(), String>,
) -> Vec<CaseReport> {
    let mut reports = Vec::with_capacity(cases.len());
    let mut saved = Saved::default();
    for case in cases {
        let begin = Instant::now();
        let (mut checked, mut call) = (0, None);
        let outcome = outcome(case, target, &mut saved, &mut set_up, &mut checked, &mut call).await;
        let warning = case.weakness(checked).filter(|_| outcome == Outcome::Passed);
        let name = case.name.clone();
        reports.push(CaseReport { name, outcome, checked, warning, begin, call, time: begin.elapsed() });
    }
    reports
}

async fn outcome(
    case: &Case,
    target: &Target,
    saved: &mut Saved,
    set_up: &mut impl AsyncFnMut(&Setup) -> Result<(), String>,
    checked: &mut usize,
    call: &mut Option<Instant>,
) -> Outcome {
    if let Some(reason) = target.lacks(case) {
        return Outcome::NotRun { reason };
    }
    let filled = match case.filled(saved) {
        Ok(filled) => filled,
        Err(name) => return Outcome::NotRun { reason: format!("needs ${{case.{name}}}, which no case has saved") },
    };
    if let Some(setup) = &case.setup
        && let Err(seen) = set_up(setup).await
    {
        return Outcome::Failed { expected: format!("{setup} succeeds"), seen };
    }
    *call = Some(Instant::now());
    match repeated(&filled, target, checked).await.and_then(|payload| case.save.take(&payload, saved)) {
        Ok(()) => Outcome::Passed,
        Err(Difference { expected, seen }) => Outcome::Failed { expected, seen },
    }
}

/// Checks a case, with `until` again and again. Returns the payload.
async fn repeated(case: &Case, target: &Target, checked: &mut usize) -> Result<Vec<u8>, Difference> {
    let Some(until) = &case.until else { return check(case, target, target.deadline(), checked).await };
    let end = Instant::now() + until.0;
    let mut last = None;
    let repeat = async {
        loop {
            // What counts is the last attempt.
            *checked = 0;
            match check(case, target, end, checked).await {
                Ok(payload) => return payload,
                // An attempt that the end of the time cuts off shows less than the one before.
                Err(difference) if last.is_none() || Instant::now() < end => last = Some(difference),
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    if let Ok(payload) = tokio::time::timeout_at(end, repeat).await {
        return Ok(payload);
    }
    let none = || Difference { expected: "an answer".to_owned(), seen: "none".to_owned() };
    let Difference { expected, seen } = last.unwrap_or_else(none);
    Err(Difference { expected: format!("{expected}, within {} s", until.0.as_secs_f64()), seen })
}

/// Checks a case once. Returns the payload.
async fn check(case: &Case, target: &Target, deadline: Instant, checked: &mut usize) -> Result<Vec<u8>, Difference> {
    let channel = target.channel_of(case)?;
    let client = channel.client(case.identity.as_ref())?;
    let organizations = channel.msp_ids(&case.endorsing_organizations)?;
    let invocation = target.invocation(case, channel);
    match case.call() {
        Call::Evaluate(_) => {
            let answer = client.gateway.evaluate_response(&invocation, &organizations, deadline).await;
            expect::answer(case, answer.as_ref(), checked)?;
            Ok(answer.map(|response| response.payload).unwrap_or_default())
        }
        Call::Submit(_) => {
            let peers = target.running_peers(channel);
            expect::submitted(case, &peers, client, &invocation, &organizations, deadline, checked).await
        }
    }
}
