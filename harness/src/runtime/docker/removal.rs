//! The removal of the containers of runs from an engine, with their volumes.
//!
//! Each removal creates its own client of the engine, since it also happens where the client of the run is of
//! no use: while an asynchronous runtime shuts down, or in another process.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use futures::future::join_all;
use tokio::time::Instant;

use super::engine::{ACTION, Engine, EngineError};
use crate::cleanup::Aftermath;
use crate::cleanup::labels::{RUN_LABEL, is_dead, run_label};

/// The first pause before looking again, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(250)];

/// How long an engine may refuse removals while the number of containers stays the same. Podman refuses a
/// container on whose network others depend, until these are removed.
const REFUSALS: Duration = Duration::from_secs(2);

/// Removes the containers with the label `$1`: repeatedly, since Podman removes none on which others depend, and
/// the engine may still be creating one. It is done when it has found none for three seconds.
pub(super) const SCRIPT: &str = r#"
rounds=120
calm=0
while [ "$calm" -lt 6 ]; do
    [ "$rounds" -gt 0 ] || exit 1
    rounds=$((rounds - 1))
    containers=$(docker ps -aq --filter "label=$1") || exit 1
    if [ -n "$containers" ]; then
        calm=0
        docker rm -f -v $containers
    else
        calm=$((calm + 1))
    fi
    sleep 0.5
done
"#;

/// Removes the containers of a run, and waits for those that were requested and not created yet. Blocks; may be
/// called anywhere.
pub(super) fn remove_run_blocking(engine: &Engine, id: &str, aftermath: &Aftermath) -> Result<(), EngineError> {
    let (engine, which, aftermath) = (engine.clone(), Which::Run(run_label(id)), aftermath.clone());
    let task = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| EngineError::NoAnswer { uri: engine.uri().to_owned(), reason: error.to_string() })?;
        runtime.block_on(async {
            let docker = engine.connect().await?;
            remove_all(&engine, &docker, &which, &aftermath).await.map(drop)
        })
    };
    // In another thread, since an asynchronous runtime cannot block on another one.
    std::thread::spawn(task).join().unwrap_or(Err(EngineError::Panicked))
}

/// Removes the containers of runs whose harness is known to have exited. Returns how many.
///
/// Keeps a container of a harness on another machine, or in another process namespace, of which nothing is known
/// here.
pub(super) async fn remove_dead(engine: &Engine, docker: &Docker) -> Result<usize, EngineError> {
    remove_all(engine, docker, &Which::Dead, &Aftermath::default()).await
}

/// How many containers there are of runs whose harness is known to have exited.
pub(super) async fn count_dead(engine: &Engine, docker: &Docker) -> Result<usize, EngineError> {
    Ok(find(engine, docker, &Which::Dead).await?.len())
}

/// The containers of a run: identifier and name.
pub(super) async fn find_run(engine: &Engine, docker: &Docker, id: &str) -> Result<Vec<(String, String)>, EngineError> {
    let found = find(engine, docker, &Which::Run(run_label(id))).await?;
    Ok(found.into_iter().map(|container| (container.id, container.name)).collect())
}

/// Which containers are removed.
enum Which {
    /// Those of the run with this label.
    Run(String),
    /// Those of runs whose harness is known to have exited.
    Dead,
}

/// Removes them until there are none, and every container was seen that was requested. Returns how many there were.
async fn remove_all(
    engine: &Engine,
    docker: &Docker,
    which: &Which,
    aftermath: &Aftermath,
) -> Result<usize, EngineError> {
    let begin = Instant::now();
    let [first, longest] = PAUSES;
    let (mut pause, mut progress, mut last) = (first, begin, usize::MAX);
    let mut seen = BTreeSet::new();
    let mut missing: BTreeSet<&str> = aftermath.requested.iter().map(String::as_str).collect();
    loop {
        let found = find(engine, docker, which).await?;
        for container in &found {
            missing.remove(container.name.as_str());
            seen.insert(container.id.clone());
        }
        let may_come = !missing.is_empty() && begin.elapsed() < aftermath.bound;
        if found.is_empty() && !may_come {
            if !missing.is_empty() {
                tracing::debug!("the engine has not created {missing:?} within {:?}", aftermath.bound);
            }
            return Ok(seen.len());
        }
        if found.len() != last {
            (pause, progress, last) = (first, Instant::now(), found.len());
        }
        let stuck = progress.elapsed();
        if !found.is_empty() && stuck > ACTION {
            let action = format!("remove {} containers", found.len());
            return Err(EngineError::Late { uri: engine.uri().to_owned(), action });
        }
        match remove(engine, docker, found.into_iter().map(|container| container.id)).await {
            Err(error) if stuck > REFUSALS => return Err(error),
            Ok(()) | Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(longest);
    }
}

struct Found {
    id: String,
    /// Without the leading `/` of the engine.
    name: String,
}

async fn find(engine: &Engine, docker: &Docker, which: &Which) -> Result<Vec<Found>, EngineError> {
    let label = match which {
        Which::Run(label) => label,
        Which::Dead => RUN_LABEL,
    };
    let filters = HashMap::from([("label", vec![label])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let found = engine.ask("list containers", docker.list_containers(Some(options))).await?;
    let is_meant = |labels: &HashMap<String, String>| matches!(which, Which::Run(_)) || is_dead(labels);
    let found = found.into_iter().filter_map(|container| {
        let names = container.names.unwrap_or_default();
        let name = names.first().map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default();
        let labels = container.labels.unwrap_or_default();
        is_meant(&labels).then_some(Found { id: container.id?, name })
    });
    Ok(found.collect())
}

async fn remove(engine: &Engine, docker: &Docker, ids: impl Iterator<Item = String>) -> Result<(), EngineError> {
    let removals = ids.map(|id| async move {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match engine.ask("remove a container", docker.remove_container(&id, Some(options))).await {
            // 404: removed. 409: being removed.
            Err(EngineError::Refused {
                source: DockerError::DockerResponseServerError { status_code: 404 | 409, .. },
                ..
            }) => Ok(()),
            result => result,
        }
    });
    join_all(removals).await.into_iter().collect()
}
