//! Installs, launches and executes a peer's chaincodes.
//!
//! Follows Fabric's `core/chaincode/chaincode_support.go` and `runtime_launcher.go`. Lifecycle,
//! policies and endorsement are in other modules.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fabric_protos::protos::ChaincodeMessage;
use tokio::sync::{OnceCell, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::builder::{BuildError, Detector, Instance};
use super::call::{Call, Executed};
use super::config::ChaincodeConfig;
use super::connection::ServerInfo;
use super::dial::dial;
use super::error::{ExecuteError, InstallError, LaunchError};
use super::handler::{Handler, Settings};
use super::listener::Listener;
use super::package::{Installed, Package, PackageStore};
use super::registry::{LaunchState, Launching, Registry};
use super::session;
use crate::faults::Faults;
use crate::trace::{EventKind, Tracer};

/// A peer's chaincodes. Clones share them; dropping the last one ends streams and builder programs.
#[derive(Clone)]
pub struct ChaincodeSupport {
    shared: Arc<Shared>,
}

struct Shared {
    install_limit: Duration,
    startup_timeout: Duration,
    store: Arc<PackageStore>,
    detector: Arc<Detector>,
    builds: Mutex<HashMap<String, Arc<Build>>>,
    registry: Arc<Registry>,
    settings: Arc<Settings>,
    config: ChaincodeConfig,
    /// The listener for chaincode that the peer starts; created on first use.
    listener: OnceCell<Arc<Listener>>,
    stop: CancellationToken,
    _stops: DropGuard,
}

/// The result of a package's build; locked during the build.
type Build = tokio::sync::Mutex<Option<Result<Arc<Instance>, BuildError>>>;

impl ChaincodeSupport {
    /// Creates the chaincode support of a peer and its directories.
    ///
    /// # Errors
    ///
    /// A directory below the file system path cannot be created.
    pub fn new(peer_name: &str, config: &ChaincodeConfig, tracer: Tracer, faults: Faults) -> io::Result<Self> {
        let node: Arc<str> = peer_name.into();
        let store = PackageStore::open(&config.file_system_path.join("lifecycle").join("chaincodes"))?;
        let detector = Detector::new(&node, config, &tracer)?;
        let settings = Settings {
            node,
            release: config.release,
            parameters: config.runtime_parameters,
            total_query_limit: config.total_query_limit,
            execute_timeout: config.execute_timeout,
            keepalive: config.keepalive,
            tracer,
            faults,
        };
        let stop = CancellationToken::new();
        let shared = Shared {
            install_limit: config.install_limit(),
            startup_timeout: config.startup_timeout,
            store: Arc::new(store),
            detector: Arc::new(detector),
            builds: Mutex::default(),
            registry: Arc::default(),
            settings: Arc::new(settings),
            config: config.clone(),
            listener: OnceCell::new(),
            _stops: stop.clone().drop_guard(),
            stop,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Where a peer looks for a package of the legacy lifecycle, which never exists.
    pub(crate) fn legacy_package(&self, id: &str) -> PathBuf {
        self.shared.config.file_system_path.join("chaincodes").join(id)
    }

    /// The store of installed packages.
    pub fn packages(&self) -> &Arc<PackageStore> {
        &self.shared.store
    }

    /// Builds every package stored in the directory, as a peer does when it starts. A failed build
    /// is logged, and the chaincode counts as not installed.
    pub async fn restore(&self) {
        for stored in self.shared.store.stored() {
            let build = self.build_of(&stored.package_id);
            let mut build = build.lock().await;
            match self.build(&stored.package_id, &mut build).await {
                Ok(_) => self.shared.store.set_installed(stored),
                Err(error) => tracing::warn!("could not build chaincode '{}': {error}", stored.package_id),
            }
        }
    }

    /// Stores and builds a package. After the timeout the build continues, and the chaincode may
    /// become installed later.
    ///
    /// # Errors
    ///
    /// The package is invalid or already installed, or its build failed or timed out.
    pub async fn install(&self, bytes: Bytes) -> Result<Installed, InstallError> {
        let (result, answer) = oneshot::channel();
        let (this, stop) = (self.clone(), self.shared.stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                installed = this.install_now(bytes) => { let _ = result.send(installed); }
            }
        });
        match tokio::time::timeout(self.shared.install_limit, answer).await {
            Ok(Ok(installed)) => installed,
            Ok(Err(_)) => Err(InstallError::Stopped),
            Err(_) => Err(InstallError::Timeout),
        }
    }

    async fn install_now(&self, bytes: Bytes) -> Result<Installed, InstallError> {
        let store = self.shared.store.clone();
        let saved = tokio::task::spawn_blocking(move || {
            let label = Package::parse(&bytes)?.metadata.label;
            let package_id = store.save(&label, &bytes)?;
            Ok::<_, InstallError>(Installed { package_id, label })
        });
        let installed = saved.await.map_err(|_| InstallError::Stopped)??;
        let package_id = &installed.package_id;
        let build = self.build_of(package_id);
        let mut build = build.lock().await;
        if matches!(*build, Some(Ok(_))) {
            return Err(InstallError::AlreadyInstalled(package_id.clone()));
        }
        *build = None;
        if let Err(error) = self.build(package_id, &mut build).await {
            self.shared.store.delete(package_id);
            return Err(error.into());
        }
        self.shared.store.set_installed(installed.clone());
        Ok(installed)
    }

    fn build_of(&self, package_id: &str) -> Arc<Build> {
        let mut builds = self.shared.builds.lock().unwrap_or_else(PoisonError::into_inner);
        builds.entry(package_id.to_owned()).or_default().clone()
    }

    /// Returns the build of a package, building it if necessary.
    async fn build(
        &self,
        package_id: &str,
        build: &mut Option<Result<Arc<Instance>, BuildError>>,
    ) -> Result<Arc<Instance>, BuildError> {
        if let Some(known) = build {
            return known.clone();
        }
        let store = self.shared.store.clone();
        let id = package_id.to_owned();
        let package = tokio::task::spawn_blocking(move || store.get(&id)).await.ok().flatten();
        let result = if let Some(package) = package {
            self.shared.detector.build(package_id, &package).await.map(Arc::new)
        } else {
            let reason = format!("could not get legacy chaincode package '{package_id}': it is not installed");
            Err(BuildError::Package(reason))
        };
        *build = Some(result.clone());
        result
    }

    /// Launches a chaincode if it does not run: builds it, dials its server, waits for its
    /// registration.
    ///
    /// # Errors
    ///
    /// One of these steps failed, or the startup timeout expired.
    pub async fn launch(&self, package_id: &str) -> Result<(), LaunchError> {
        self.running(package_id).await.map(drop)
    }

    async fn running(&self, package_id: &str) -> Result<Arc<Handler>, LaunchError> {
        let registry = &self.shared.registry;
        if let Some(handler) = registry.handler(package_id)
            && handler.is_ready()
        {
            return Ok(handler);
        }
        let failed = |reason| LaunchError { package_id: package_id.to_owned(), reason };
        match registry.launching(package_id) {
            Launching::Existing(state) => {
                let launched = state.wait().await;
                launched.map_err(|reason| failed(format!("chaincode registration failed: {reason}")))?;
            }
            Launching::New(state) => {
                let (this, id) = (self.clone(), package_id.to_owned());
                // Spawned because other callers may wait for the launch even if this one stops
                // waiting.
                let launch = tokio::spawn(async move { this.launch_now(&id, &state).await });
                let launched = launch.await.unwrap_or_else(|_| Err("the peer is being stopped".to_owned()));
                launched.map_err(failed)?;
            }
        }
        registry.handler(package_id).ok_or_else(|| {
            failed(format!("claimed to start chaincode container for {package_id} but could not find handler"))
        })
    }

    async fn launch_now(&self, package_id: &str, state: &Arc<LaunchState>) -> Result<(), String> {
        let (fails, failure) = oneshot::channel();
        let progress = Arc::new(Mutex::new("the build is in progress".to_owned()));
        let runner = Runner {
            support: self.clone(),
            package_id: package_id.to_owned(),
            progress: progress.clone(),
            stop: self.shared.stop.clone(),
        };
        let launch_state = state.clone();
        tokio::spawn(async move {
            match runner.run().await {
                Ended::Failed(reason) => {
                    // After a successful launch nobody receives this.
                    let _ = fails.send(reason);
                }
                Ended::Exited(reason) => launch_state.set(Err(reason)),
            }
        });
        let result = tokio::select! {
            biased;
            launched = state.wait() => launched.map_err(|reason| format!("chaincode registration failed: {reason}")),
            reason = failure => {
                let reason = reason.unwrap_or_else(|_| "the peer is being stopped".to_owned());
                state.set(Err(reason.clone()));
                Err(reason)
            }
            () = tokio::time::sleep(self.shared.startup_timeout) => {
                let progress = progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let reason = format!(
                    "timeout expired while starting chaincode {package_id} for transaction: {progress}"
                );
                state.set(Err(reason.clone()));
                Err(reason)
            }
        };
        if let Err(reason) = &result {
            // An open stream stays open: a later registration can serve the next launch.
            tracing::debug!("stopping due to error while launching: {reason}");
            self.shared.registry.forget_launch(package_id, state);
        }
        result
    }

    /// Executes a transaction, launching the chaincode first if necessary.
    ///
    /// # Errors
    ///
    /// The chaincode does not run, timed out, lost its stream, or gave no response. A response with
    /// an error status is not an error here.
    pub async fn execute(&self, call: Call) -> Result<Executed, ExecuteError> {
        let (transaction_id, chaincode) = (call.transaction_id.clone(), call.chaincode.clone());
        Executed::from_message(self.invoke(call).await?, &transaction_id, &chaincode)
    }

    /// Like [`execute`](Self::execute), but returns the chaincode's final message, COMPLETED or
    /// ERROR.
    ///
    /// # Errors
    ///
    /// The chaincode does not run, timed out, or lost its stream.
    pub async fn invoke(&self, call: Call) -> Result<ChaincodeMessage, ExecuteError> {
        let transaction_id = call.transaction_id.clone();
        let ended = match self.running(&call.package_id).await {
            Ok(handler) => handler.execute(call).await,
            Err(error) => Err(error.into()),
        };
        ended.map_err(|reason| ExecuteError { transaction_id, reason })
    }

    /// Ends all streams and builder programs.
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }
}

/// How a chaincode ended.
enum Ended {
    /// The connection failed or the stream ended.
    Failed(String),
    /// The program started by the builder exited.
    Exited(String),
}

/// Builds and runs a chaincode: connects to its server, or starts it with the builder.
struct Runner {
    support: ChaincodeSupport,
    package_id: String,
    progress: Arc<Mutex<String>>,
    stop: CancellationToken,
}

impl Runner {
    /// Runs until the chaincode or its stream ends. Returns Fabric's text for the reason.
    async fn run(self) -> Ended {
        let result = {
            let build = self.support.build_of(&self.package_id);
            let mut build = build.lock().await;
            tokio::select! {
                () = self.stop.cancelled() => return Ended::Failed("the peer is being stopped".to_owned()),
                result = self.support.build(&self.package_id, &mut build) => result,
            }
        };
        let instance = match result {
            Ok(instance) => instance,
            Err(error) => return Ended::Failed(format!("error building chaincode: error building image: {error}")),
        };
        match instance.server() {
            Ok(Some(server)) => Ended::Failed(self.connect(server).await),
            Ok(None) => self.start(&instance).await,
            Err(error) => Ended::Failed(format!("error building chaincode: {error}")),
        }
    }

    /// Starts the chaincode with the builder and waits for its exit.
    async fn start(self, instance: &Instance) -> Ended {
        let shared = &self.support.shared;
        let begun = shared.listener.get_or_try_init(|| {
            Listener::start(&shared.config, shared.settings.clone(), shared.registry.clone(), shared.stop.clone())
        });
        let begun = begun.await.and_then(|listener| Ok((&listener.address, listener.credentials(&self.package_id)?)));
        let (address, credentials) = match begun {
            Ok(begun) => begun,
            Err(error) => return Ended::Failed(format!("could not get connection info: {error}")),
        };
        let chaincode_json = serde_json::json!({
            "chaincode_id": self.package_id,
            "peer_address": address,
            "client_cert": credentials.certificate,
            "client_key": credentials.key,
            "root_cert": credentials.root_certificate,
            "mspid": shared.config.msp_id,
        });
        self.set_progress("the builder's run was started, but no chaincode has registered".to_owned());
        let running = match instance.run(&chaincode_json).await {
            Ok(running) => running,
            // Fabric repeats the words.
            Err(error) => {
                return Ended::Failed(format!("error starting container: error starting container: {error}"));
            }
        };
        let stop = self.stop.clone();
        // Drop the reference so that the program does not outlive the peer's chaincodes.
        drop(self);
        Ended::Exited(running.wait(&stop).await)
    }

    async fn connect(self, server: ServerInfo) -> String {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => "the peer is being stopped".to_owned(),
            reason = self.connect_now(server) => reason,
        }
    }

    async fn connect_now(self, server: ServerInfo) -> String {
        let (package_id, address) = (self.package_id.clone(), server.address.clone());
        self.set_progress(format!("dialling {address}"));
        let shared = self.support.shared.clone();
        let again = |reason: &str| {
            let note = || EventKind::Note(format!("connection to {package_id} at {address} failed: {reason}"));
            shared.settings.tracer.emit(&shared.settings.node, note);
        };
        let link = match dial(&server, again).await {
            Ok(link) => link,
            Err(error) => {
                return format!(
                    "connection to {package_id} failed: error cannot create connection for {package_id}: error creating grpc connection to {address}: {error}"
                );
            }
        };
        self.set_progress(format!("the server at {address} has not registered"));
        let settings = self.support.shared.settings.clone();
        let (handler, commands) = Handler::new(settings, self.support.shared.registry.clone());
        handler.report_registration(self.progress.clone(), address);
        let stop = self.stop.clone();
        // Drop the reference so that the stream does not outlive the peer's chaincodes.
        drop(self);
        let reason = session::run(link, handler, commands, &package_id, &stop).await;
        format!("connection to {package_id} failed: error handling chaincode stream for {package_id}: {reason}")
    }

    fn set_progress(&self, to: String) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }
}
