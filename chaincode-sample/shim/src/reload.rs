//! The server's TLS while it runs: files that have changed are read again
//! before the next handshake.
//!
//! Nothing watches the files: each connection looks at them, which peers make
//! seldom, and which follows links as Kubernetes swaps them. Files that cannot
//! be used leave what is there in use, since a renewal is several writes.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use tracing::{info, warn};

use crate::tls::{TlsError, TlsFiles};

/// When each file was written, and how long it is.
type Stamp = [Option<(SystemTime, u64)>; 3];

/// TLS from files that may change.
pub(crate) struct ReloadingTls {
    files: TlsFiles,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    loaded: Stamp,
    /// What was last complained about.
    refused: Option<Stamp>,
}

impl ReloadingTls {
    /// Reads and checks the files.
    pub(crate) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        // Taken first: what changes while the files are read is seen later.
        let loaded = stamp(&files);
        let config = files.load()?;
        Ok(Self { files, state: Mutex::new(State { config, loaded, refused: None }) })
    }

    /// What the next handshake uses. Reads files, so it may block.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&self.files);
        if now == state.loaded {
            return Arc::clone(&state.config);
        }
        match self.files.load() {
            Ok(config) => {
                info!(certificate = %self.files.certificate.display(), "TLS files have changed and are in use");
                *state = State { config, loaded: now, refused: None };
            }
            Err(error) if state.refused != Some(now) => {
                warn!(error = text(&error), "TLS files have changed and cannot be used: the former ones stay");
                state.refused = Some(now);
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
