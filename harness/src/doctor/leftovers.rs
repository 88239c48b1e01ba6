//! Leftovers of dead runs, and their removal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cleanup::{Resources, dead_runs};
use crate::console::error_text;
use crate::daemon::{is_dead, remove_dead};
use crate::runtime::Finding;
use crate::runtime::registry::{engines, sweep};

pub(super) async fn look(runs: PathBuf, state: PathBuf, clean: bool) -> Vec<Finding> {
    // One that does not answer is reported by its own check.
    let mut answering = Vec::new();
    for engine in engines() {
        answering.extend(engine.count_dead().await.map(|dead| (engine, dead)));
    }
    if clean {
        return removed(&runs, &state, answering.into_iter().map(|(engine, _)| engine).collect()).await;
    }
    let mut findings: Vec<Finding> = dead_runs(&runs)
        .into_iter()
        .map(|directory| {
            let text = format!("of a dead run, {}; the next run removes it, or --clean does", directory.display());
            Finding::warning("leftovers", text)
        })
        .collect();
    for (_, dead) in answering.iter().filter(|(_, dead)| *dead > 0) {
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

async fn removed(runs: &Path, state: &Path, engines: Vec<Arc<dyn Resources>>) -> Vec<Finding> {
    let swept = sweep(runs, engines).await;
    let mut findings: Vec<Finding> = swept
        .left
        .iter()
        .chain(&swept.elsewhere)
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
