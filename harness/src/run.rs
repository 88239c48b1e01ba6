//! A complete run, from a plan to a report.

use crate::check::cases::Setup;
use crate::check::package_verdict::PackageReport;
use crate::check::{self, CaseReport, Outcome};
use crate::console::timeline::Timeline;
use crate::console::{ExitCode, error_text};
use crate::evidence::Evidence;
use crate::interrupt::Interrupt;
use crate::network::error::{RunError, unless, warn_of};
use crate::network::nodes::{Ended, FIRST_QUERY, Nodes};
use crate::plan::Plan;
use crate::runtime::{Runtime, UnexpectedExit};
use std::time::Duration;

/// The results of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The results about the user's package.
    pub package: PackageReport,
    /// The case results, in the order of the cases.
    pub cases: Vec<CaseReport>,
    /// Nodes and servers that exited unexpectedly.
    pub exits: Vec<UnexpectedExit>,
    /// Leftovers: what could not be removed, and what to do about it.
    pub left: Vec<String>,
}

impl Report {
    /// [`ExitCode::Failed`] if a case failed, no case passed, a node exited unexpectedly, or there are
    /// leftovers.
    pub(crate) fn exit_code(&self) -> ExitCode {
        let mut all = self.cases.iter().chain(&self.package.case);
        let failed = all.any(|case| matches!(case.outcome, Outcome::Failed { .. }));
        let passed = self.cases.iter().any(|case| matches!(case.outcome, Outcome::Passed));
        if passed && !failed && self.exits.is_empty() && self.left.is_empty() {
            ExitCode::Passed
        } else {
            ExitCode::Failed
        }
    }
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The results.
    pub report: Report,
    /// The time from the first step to the answer of the first query.
    pub to_first_query: Duration,
}

/// Runs the plan once. Adds configuration, packages and logs to `evidence`, also on failure. Dropping
/// the future stops everything that was started.
///
/// # Errors
///
/// Why the run could not be finished. Everything that was started is removed by then.
pub(crate) async fn run(
    plan: &Plan,
    runtime: &dyn Runtime,
    timeline: &Timeline,
    evidence: &mut Evidence,
    interrupt: &Interrupt,
) -> Result<Finished, RunError> {
    let nodes = Box::pin(Nodes::start(&plan.network, runtime, timeline, evidence, interrupt)).await?;
    let checks = Box::pin(deploy_and_check(plan, &nodes, timeline));
    let finished = unless(interrupt, checks).await.and_then(|finished| finished);
    let Ended { exits, logs, left } = nodes.stop(timeline).await;
    evidence.add_logs(logs);
    if finished.is_err() {
        warn_of(&left);
    }
    match finished {
        Ok(finished) => Ok(Finished { report: Report { exits, left, ..finished.report }, ..finished }),
        Err(error) => Err(error.after(exits)),
    }
}

async fn deploy_and_check(plan: &Plan, nodes: &Nodes, timeline: &Timeline) -> Result<Finished, RunError> {
    let target = nodes.deploy(timeline).await?;
    let to_first_query = timeline.end_of(FIRST_QUERY);
    let cases = check::run(&plan.cases, &target, async |setup| {
        let done = match setup {
            Setup::RestartChaincode => nodes.restart_chaincodes().await,
            Setup::RestartPeers => nodes.restart_peers().await,
            Setup::Control(action, name) => nodes.running.control(*action, name).await.map(drop),
        };
        done.map_err(|error| error_text(&error))?;
        target.set_stopped(nodes.running.stopped());
        let starts_nodes = match setup {
            Setup::RestartChaincode => false,
            Setup::RestartPeers => true,
            Setup::Control(action, name) => action.starts() && nodes.running.servers_named(name).next().is_none(),
        };
        if starts_nodes {
            target.serves_again().await.map_err(|error| error_text(&error))?;
        }
        Ok(())
    });
    let cases = timeline.step("run the cases", async { Ok::<_, RunError>(cases.await) }).await?;
    let package = nodes.package_report().clone();
    Ok(Finished { report: Report { package, cases, ..Report::default() }, to_first_query })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn case(name: &str, outcome: Outcome) -> CaseReport {
        CaseReport {
            name: name.to_owned(),
            outcome,
            checked: 1,
            warning: None,
            begin: tokio::time::Instant::now(),
            call: None,
            time: Duration::from_millis(12),
        }
    }

    fn report(cases: Vec<CaseReport>) -> Report {
        Report { cases, ..Report::default() }
    }

    #[test]
    fn one_failure_fails_the_run_and_a_case_that_was_not_run_is_not_a_pass() {
        let failed = || Outcome::Failed { expected: "a".to_owned(), seen: "b\nc".to_owned() };
        let not_run = || Outcome::NotRun { reason: "needs two organizations".to_owned() };
        let mixed = report(vec![case("one", Outcome::Passed), case("two", failed()), case("three", not_run())]);
        assert_eq!(mixed.exit_code(), ExitCode::Failed);
        assert_eq!(report(vec![case("three", not_run())]).exit_code(), ExitCode::Failed);
        assert_eq!(report(Vec::new()).exit_code(), ExitCode::Failed);
        let mut passed = report(vec![case("one", Outcome::Passed), case("three", not_run())]);
        assert_eq!(passed.exit_code(), ExitCode::Passed);
        let mut only_package = report(vec![case("three", not_run())]);
        only_package.package.case = Some(case("the package", Outcome::Passed));
        assert_eq!(only_package.exit_code(), ExitCode::Failed);
        passed.package.case = Some(case("the package", failed()));
        assert_eq!(passed.exit_code(), ExitCode::Failed);
        passed.package.case = None;
        let (how, log) = ("exit status: 2".to_owned(), "panic".to_owned());
        passed.exits.push(UnexpectedExit { name: "peer0".to_owned(), how, cause: None, log });
        assert_eq!(passed.exit_code(), ExitCode::Failed);
    }
}
