//! The containers of runs: how they are labelled, and how they are removed.
//!
//! A client of the engine is made for each removal, because removal also happens where the client of
//! the run is of no use any more: while an asynchronous runtime ends, or in another process. What
//! containers are for is not known here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use futures::future::join_all;

use super::workspace::{self, Owner, Workspace};
use crate::console::error_text;

/// Label with the run's name, on everything that a run makes in an engine.
pub const RUN_LABEL: &str = "fabric-harness.run";
const DIRECTORY_LABEL: &str = "fabric-harness.directory";
const PLACE_LABEL: &str = "fabric-harness.place";
const PROCESS_LABEL: &str = "fabric-harness.process";
const STARTED_LABEL: &str = "fabric-harness.started";

/// How long an engine may take to answer at all.
pub const ANSWER: Duration = Duration::from_secs(3);

/// How long an engine may take to do one thing, such as removing a container.
const ACTION: Duration = Duration::from_secs(30);

/// How long after the harness's death the engine may still carry out its last request.
const AFTERMATH: Duration = Duration::from_millis(300);

/// Before looking whether a removal, which another process may have begun, is done.
const AGAIN: Duration = Duration::from_millis(5);

/// Where an engine is. Nothing is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    uri: String,
}

/// What an engine, or the way to it, said.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No client can be made for the address.
    #[error("cannot use the Docker engine at {uri}; DOCKER_HOST chooses another")]
    Client {
        /// The engine.
        uri: String,
        /// Why not.
        #[source]
        source: DockerError,
    },
    /// It did not answer, or not in time.
    #[error("no Docker engine answers at {uri}: {reason}; {}", advice(reason))]
    NoAnswer {
        /// The engine.
        uri: String,
        /// What came instead.
        reason: String,
    },
    /// It refused.
    #[error("the Docker engine at {uri} could not {action}")]
    Refused {
        /// The engine.
        uri: String,
        /// What was asked of it.
        action: String,
        /// What it said.
        #[source]
        source: DockerError,
    },
    /// It took too long.
    #[error("the Docker engine at {uri} did not {action} within {} s", ACTION.as_secs())]
    Late {
        /// The engine.
        uri: String,
        /// What was asked of it.
        action: String,
    },
    /// The thread that asked it panicked.
    #[error("the clean-up of containers panicked")]
    Panicked,
}

impl Engine {
    /// The engine at an address as in `DOCKER_HOST`.
    pub fn at(uri: &str) -> Self {
        Self { uri: uri.to_owned() }
    }

    /// The engine that testcontainers uses: `DOCKER_HOST`, or the first socket that is there of
    /// Docker's usual ones.
    pub fn from_environment() -> Self {
        if let Ok(uri) = std::env::var("DOCKER_HOST")
            && !uri.is_empty()
        {
            return Self { uri };
        }
        let below =
            |variable: &str, path: &str| std::env::var_os(variable).map(|directory| Path::new(&directory).join(path));
        let socket = [
            Some(PathBuf::from("/var/run/docker.sock")),
            below("XDG_RUNTIME_DIR", ".docker/run/docker.sock"),
            below("HOME", ".docker/run/docker.sock"),
            below("HOME", ".docker/desktop/docker.sock"),
        ]
        .into_iter()
        .flatten()
        .find(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("/var/run/docker.sock"));
        Self { uri: format!("unix://{}", socket.display()) }
    }

    /// Its address, as in `DOCKER_HOST`.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Whether it is reached by a socket of this machine, and so tells at once when it is not there.
    pub(crate) fn is_local(&self) -> bool {
        self.uri.starts_with("unix://")
    }

    /// A client of the engine, which is asked for an answer.
    ///
    /// # Errors
    ///
    /// Within [`ANSWER`], when it does not answer.
    pub async fn connect(&self) -> Result<Docker, EngineError> {
        let no_answer = |reason: String| EngineError::NoAnswer { uri: self.uri.clone(), reason };
        if let Some(socket) = self.uri.strip_prefix("unix://")
            && let Err(error) = std::fs::metadata(socket)
        {
            return Err(no_answer(error.to_string()));
        }
        let client = self.client()?;
        match tokio::time::timeout(ANSWER, client.negotiate_version()).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(no_answer(error_text(&error))),
            Err(_) => Err(no_answer(format!("nothing within {} s", ANSWER.as_secs()))),
        }
    }

    fn client(&self) -> Result<Docker, EngineError> {
        let bound = ACTION.as_secs();
        let version = bollard::API_DEFAULT_VERSION;
        let verify = std::env::var("DOCKER_TLS_VERIFY").is_ok_and(|value| value == "1");
        let (scheme, _) = self.uri.split_once("://").unwrap_or_default();
        match scheme {
            "unix" => Docker::connect_with_unix(&self.uri, bound, version),
            "https" | "tcp" | "http" if verify || scheme == "https" => {
                let Some(keys) = std::env::var_os("DOCKER_CERT_PATH") else {
                    let reason = "it shall be asked over TLS, but DOCKER_CERT_PATH does not say where the keys are";
                    return Err(EngineError::NoAnswer { uri: self.uri.clone(), reason: reason.to_owned() });
                };
                let file = |name: &str| Path::new(&keys).join(name);
                let (key, certificate, ca) = (file("key.pem"), file("cert.pem"), file("ca.pem"));
                Docker::connect_with_ssl(&self.uri, &key, &certificate, &ca, bound, version)
            }
            "tcp" | "http" => Docker::connect_with_http(&self.uri, bound, version),
            _ => Err(DockerError::UnsupportedURISchemeError { uri: self.uri.clone() }),
        }
        .map_err(|source| EngineError::Client { uri: self.uri.clone(), source })
    }

    /// Asks the engine for something, for a bounded time.
    pub(crate) async fn ask<T>(
        &self,
        action: &str,
        answer: impl Future<Output = Result<T, DockerError>>,
    ) -> Result<T, EngineError> {
        let (uri, action) = (self.uri.clone(), action.to_owned());
        match tokio::time::timeout(ACTION, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(EngineError::Refused { uri, action, source }),
            Err(_) => Err(EngineError::Late { uri, action }),
        }
    }
}

fn advice(reason: &str) -> &'static str {
    if reason.to_lowercase().contains("permission denied") {
        "this user may not use it: join the group of its socket, usually `docker`"
    } else {
        "start it, or choose another by DOCKER_HOST"
    }
}

/// The label of a run's containers, `NAME=VALUE`.
pub(crate) fn run_label(id: &str) -> String {
    format!("{RUN_LABEL}={id}")
}

pub(crate) fn labels(workspace: &Workspace, owner: &Owner) -> Vec<(String, String)> {
    [
        (RUN_LABEL, workspace.id().to_owned()),
        (DIRECTORY_LABEL, workspace.directory().display().to_string()),
        (PLACE_LABEL, owner.place.clone()),
        (PROCESS_LABEL, owner.process.to_string()),
        (STARTED_LABEL, owner.started.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Removes the containers of a run, with their volumes. It blocks; it may be called anywhere.
///
/// With `aftermath`, it looks again a little later: the engine finishes what was last asked of it even
/// when nobody waits for the answer.
pub(crate) fn remove_run_blocking(engine: &Engine, id: &str, aftermath: bool) -> Result<(), EngineError> {
    let engine = engine.clone();
    let label = run_label(id);
    let task = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| EngineError::NoAnswer { uri: engine.uri.clone(), reason: error.to_string() })?;
        runtime.block_on(async {
            let docker = engine.connect().await?;
            remove_labelled(&engine, &docker, &label).await?;
            if aftermath {
                tokio::time::sleep(AFTERMATH).await;
                remove_labelled(&engine, &docker, &label).await?;
            }
            Ok(())
        })
    };
    // A thread of its own, because within an asynchronous runtime no other one can be waited on.
    std::thread::spawn(task).join().unwrap_or(Err(EngineError::Panicked))
}

async fn remove_labelled(engine: &Engine, docker: &Docker, label: &str) -> Result<(), EngineError> {
    let deadline = tokio::time::Instant::now() + ACTION;
    loop {
        let found = list(engine, docker, label).await?;
        if found.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            let action = format!("remove {} containers", found.len());
            return Err(EngineError::Late { uri: engine.uri.clone(), action });
        }
        remove(engine, docker, found.into_iter().map(|container| container.id)).await?;
        tokio::time::sleep(AGAIN).await;
    }
}

/// The containers of a run: identifier and name.
pub(crate) async fn find_run(engine: &Engine, docker: &Docker, id: &str) -> Result<Vec<(String, String)>, EngineError> {
    let found = list(engine, docker, &run_label(id)).await?;
    Ok(found.into_iter().map(|container| (container.id, container.name)).collect())
}

struct Found {
    id: String,
    /// Without the `/` that the engine puts before it.
    name: String,
    labels: HashMap<String, String>,
}

async fn list(engine: &Engine, docker: &Docker, label: &str) -> Result<Vec<Found>, EngineError> {
    let filters = HashMap::from([("label", vec![label])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let found = engine.ask("list containers", docker.list_containers(Some(options))).await?;
    Ok(found
        .into_iter()
        .filter_map(|container| {
            let names = container.names.unwrap_or_default();
            let name = names.first().map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default();
            Some(Found { id: container.id?, name, labels: container.labels.unwrap_or_default() })
        })
        .collect())
}

async fn remove(engine: &Engine, docker: &Docker, ids: impl Iterator<Item = String>) -> Result<(), EngineError> {
    let removals = ids.map(|id| async move {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match engine.ask("remove a container", docker.remove_container(&id, Some(options))).await {
            // 404: gone. 409: another removal of it is under way.
            Err(EngineError::Refused {
                source: DockerError::DockerResponseServerError { status_code: 404 | 409, .. },
                ..
            }) => Ok(()),
            result => result,
        }
    });
    join_all(removals).await.into_iter().collect()
}

/// Removes the containers of runs whose harness is known to have ended. Returns how many.
///
/// A container of a harness on another machine, or in another process namespace, is spared: nothing
/// can be known about it from here.
pub(crate) async fn remove_dead(engine: &Engine, docker: &Docker) -> Result<usize, EngineError> {
    let dead = dead(engine, docker).await?;
    let count = dead.len();
    remove(engine, docker, dead.into_iter()).await?;
    Ok(count)
}

/// The containers whose harness is known to have ended.
pub(crate) async fn dead(engine: &Engine, docker: &Docker) -> Result<Vec<String>, EngineError> {
    let containers = list(engine, docker, RUN_LABEL).await?.into_iter();
    Ok(containers.filter(|container| is_dead(&container.labels)).map(|container| container.id).collect())
}

fn is_dead(labels: &HashMap<String, String>) -> bool {
    let label = |name: &str| labels.get(name).map(String::as_str).unwrap_or_default();
    let owner = Owner {
        place: label(PLACE_LABEL).to_owned(),
        process: label(PROCESS_LABEL).parse().unwrap_or_default(),
        started: label(STARTED_LABEL).parse().unwrap_or_default(),
    };
    owner.is_known_dead() && !workspace::lives(Path::new(label(DIRECTORY_LABEL)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleanup::workspace::made_in;

    #[tokio::test]
    async fn an_engine_that_says_nothing_is_given_up_in_time() {
        let scratch = tempfile::tempdir().unwrap();
        let socket = scratch.path().join("socket");
        let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let engine = Engine::at(&format!("unix://{}", socket.display()));
        let started = std::time::Instant::now();
        let error = engine.connect().await.unwrap_err();
        assert!(started.elapsed() < ANSWER + Duration::from_secs(1));
        assert!(error.to_string().contains("nothing within 3 s; start it, or choose another"), "{error}");
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_told_with_its_address() {
        for uri in ["unix:///does/not/exist.sock", "tcp://127.0.0.1:1"] {
            let error = Engine::at(uri).connect().await.unwrap_err();
            assert!(matches!(error, EngineError::NoAnswer { .. }), "{error}");
            assert!(error.to_string().contains(uri), "{error}");
        }
        let error = Engine::at("carrier-pigeon://x").connect().await.unwrap_err();
        assert!(matches!(error, EngineError::Client { .. }), "{error}");
    }

    #[test]
    fn what_to_do_depends_on_why_the_engine_does_not_answer() {
        let text = |reason: &str| EngineError::NoAnswer { uri: "u".into(), reason: reason.into() }.to_string();
        assert!(text("Permission denied (os error 13)").ends_with("join the group of its socket, usually `docker`"));
        assert!(text("Connection refused").ends_with("start it, or choose another by DOCKER_HOST"));
    }

    #[test]
    fn a_container_of_another_place_or_a_living_harness_is_not_dead() {
        let parent = tempfile::tempdir().unwrap();
        let workspace = made_in(parent.path());
        let this = Owner::this();
        let dead = Owner { started: this.started + 1, ..this.clone() };
        let elsewhere = Owner { place: "elsewhere".to_owned(), ..dead.clone() };
        let [this, dead, elsewhere] =
            [this, dead, elsewhere].map(|owner| labels(&workspace, &owner).into_iter().collect::<HashMap<_, _>>());
        assert!(!is_dead(&dead), "the lock of its directory is held");
        drop(workspace);
        assert!(is_dead(&dead));
        assert!(!is_dead(&this), "the process lives");
        assert!(!is_dead(&elsewhere));
    }
}
