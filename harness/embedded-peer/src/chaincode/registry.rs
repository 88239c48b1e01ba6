//! The running chaincodes of a peer, and those being launched.
//!
//! Follows Fabric's `core/chaincode/handler_registry.go`. It does no I/O.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::handler::Handler;

/// The running and launching chaincodes of a peer.
#[derive(Debug, Default)]
pub(super) struct Registry {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    handlers: HashMap<String, Arc<Handler>>,
    launching: HashMap<String, Arc<LaunchState>>,
}

/// The result of a launch, set once.
#[derive(Debug)]
pub(super) struct LaunchState {
    result: watch::Sender<Option<Result<(), String>>>,
}

impl LaunchState {
    fn new() -> Arc<Self> {
        Arc::new(Self { result: watch::Sender::new(None) })
    }

    /// Sets the result, unless it is set already.
    pub(super) fn set(&self, result: Result<(), String>) {
        self.result.send_if_modified(|current| {
            let is_first = current.is_none();
            if is_first {
                *current = Some(result);
            }
            is_first
        });
    }

    /// Waits for the result. The launching task sets it within the startup timeout.
    pub(super) async fn wait(&self) -> Result<(), String> {
        let mut receiver = self.result.subscribe();
        match receiver.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Ok(())),
            Err(_) => Err("the peer is being stopped".to_owned()),
        }
    }
}

/// Who performs a launch.
pub(super) enum Launching {
    /// The caller must launch it.
    New(Arc<LaunchState>),
    /// Another caller launches or has launched it.
    Existing(Arc<LaunchState>),
}

impl Registry {
    /// The handler of a chaincode that has registered.
    pub(super) fn handler(&self, package_id: &str) -> Option<Arc<Handler>> {
        self.lock().handlers.get(package_id).cloned()
    }

    /// Starts a launch, unless there is one.
    pub(super) fn launching(&self, package_id: &str) -> Launching {
        let mut entries = self.lock();
        if let Some(state) = entries.launching.get(package_id) {
            return Launching::Existing(state.clone());
        }
        let state = LaunchState::new();
        if entries.handlers.contains_key(package_id) {
            state.set(Ok(()));
            return Launching::Existing(state);
        }
        entries.launching.insert(package_id.to_owned(), state.clone());
        Launching::New(state)
    }

    /// Registers a chaincode that sent its package ID. The error is Fabric's.
    pub(super) fn register(&self, package_id: &str, handler: &Arc<Handler>) -> Result<(), String> {
        let mut entries = self.lock();
        if entries.handlers.contains_key(package_id) {
            return Err(format!("duplicate chaincodeID: {package_id}"));
        }
        if !entries.launching.contains_key(package_id) {
            return Err(format!(
                "peer will not accept external chaincode connection {package_id} (except in dev mode)"
            ));
        }
        entries.handlers.insert(package_id.to_owned(), handler.clone());
        Ok(())
    }

    /// Sets the result of a launch.
    pub(super) fn finish_launch(&self, package_id: &str, result: Result<(), String>) {
        let state = self.lock().launching.get(package_id).cloned();
        if let Some(state) = state {
            state.set(result);
        }
    }

    /// Removes a failed launch.
    pub(super) fn forget_launch(&self, package_id: &str, launch: &Arc<LaunchState>) {
        let mut entries = self.lock();
        if entries.launching.get(package_id).is_some_and(|state| Arc::ptr_eq(state, launch)) {
            entries.launching.remove(package_id);
        }
    }

    /// Removes a chaincode whose stream has ended, so that the next call launches it again.
    pub(super) fn deregister(&self, package_id: &str, handler: &Arc<Handler>) {
        let mut entries = self.lock();
        if entries.handlers.get(package_id).is_some_and(|registered| Arc::ptr_eq(registered, handler)) {
            entries.handlers.remove(package_id);
            entries.launching.remove(package_id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
