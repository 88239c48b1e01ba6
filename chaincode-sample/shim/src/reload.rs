//! Reloads the TLS files: changed files are read again before the next handshake.
//!
//! There is no file watcher. Each new connection checks the files; peers rarely connect, and the
//! check follows the symbolic links that Kubernetes replaces. Invalid files leave the current ones in
//! use, since a renewal takes several writes.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use tracing::{info, warn};

use crate::tls::{TlsError, TlsFiles};

/// Modification time and size of each file.
type Stamp = [Option<(SystemTime, u64)>; 3];

/// A TLS configuration from files that may change.
pub(crate) struct ReloadingTls {
    files: TlsFiles,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    loaded: Stamp,
    /// The invalid files that were last reported.
    rejected: Option<Stamp>,
}

impl ReloadingTls {
    /// Reads and checks the files.
    pub(crate) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        // Taken first, so that a change during the read is noticed later.
        let loaded = stamp(&files);
        let config = files.load()?;
        Ok(Self { files, state: Mutex::new(State { config, loaded, rejected: None }) })
    }

    /// The configuration for the next handshake. Reads files, so it may block.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&self.files);
        if now == state.loaded {
            return Arc::clone(&state.config);
        }
        match self.files.load() {
            Ok(config) => {
                info!(certificate = %self.files.certificate.display(), "reloaded the TLS files");
                *state = State { config, loaded: now, rejected: None };
            }
            Err(error) if state.rejected != Some(now) => {
                warn!(error = text(&error), "cannot reload the TLS files, keeping the previous ones");
                state.rejected = Some(now);
            }
            Err(_) => {}
        }
        Arc::clone(&state.config)
    }
}

fn stamp(files: &TlsFiles) -> Stamp {
    let of = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    [of(&files.key), of(&files.certificate), files.client_ca.as_deref().and_then(of)]
}

fn text(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
