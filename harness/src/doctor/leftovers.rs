//! What dead runs left behind, and its removal.

use std::path::{Path, PathBuf};

use super::Finding;
use crate::cleanup::containers::{self, Engine};
use crate::cleanup::{dead_runs, sweep};
use crate::console::error_text;
use crate::daemon::{is_dead, remove_dead};

pub(super) async fn look(runs: PathBuf, state: PathBuf, clean: bool) -> Vec<Finding> {
    let engine = Engine::from_environment();
    // One that does not answer is told of elsewhere.
    let docker = engine.connect().await.ok();
    if clean {
        return removed(&runs, &state, docker.is_some().then_some(&engine)).await;
    }
    let mut findings: Vec<Finding> = dead_runs(&runs)
        .into_iter()
        .map(|directory| {
            let text = format!("of a dead run, {}; the next run removes it, or --clean does", directory.display());
            Finding::warning("leftovers", text)
        })
        .collect();
    if let Some(docker) = docker
        && let Ok(dead @ 1..) = containers::dead(&engine, &docker).await.map(|dead| dead.len())
    {
        findings.push(Finding::warning("leftovers", format!("of dead runs, {dead} containers; --clean removes them")));
    }
    if is_dead(&state) {
        let text = format!("the state of a dead network, {}; `down` removes it, or --clean does", state.display());
        findings.push(Finding::warning("leftovers", text));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("leftovers", format!("none of dead runs in {}", runs.display())));
    }
    findings
}

async fn removed(runs: &Path, state: &Path, engine: Option<&Engine>) -> Vec<Finding> {
    let swept = sweep(runs, engine).await;
    let mut findings: Vec<Finding> = swept
        .left
        .iter()
        .map(|left| Finding::problem("leftovers", format!("still there: {}", error_text(left))))
        .collect();
    let states = match remove_dead(state) {
        Ok(removed) => usize::from(removed),
        Err(error) => {
            findings.push(Finding::problem("leftovers", format!("{}: {error}", state.display())));
            0
        }
    };
    let text = format!("removed: {} runs, {} further containers, {states} states", swept.runs, swept.containers);
    findings.push(Finding::ok("leftovers", text));
    findings
}
