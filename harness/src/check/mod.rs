//! Runs the cases against a chaincode that is deployed, through the gateway of one peer.
//!
//! An outcome is a value: a failed case aborts no other. What the cases are is data, in [`cases`].

pub mod cases;

use crate::client::{ClientError, EventStart, Invocation, PeerClient};
use cases::{Before, Call, Case, ExpectedEvent, match_json};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// The chaincode under test, as one client sees it.
#[derive(Debug)]
pub struct Target {
    /// The peer whose gateway is called, with the client's identity.
    pub gateway: PeerClient,
    /// Every peer of the channel. A case ends when all of them have committed its transaction:
    /// peers that lag endorse the next one on another state, and the endorsements do not match.
    pub peers: Vec<PeerClient>,
    /// The channel.
    pub channel: String,
    /// The chaincode's name in its definition.
    pub chaincode: String,
    /// How many organizations the channel has.
    pub organizations: usize,
    /// A function and its arguments that are simulated, never submitted, to see that the chaincode
    /// answers. Which does not matter; an error of the chaincode is an answer too.
    pub probe: Vec<String>,
    /// Longest wait for any one thing.
    pub timeout: Duration,
}

/// What came of one case.
#[derive(Debug)]
pub struct CaseReport {
    /// The case's name.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub time: Duration,
}

/// What came of a case.
#[derive(Debug, PartialEq, Eq)]
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
    /// The network lacks what the case needs.
    NotRun {
        /// What it lacks.
        reason: String,
    },
}

/// A difference between what was expected and what was seen.
struct Difference {
    expected: String,
    seen: String,
}

/// Runs the cases in their order. `before` does what a case wants done before its call.
pub async fn run(
    cases: &[Case],
    target: &Target,
    mut before: impl AsyncFnMut(Before) -> Result<(), String>,
) -> Vec<CaseReport> {
    let mut reports = Vec::with_capacity(cases.len());
    for case in cases {
        let begin = Instant::now();
        let outcome = outcome(case, target, &mut before).await;
        reports.push(CaseReport { name: case.name.clone(), outcome, time: begin.elapsed() });
    }
    reports
}

async fn outcome(case: &Case, target: &Target, before: &mut impl AsyncFnMut(Before) -> Result<(), String>) -> Outcome {
    if target.organizations < case.needs.organizations {
        let reason =
            format!("needs {} organizations, the channel has {}", case.needs.organizations, target.organizations);
        return Outcome::NotRun { reason };
    }
    if let Some(what) = case.after
        && let Err(seen) = before(what).await
    {
        return Outcome::Failed { expected: format!("{what:?} succeeds"), seen };
    }
    let call = match case.call() {
        Call::Evaluate(arguments) => target.evaluate(case, arguments).await,
        Call::Submit(arguments) => target.submit(case, arguments).await,
    };
    match call {
        Ok(()) => Outcome::Passed,
        Err(Difference { expected, seen }) => Outcome::Failed { expected, seen },
    }
}

impl Target {
    async fn evaluate(&self, case: &Case, arguments: &[String]) -> Result<(), Difference> {
        let answer = self.gateway.evaluate(&self.invocation(arguments), &[], self.deadline()).await;
        expect_answer(case, answer.as_deref())
    }

    async fn submit(&self, case: &Case, arguments: &[String]) -> Result<(), Difference> {
        let deadline = self.deadline();
        let invocation = self.invocation(arguments);
        let proposal = invocation.propose(self.gateway.signer()).map_err(|error| failure("a proposal", &error))?;
        let transaction = match self.gateway.endorse(&proposal, &[], deadline).await {
            Ok(transaction) => transaction,
            Err(error) => return expect_answer(case, Err(&error)),
        };
        let result = transaction.result().map_err(|error| failure("an endorsed transaction", &error))?;
        expect_answer(case, Ok(&result))?;
        if let Some(expected) = case.endorsed_by {
            let organizations =
                transaction.endorsers().map_err(|error| failure("endorsements that can be read", &error))?;
            if organizations.len() != expected {
                return Err(Difference {
                    expected: format!("endorsements of {expected} organizations"),
                    seen: format!("endorsements of {organizations:?}"),
                });
            }
        }

        // The events are read from the block that comes next, so that none can be missed.
        let height = match case.event {
            Some(_) => self.gateway.chain_info(&self.channel, deadline).await.map(|info| Some(info.height)),
            None => Ok(None),
        };
        let height = height.map_err(|error| failure("the height of the ledger", &error))?;
        let committed = self.gateway.commit(&transaction, &self.peers, deadline).await;
        let committed = committed.map_err(|error| failure("a committed, valid transaction", &error))?;
        match (&case.event, height) {
            (Some(event), Some(height)) => self.expect_event(event, height, &committed.transaction_id, deadline).await,
            _ => Ok(()),
        }
    }

    async fn expect_event(
        &self,
        expected: &ExpectedEvent,
        from_block: u64,
        transaction_id: &str,
        deadline: Instant,
    ) -> Result<(), Difference> {
        let what = format!("the event {}", expected.name);
        let start = EventStart::Block(from_block);
        let events = self.gateway.chaincode_events(&self.channel, &self.chaincode, &start);
        let mut events = events.map_err(|error| failure(&what, &error))?;
        let event = loop {
            let event = events.next(deadline).await.map_err(|error| failure(&what, &error))?;
            if event.transaction_id == transaction_id {
                break event;
            }
        };
        if event.name != expected.name {
            return Err(Difference { expected: what, seen: format!("the event {}", event.name) });
        }
        match &expected.payload {
            Some(payload) => expect_json(payload, &event.payload),
            None => Ok(()),
        }
    }

    /// Has one peer simulate [`Target::probe`]: whether the commit has really brought the chaincode.
    ///
    /// # Errors
    ///
    /// What the gateway said.
    pub async fn first_answer(&self) -> Result<(), ClientError> {
        match self.gateway.evaluate(&self.invocation(&self.probe), &[], self.deadline()).await {
            Err(error) if error.chaincode_error().is_none() => Err(error),
            _ => Ok(()),
        }
    }

    /// Waits until the gateway can plan an endorsement. It learns from gossip which peers of other
    /// organizations run the chaincode, and gossip takes its time.
    ///
    /// # Errors
    ///
    /// When the gateway refuses for another reason, or knows too few peers until the time-out.
    pub async fn endorsers_are_known(&self) -> Result<(), ClientError> {
        self.gateway.await_endorsers(&self.invocation(&self.probe), &[], self.deadline()).await
    }

    fn invocation(&self, arguments: &[String]) -> Invocation {
        let (function, arguments) = arguments.split_first().map_or(("", &[][..]), |(function, rest)| (function, rest));
        Invocation::new(&self.channel, &self.chaincode, function).arguments(arguments.iter().map(String::as_str))
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }
}

fn failure(expected: &str, error: &(impl std::error::Error + ?Sized)) -> Difference {
    Difference { expected: expected.to_owned(), seen: crate::report::error_text(error) }
}

/// Compares an answer, or the error in its place, with what the case expects.
fn expect_answer(case: &Case, answer: Result<&[u8], &ClientError>) -> Result<(), Difference> {
    match (&case.error, answer) {
        (None, Err(error)) => Err(failure("success", error)),
        (Some(expected), Err(error)) => {
            let seen = crate::report::error_text(error);
            if seen.contains(expected.as_str()) {
                Ok(())
            } else {
                Err(Difference { expected: format!("an error that contains: {expected}"), seen })
            }
        }
        (Some(expected), Ok(answer)) => Err(Difference {
            expected: format!("an error that contains: {expected}"),
            seen: format!("success, with the payload {}", String::from_utf8_lossy(answer)),
        }),
        (None, Ok(answer)) => match (&case.payload, &case.payload_text) {
            (Some(payload), _) => expect_json(payload, answer),
            (None, Some(text)) if text.as_bytes() != answer => Err(Difference {
                expected: format!("the payload {text}"),
                seen: format!("the payload {}", String::from_utf8_lossy(answer)),
            }),
            _ => Ok(()),
        },
    }
}

fn expect_json(expected: &Value, seen: &[u8]) -> Result<(), Difference> {
    let text = String::from_utf8_lossy(seen);
    let difference = match serde_json::from_slice(seen) {
        Ok(seen) => match_json(expected, &seen).err(),
        Err(error) => Some(format!("it is not JSON: {error}")),
    };
    match difference {
        None => Ok(()),
        Some(difference) => Err(Difference { expected: expected.to_string(), seen: format!("{text}\n{difference}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cases::CaseFile;

    fn case(text: &str) -> Case {
        CaseFile::from_toml("t", &format!("[[case]]\nname = 'c'\n{text}")).unwrap().cases.remove(0)
    }

    #[test]
    fn an_answer_is_compared_with_what_the_case_expects() {
        let error = ClientError::NoPeer { operation: "evaluate" };
        let object = case("evaluate = ['F']\npayload = { ID = 'a' }");
        assert!(expect_answer(&object, Ok(br#"{"ID":"a","Size":1}"#)).is_ok());
        assert!(expect_answer(&object, Ok(br#"{"ID":"b"}"#)).unwrap_err().seen.contains("$.ID is \"b\""));
        assert!(expect_answer(&object, Ok(b"no")).unwrap_err().seen.contains("not JSON"));
        assert!(expect_answer(&object, Err(&error)).is_err());
        let text = case("submit = ['F']\npayload_text = 'Ines'");
        assert!(expect_answer(&text, Ok(b"Ines")).is_ok());
        assert!(expect_answer(&text, Ok(b"Ines ")).is_err());
        let refused = case("submit = ['F']\nerror = 'evaluate'");
        assert!(expect_answer(&refused, Err(&error)).is_ok());
        assert!(expect_answer(&refused, Ok(b"")).unwrap_err().seen.contains("success"));
        let other = case("submit = ['F']\nerror = 'something else'");
        assert!(expect_answer(&other, Err(&error)).is_err());
    }
}
