//! The sweep: removes what runs left behind whose harness and reaper were both killed.
//!
//! It takes on only what it can prove to be dead: directories of this user whose lock is free, and
//! containers whose harness has ended. The harness must have run on this machine and in this process
//! namespace, since nothing is known of the processes of another; or, for a directory, before this
//! machine last started, which ended them. Everything else is spared.

use std::path::Path;

use super::containers::{self, Engine};
use super::processes::{GRACE, Mark};
use super::{Leftover, Run, end_run, workspace};

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// How many dead runs were removed, with all that still ran of them.
    pub runs: usize,
    /// How many containers without a directory were removed.
    pub containers: usize,
    /// What could not be removed; a sweep never fails for it.
    pub left: Vec<Leftover>,
}

/// Removes what dead runs left in `parent`, and in the engine if one is given.
///
/// A dead run's containers are looked for in the engine that it used, unless that is on another machine
/// and not the one given: such a run is left for a sweep that is sure of reaching it. A dead run's
/// namespace is looked for in the cluster that its record names. A given engine that does not answer is
/// no error here: whoever needs it will say.
pub async fn sweep(parent: &Path, engine: Option<&Engine>) -> Swept {
    let parent = parent.to_owned();
    let reachable = engine.cloned();
    // Not a task, on which the end of the program would wait: a removal that is cut short is taken up
    // by the next sweep.
    let (done, directories) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || done.send(sweep_directories(&parent, reachable.as_ref())));
    let mut swept = directories.await.unwrap_or_default();
    if let Some(engine) = engine
        && let Ok(docker) = engine.connect().await
    {
        match containers::remove_dead(engine, &docker).await {
            Ok(count) => swept.containers = count,
            Err(source) => swept.left.push(Leftover::Containers { label: containers::RUN_LABEL.to_owned(), source }),
        }
    }
    swept
}

fn sweep_directories(parent: &Path, engine: Option<&Engine>) -> Swept {
    let mut swept = Swept::default();
    for dead in workspace::dead_runs(parent) {
        let record = dead.record.as_ref();
        let used = record.and_then(|record| record.engine.as_deref()).map(Engine::at);
        if used.as_ref().is_some_and(|used| !used.is_local() && Some(used) != engine) {
            continue;
        }
        let run = Run {
            mark: Mark {
                directory: dead.directory.clone(),
                group: record.and_then(|record| record.group),
                spare: None,
            },
            id: dead.id.clone(),
            engine: used,
            cluster: record.and_then(|record| record.cluster.clone()),
            aftermath: false,
        };
        match end_run(&run, GRACE) {
            Ok(()) => swept.runs += 1,
            Err(left) => swept.left.extend(left),
        }
    }
    swept
}
