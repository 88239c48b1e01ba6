//! A Docker engine: its address, its clients, and requests to it. It holds the containers of runs for the clean-up.
//! What containers are for is not known here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error as DockerError;

use super::removal;
use crate::cleanup::labels::{RUN_LABEL, run_label};
use crate::cleanup::{Aftermath, Leftover, ResourceKind, Resources, ShellRemoval};
use crate::console::error_text;

/// How long an engine may take to answer at all.
pub const ANSWER: Duration = Duration::from_secs(3);

/// How long an engine may take to do one thing, such as removing a container.
pub(super) const ACTION: Duration = Duration::from_secs(30);

/// The address of an engine. Not a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    uri: String,
}

/// A request to an engine that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No client for the address.
    #[error("cannot use the Docker engine at {uri}; choose another with DOCKER_HOST")]
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
        /// What happened instead.
        reason: String,
    },
    /// It refused.
    #[error("the Docker engine at {uri} could not {action}")]
    Refused {
        /// The engine.
        uri: String,
        /// The request.
        action: String,
        /// Its error.
        #[source]
        source: DockerError,
    },
    /// It took too long.
    #[error("timed out after {} s waiting for the Docker engine at {uri} to {action}", ACTION.as_secs())]
    Late {
        /// The engine.
        uri: String,
        /// The request.
        action: String,
    },
    /// The thread of the request panicked.
    #[error("the removal of containers panicked")]
    Panicked,
}

impl Engine {
    /// The engine at an address as in `DOCKER_HOST`.
    pub fn at(uri: &str) -> Self {
        Self { uri: uri.to_owned() }
    }

    /// The engine that testcontainers uses: `DOCKER_HOST`, or the first of Docker's usual sockets that exists.
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

    /// A client of the engine, after one request that shows that it answers.
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
                    let reason = "TLS is required, but DOCKER_CERT_PATH, the directory of the keys, is not set";
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

    /// Sends a request to the engine, with a timeout.
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
        "permission denied: join the group of its socket, usually `docker`"
    } else {
        "start it, or choose another with DOCKER_HOST"
    }
}

/// The kind of a run's containers, for the clean-up.
pub(super) static CONTAINERS: ResourceKind = ResourceKind {
    key: "engine",
    read: |record| Some(Arc::new(Engine::at(record.as_str()?))),
    current: || Some(Arc::new(Engine::from_environment())),
};

#[async_trait]
impl Resources for Engine {
    fn kind(&self) -> &'static ResourceKind {
        &CONTAINERS
    }

    fn to_record(&self) -> serde_json::Value {
        self.uri.as_str().into()
    }

    /// Whether it is reached by a socket of this machine.
    fn is_local(&self) -> bool {
        self.uri.starts_with("unix://")
    }

    fn remove(&self, id: &str, aftermath: &Aftermath) -> Result<(), Leftover> {
        removal::remove_run_blocking(self, id, aftermath).map_err(|error| leftover(&run_label(id), error))
    }

    fn shell_removal(&self, id: &str) -> ShellRemoval {
        ShellRemoval {
            script: removal::SCRIPT,
            arguments: vec![run_label(id)],
            environment: vec![("DOCKER_HOST", self.uri.clone().into())],
        }
    }

    async fn count_dead(&self) -> Option<usize> {
        let docker = self.connect().await.ok()?;
        removal::count_dead(self, &docker).await.ok()
    }

    async fn remove_dead(&self) -> Result<usize, Leftover> {
        // An engine that does not answer is reported by whoever needs it.
        let Ok(docker) = self.connect().await else { return Ok(0) };
        removal::remove_dead(self, &docker).await.map_err(|error| leftover(RUN_LABEL, error))
    }
}

fn leftover(label: &str, source: EngineError) -> Leftover {
    let text = format!(
        "containers with the label {label} are left; remove them with `docker rm -f -v $(docker ps -aq --filter \
         label={label})`"
    );
    Leftover::Resources { text, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_engine_that_does_not_answer_times_out() {
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
    async fn the_error_of_a_missing_engine_has_its_address() {
        for uri in ["unix:///does/not/exist.sock", "tcp://127.0.0.1:1"] {
            let error = Engine::at(uri).connect().await.unwrap_err();
            assert!(matches!(error, EngineError::NoAnswer { .. }), "{error}");
            assert!(error.to_string().contains(uri), "{error}");
        }
        let error = Engine::at("carrier-pigeon://x").connect().await.unwrap_err();
        assert!(matches!(error, EngineError::Client { .. }), "{error}");
    }

    #[test]
    fn the_advice_depends_on_why_the_engine_does_not_answer() {
        let text = |reason: &str| EngineError::NoAnswer { uri: "u".into(), reason: reason.into() }.to_string();
        assert!(text("Permission denied (os error 13)").ends_with("join the group of its socket, usually `docker`"));
        assert!(text("Connection refused").ends_with("start it, or choose another with DOCKER_HOST"));
    }

    #[tokio::test]
    #[ignore = "needs a Docker engine with Fabric's images, and the docker command"]
    async fn needs_docker_the_shell_script_removes_containers() {
        use crate::cleanup::reaper::{Reaper, Running};
        use std::process::Command;

        let parent = tempfile::tempdir().unwrap();
        let workspace = crate::cleanup::made_in(parent.path());
        let removal = Engine::from_environment().shell_removal("test-of-the-shell-script");
        let label = run_label("test-of-the-shell-script");
        let reaper = Running::start(&Reaper::Shell, workspace.directory(), Some(&removal)).unwrap();
        let create = ["create", "--label", &label, "hyperledger/fabric-peer:3.1"];
        let made = Command::new("docker").args(create).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        reaper.finish();
        let list = ["ps", "-aq", "--filter", &format!("label={label}")].map(str::to_owned);
        let left = Command::new("docker").args(list).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&left.stdout), "");
        assert!(!workspace.directory().exists());
    }
}
