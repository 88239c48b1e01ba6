//! The sweep: removes the leftovers of runs whose harness and reaper were both killed.
//!
//! It only touches what is provably dead: directories of this user whose lock is free, and containers whose
//! harness has ended. The harness must have run on this machine and in this process namespace, because the
//! processes of others are not visible; or, for a directory, before this machine was last started.

use std::path::Path;
use std::sync::Arc;

use super::processes::{GRACE, Mark};
use super::resources::is_same;
use super::{Aftermath, Leftover, ResourceKind, Resources, Run, end_run, workspace};

/// The result of a sweep.
#[derive(Debug, Default)]
pub struct Swept {
    /// How many dead runs were removed.
    pub runs: usize,
    /// How many containers without a directory were removed.
    pub containers: usize,
    /// Leftovers that could not be removed, on this machine or in an engine given. They are no failure of the
    /// sweep.
    pub left: Vec<Leftover>,
    /// Those in other engines, which do not answer or refuse. Whoever does not use them is not affected.
    pub elsewhere: Vec<Leftover>,
}

/// Removes what dead runs left in `parent`, and in the engines given.
///
/// The containers or the namespace of a dead run are looked for where its record says. That must be of
/// `kinds`, and on this machine or one of the engines given: any other run is left for a sweep that is sure of
/// reaching it. A given engine that does not answer is no error here: its user reports that.
pub async fn sweep(parent: &Path, kinds: &[&'static ResourceKind], engines: Vec<Arc<dyn Resources>>) -> Swept {
    let (parent, kinds, reachable) = (parent.to_owned(), kinds.to_vec(), engines.clone());
    // Not a task, because the program would wait for it at its end. The next sweep continues an interrupted
    // removal.
    let (done, directories) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || done.send(sweep_directories(&parent, &kinds, &reachable)));
    let mut swept = directories.await.unwrap_or_default();
    for engine in engines {
        match engine.remove_dead().await {
            Ok(count) => swept.containers += count,
            Err(left) => swept.left.push(left),
        }
    }
    swept
}

fn sweep_directories(parent: &Path, kinds: &[&'static ResourceKind], engines: &[Arc<dyn Resources>]) -> Swept {
    let mut swept = Swept::default();
    for dead in workspace::dead_runs(parent) {
        let record = dead.record.as_ref();
        let Ok(resources) = record.map_or(Ok(None), |record| record.resources(kinds)) else { continue };
        let is_given = |used: &Arc<dyn Resources>| engines.iter().any(|engine| is_same(&**used, &**engine));
        let is_here = resources.as_ref().is_none_or(is_given);
        if !is_here && !resources.as_ref().is_some_and(|used| used.is_local()) {
            continue;
        }
        let run = Run {
            mark: Mark {
                directory: dead.directory.clone(),
                group: record.and_then(|record| record.group),
                spare: None,
                control_group: record.and_then(|record| record.control_group.clone()),
            },
            id: dead.id.clone(),
            resources,
            aftermath: Aftermath::default(),
        };
        match end_run(&run, GRACE) {
            // Its own harness may be removing it at the same time.
            Ok(()) if workspace::is_being_removed(&dead.directory) => {}
            Ok(()) => swept.runs += 1,
            Err(left) => {
                let (elsewhere, here): (Vec<_>, Vec<_>) =
                    left.into_iter().partition(|left| !is_here && matches!(left, Leftover::Resources { .. }));
                swept.left.extend(here);
                swept.elsewhere.extend(elsewhere);
            }
        }
    }
    swept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleanup::ShellRemoval;
    use crate::cleanup::record::{Owner, Record};
    use serde_json::Value;

    /// An engine of this machine that does not answer.
    #[derive(Debug)]
    struct Silent;

    static SILENT: ResourceKind = ResourceKind { key: "engine", read: |_| Some(Arc::new(Silent)), current: || None };

    impl Resources for Silent {
        fn kind(&self) -> &'static ResourceKind {
            &SILENT
        }

        fn to_record(&self) -> Value {
            "unix:///silent.sock".into()
        }

        fn is_local(&self) -> bool {
            true
        }

        fn remove(&self, id: &str, _: &Aftermath) -> Result<(), Leftover> {
            Err(Leftover::Resources { text: format!("containers of {id}"), source: "no answer".into() })
        }

        fn shell_removal(&self, _: &str) -> ShellRemoval {
            ShellRemoval { script: "", arguments: Vec::new(), environment: Vec::new() }
        }
    }

    #[tokio::test]
    async fn containers_in_an_engine_that_a_run_does_not_use_do_not_concern_it() {
        let parent = tempfile::tempdir().unwrap();
        let run = workspace::made_in(parent.path());
        run.write_record(&Record::new(Owner::this(), None, Some(&Silent))).unwrap();
        drop(run);
        let unrelated = sweep(parent.path(), &[&SILENT], Vec::new()).await;
        assert_eq!((unrelated.left.len(), unrelated.elsewhere.len()), (0, 1), "{unrelated:?}");
        let own = sweep(parent.path(), &[&SILENT], vec![Arc::new(Silent)]).await;
        assert_eq!((own.left.len(), own.elsewhere.len()), (1, 0), "{own:?}");
    }
}
