//! External builders. The first builder whose detect accepts a package builds and releases it, and
//! the output is kept.
//!
//! Follows Fabric's core/container/externalbuilder. The programs are child processes in this
//! process's group. Packages that need Docker fail as on a peer without Docker.

mod command;
mod context;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::command::{Programs, Session};
use self::context::{BuildContext, copy_tree, sanitized};
use super::config::ChaincodeConfig;
use super::connection::{ConnectionError, ServerInfo};
use super::go;
use super::package::Package;
use crate::trace::Tracer;

/// The time between SIGTERM and SIGKILL for a chaincode.
const TERMINATION: Duration = Duration::from_secs(5);

/// Why a build failed. The texts are Fabric's, after `could not build chaincode: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The stored package is missing or invalid.
    #[error("failed to get chaincode package for external build: {0}")]
    Package(String),
    /// A builder failed, or its output could not be stored.
    #[error("external builder failed: {0}")]
    Builder(String),
    /// No builder accepted the package, and there is no Docker.
    #[error("docker build failed: docker build is disabled")]
    NoBuilder,
}

/// A built chaincode.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    programs: Programs,
    temporary: PathBuf,
    build: PathBuf,
    release: PathBuf,
    release_knows_domain: bool,
}

/// Builds packages, or finds their existing builds.
#[derive(Debug)]
pub(super) struct Detector {
    durable: PathBuf,
    temporary: PathBuf,
    builders: Vec<Programs>,
    knows_domain: bool,
}

impl Detector {
    /// Reads the configured builders and creates the directory for builds.
    pub(super) fn new(node: &Arc<str>, config: &ChaincodeConfig, tracer: &Tracer) -> io::Result<Self> {
        let durable = config.file_system_path.join("externalbuilder").join("builds");
        fs::create_dir_all(&durable)?;
        let builders = config.external_builders.iter().map(|builder| Programs {
            node: node.clone(),
            builder: builder.name.as_str().into(),
            location: builder.path.clone(),
            environment: Programs::environment(&builder.propagate_environment, |name| config.variable(name)),
            working_directory: config.working_directory.clone(),
            tracer: tracer.clone(),
        });
        let temporary = config.variable("TMPDIR").filter(|value| !value.is_empty()).map(PathBuf::from);
        let temporary = config.working_directory.join(temporary.unwrap_or_else(|| PathBuf::from("/tmp")));
        let knows_domain = config.release.has_connection_domain();
        Ok(Self { durable: fs::canonicalize(durable)?, temporary, builders: builders.collect(), knows_domain })
    }

    /// Returns the build of a package, building it first if necessary.
    pub(super) async fn build(&self, package_id: &str, package: &[u8]) -> Result<Instance, BuildError> {
        let cached = self.cached(package_id);
        if let Some(instance) =
            cached.map_err(|error| BuildError::Builder(format!("existing build could not be restored: {error}")))?
        {
            return Ok(instance);
        }
        let context = self.context(package_id, package).await?;
        let mut taken = None;
        for builder in &self.builders {
            match builder.run("detect", &[&context.source, &context.metadata]).await {
                Ok(()) => {
                    taken = Some(builder);
                    break;
                }
                Err(error) => tracing::debug!("builder '{}' detect failed: {error}", builder.builder),
            }
        }
        let builder = taken.ok_or_else(|| {
            tracing::debug!("no external builder detected for {package_id}");
            BuildError::NoBuilder
        })?;
        let name = &builder.builder;
        builder.run("build", &[&context.source, &context.metadata, &context.build]).await.map_err(|error| {
            BuildError::Builder(format!("external builder failed to build: external builder '{name}' failed: {error}"))
        })?;
        if is_executable(&builder.path("release")) {
            builder.run("release", &[&context.build, &context.release]).await.map_err(|error| {
                BuildError::Builder(format!(
                    "external builder failed to release: builder '{name}' release failed: {error}"
                ))
            })?;
        } else {
            builder.skipped("release");
        }
        let durable = self.directory(package_id);
        let kept = { durable.clone() };
        let name = name.clone();
        let keep = move || keep(&context, &kept, &name);
        tokio::task::spawn_blocking(keep)
            .await
            .map_err(|error| BuildError::Builder(error.to_string()))?
            .map_err(BuildError::Builder)?;
        Ok(self.instance(builder, &durable))
    }

    /// Unpacks a package into the builder's directories.
    async fn context(&self, package_id: &str, package: &[u8]) -> Result<BuildContext, BuildError> {
        let package = Package::parse(package)
            .map_err(|error| BuildError::Package(format!("error retrieving chaincode package: {error}")))?;
        let (temporary, package_id) = (self.temporary.clone(), package_id.to_owned());
        tokio::task::spawn_blocking(move || {
            BuildContext::new(&temporary, &package_id, &package.metadata_json, &package.code)
        })
        .await
        .map_err(|error| BuildError::Builder(error.to_string()))?
        .map_err(|error| BuildError::Builder(format!("could not create build context: {error}")))
    }

    fn directory(&self, package_id: &str) -> PathBuf {
        self.durable.join(sanitized(package_id))
    }

    fn instance(&self, builder: &Programs, durable: &Path) -> Instance {
        Instance {
            programs: builder.clone(),
            temporary: self.temporary.clone(),
            build: durable.join("bld"),
            release: durable.join("release"),
            release_knows_domain: self.knows_domain,
        }
    }

    /// The existing build of a package. An incomplete build counts, as in Fabric.
    fn cached(&self, package_id: &str) -> Result<Option<Instance>, String> {
        let durable = self.directory(package_id);
        if !durable.exists() {
            return Ok(None);
        }
        let path = durable.join("build-info.json");
        let json = fs::read(&path).map_err(|error| {
            let path = path.display();
            format!("could not read '{path}' for build info: open {path}: {}", go::os_error(&error))
        })?;
        let info: serde_json::Value = serde_json::from_slice(&json)
            .map_err(|error| format!("malformed build info at '{}': {}", path.display(), go::json_error(&error)))?;
        let member = info.as_object().and_then(|members| go::json_member(members, "builder_name"));
        let name = member.and_then(serde_json::Value::as_str).unwrap_or_default();
        let builder = self.builders.iter().find(|builder| &*builder.builder == name).ok_or_else(|| {
            format!(
                "chaincode '{package_id}' was already built with builder '{name}', but that builder is no longer available"
            )
        })?;
        Ok(Some(self.instance(builder, &durable)))
    }
}

/// Copies a builder's output to its permanent directory.
fn keep(context: &BuildContext, durable: &Path, builder: &str) -> Result<(), String> {
    DirBuilder::new().mode(0o700).create(durable).map_err(|error| {
        let path = durable.display();
        format!("could not create dir '{path}' to persist build output: mkdir {path}: {}", go::os_error(&error))
    })?;
    let info = serde_json::json!({ "builder_name": builder }).to_string();
    let mut options = fs::OpenOptions::new();
    options.create_new(true).write(true).mode(0o600);
    options
        .open(durable.join("build-info.json"))
        .and_then(|mut file| io::Write::write_all(&mut file, info.as_bytes()))
        .map_err(|error| format!("could not write build-info.json: {}", go::os_error(&error)))?;
    for (name, from) in [("release", &context.release), ("bld", &context.build)] {
        copy_tree(from, &durable.join(name)).map_err(|error| {
            format!(
                "could not move or copy build context {name} to persistent location '{}': {error}",
                durable.display()
            )
        })?;
    }
    Ok(())
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

impl Instance {
    /// The address of the chaincode server; `None` if the builder released no connection.json.
    pub(super) fn server(&self) -> Result<Option<ServerInfo>, ConnectionError> {
        let path = self.release.join("chaincode").join("server").join("connection.json");
        ServerInfo::read(&path, self.release_knows_domain)
    }

    /// Starts the builder's run program with the given chaincode.json. The error is Fabric's text.
    pub(super) async fn run(&self, chaincode_json: &serde_json::Value) -> Result<Running, String> {
        let prepared = || {
            let launch = tempfile::Builder::new().prefix("fabric-run").tempdir_in(&self.temporary)?;
            let mut options = fs::OpenOptions::new();
            options.create_new(true).write(true).mode(0o600);
            let mut file = options.open(launch.path().join("chaincode.json"))?;
            io::Write::write_all(&mut file, chaincode_json.to_string().as_bytes())?;
            Ok(launch)
        };
        let launch = prepared().map_err(|error: io::Error| {
            format!("could not execute run: could not create temp run dir: {}", go::os_error(&error))
        })?;
        let started = self.programs.start("run", &[&self.build, launch.path()]).await;
        let builder = self.programs.builder.clone();
        let session = started
            .map_err(|error| format!("could not execute run: builder '{builder}' run failed to start: {error}"))?;
        Ok(Running { session, builder, _launch: launch })
    }
}

/// A chaincode started by a builder. Dropping it kills the program.
pub(super) struct Running {
    session: Session,
    builder: Arc<str>,
    _launch: tempfile::TempDir,
}

impl Running {
    /// Waits until the chaincode exits. On `stop` it gets SIGTERM, then SIGKILL. Returns Fabric's
    /// text for the exit.
    pub(super) async fn wait(self, stop: &tokio_util::sync::CancellationToken) -> String {
        let Self { session, builder, _launch } = self;
        let id = session.id();
        let mut ended = std::pin::pin!(session.wait());
        let result = tokio::select! {
            result = &mut ended => result,
            () = stop.cancelled() => {
                terminate(id);
                let in_time = tokio::time::timeout(TERMINATION, ended).await;
                in_time.unwrap_or_else(|_| Err("signal: killed".to_owned()))
            }
        };
        match result {
            Ok(()) => "container exited with 0".to_owned(),
            Err(error) => format!("failed to wait on container exit: builder '{builder}' run failed: {error}"),
        }
    }
}

fn terminate(id: Option<u32>) {
    let process = id.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(process) = process
        && let Err(error) = rustix::process::kill_process(process, rustix::process::Signal::TERM)
    {
        tracing::debug!("cannot signal the chaincode, it may have exited: {error}");
    }
}
