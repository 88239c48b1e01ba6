//! The whole way through, from a plan to a report, and nothing left behind.

use crate::check;
use crate::check::cases::Before;
use crate::deploy::DeployError;
use crate::interrupt::Interrupt;
use crate::network::error::{RunError, unless, warn_of};
use crate::network::nodes::{Ended, FIRST_QUERY, Nodes};
use crate::plan::Plan;
use crate::report::evidence::Evidence;
use crate::report::timeline::Timeline;
use crate::report::{Report, error_text};
use crate::runtime::Runtime;
use std::time::Duration;

/// What came of a run that was finished.
#[derive(Debug)]
pub struct Finished {
    /// The cases.
    pub report: Report,
    /// From the first step to the first query's answer.
    pub to_first_query: Duration,
}

/// Runs the plan once, or until it is interrupted. Dropping the future ends whatever was started.
///
/// What is worth keeping is put into `evidence`, whatever the end.
///
/// # Errors
///
/// What kept the run from being finished; by then everything that was started is gone.
pub async fn run(
    plan: &Plan,
    runtime: &Runtime,
    timeline: &Timeline,
    evidence: &mut Evidence,
    interrupt: &Interrupt,
) -> Result<Finished, RunError> {
    let nodes = Box::pin(Nodes::start(&plan.network, runtime, timeline, evidence, interrupt)).await?;
    let checks = Box::pin(deploy_and_check(plan, &nodes, timeline));
    let finished = unless(interrupt, checks).await.and_then(|finished| finished);
    let Ended { deaths, logs, left } = nodes.stop(timeline).await;
    evidence.add_logs(logs);
    if finished.is_err() {
        warn_of(&left);
    }
    match finished {
        Ok(finished) => Ok(Finished { report: Report { deaths, left, ..finished.report }, ..finished }),
        Err(error) => Err(error.after(deaths)),
    }
}

async fn deploy_and_check(plan: &Plan, nodes: &Nodes, timeline: &Timeline) -> Result<Finished, RunError> {
    let probe = plan.cases.first().ok_or(DeployError::Nothing { what: "case" })?;
    let target = nodes.deploy(probe, timeline).await?;
    let to_first_query = timeline.end_of(FIRST_QUERY);
    let cases = check::run(&plan.cases, &target, async |before| match before {
        Before::RestartChaincode => nodes.restart_chaincodes().await.map_err(|error| error_text(&error)),
        Before::RestartPeers => {
            nodes.restart_peers().await.map_err(|error| error_text(&error))?;
            target.answers_again().await.map_err(|error| error_text(&error))?;
            target.endorsers_are_known(probe).await.map_err(|error| error_text(&error))
        }
    });
    let cases = timeline.step("run the cases", async { Ok::<_, RunError>(cases.await) }).await?;
    Ok(Finished { report: Report { cases, ..Report::default() }, to_first_query })
}
