//! A network that has its places, and nothing started yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fabric_network::bundle::Bundle;
use fabric_network::placement::Placement;
use tokio::task::JoinHandle;

use super::chaincode;
use super::running::Running;
use super::{
    ChaincodePlacement, ChaincodeSpec, Prepared, RuntimeError, RuntimeOptions, StartError, StartRequest,
    external_server, registry,
};
use crate::cleanup::{Leftover, Resources, RunGuard, Swept};
use crate::console::error_text;
use crate::tap::{self, Tap};

/// How long a run that has ended waits for its sweep of dead runs.
const SWEEP_BOUND: Duration = Duration::from_secs(1);

/// The run, owned: it ends when this is dropped, whoever else still refers to it.
#[derive(Debug)]
pub(super) struct OwnedRun {
    guard: Arc<RunGuard>,
    sweep: JoinHandle<Swept>,
}

impl Drop for OwnedRun {
    fn drop(&mut self) {
        self.guard.end().err().unwrap_or_default().iter().for_each(warn_of);
    }
}

impl OwnedRun {
    /// Starts the sweep of dead runs as well, also in these engines.
    pub(super) fn new(guard: RunGuard, options: &RuntimeOptions, engines: Vec<Arc<dyn Resources>>) -> Self {
        let parent = options.parent.clone();
        let sweep = tokio::spawn(async move { registry::sweep(&parent, engines).await });
        Self { guard: Arc::new(guard), sweep }
    }

    pub(super) fn guard(&self) -> &Arc<RunGuard> {
        &self.guard
    }

    /// Ends the run without blocking this thread; what could not be removed.
    pub(super) async fn end(&self) -> Vec<Leftover> {
        let guard = Arc::clone(&self.guard);
        let ended = tokio::task::spawn_blocking(move || guard.end().err().unwrap_or_default());
        ended.await.unwrap_or_default()
    }

    /// The sweep's result; nothing if it still runs, since the next run's sweep removes the rest.
    pub(super) async fn swept(&mut self) -> Swept {
        finished(&mut self.sweep).await
    }
}

/// The result of a sweep; nothing if it takes too long.
async fn finished(sweep: &mut JoinHandle<Swept>) -> Swept {
    let begin = Instant::now();
    let swept = tokio::time::timeout(SWEEP_BOUND, &mut *sweep).await;
    tracing::debug!("waited {} ms for the sweep of dead runs", begin.elapsed().as_millis());
    if let Ok(swept) = swept {
        return swept.unwrap_or_default();
    }
    tracing::debug!("the sweep of dead runs is not done; the next run's sweep removes the rest");
    sweep.abort();
    Swept::default()
}

fn warn_of(left: &Leftover) {
    tracing::warn!("{}", error_text(left));
}

/// Reserved places, and nothing started yet. Dropping it releases them.
#[derive(Debug)]
pub struct Placed {
    /// Where the nodes will be.
    pub placement: Placement,
    /// Where the chaincode servers will be, by name.
    pub chaincodes: BTreeMap<String, ChaincodePlacement>,
    /// The names of those that peers reach at the addresses of their package.
    pub at_package_addresses: BTreeSet<String>,
    pub(super) options: RuntimeOptions,
    pub(super) taps: Taps,
    pub(super) prepared: Box<dyn Prepared>,
    // Dropped after everything else.
    pub(super) run: OwnedRun,
}

/// The places of taps, or why there are none.
#[derive(Debug)]
pub(super) enum Taps {
    /// Not requested.
    Unwanted,
    /// The nodes report the messages themselves.
    Needless,
    /// Not possible, and why.
    Impossible(String),
    Placed(Vec<tap::Place>),
}

impl Taps {
    /// Starts them. The text is the source of the messages, for a report.
    fn start(self, bundle: &Bundle) -> Result<(Vec<Tap>, String), RuntimeError> {
        Ok(match self {
            Self::Unwanted => (Vec::new(), "not shown; -vvv places a tap between them".to_owned()),
            Self::Needless => (Vec::new(), "reported by the embedded peers".to_owned()),
            Self::Impossible(reason) => (Vec::new(), format!("not shown: {reason}")),
            Self::Placed(places) => {
                let taps = places.into_iter().map(|place| Tap::begin(place, bundle));
                let source = "recorded by a tap between them, which terminated their TLS on both sides";
                (taps.collect::<Result<_, _>>()?, source.to_owned())
            }
        })
    }
}

impl Placed {
    /// The run's directory, which is removed with the run.
    pub fn directory(&self) -> &Path {
        self.run.guard().workspace().directory()
    }

    /// Writes what the user needs who starts some of these servers: their files, and their environment as
    /// [`VARIABLES_FILE`](super::VARIABLES_FILE), in the directories of their places. The others' files
    /// are written when they are started.
    ///
    /// # Errors
    ///
    /// A file that cannot be written, or would replace one of the user's own.
    pub fn write_server_files(&self, chaincodes: &[ChaincodeSpec]) -> Result<(), RuntimeError> {
        let places = chaincode::placed(&self.chaincodes, chaincodes)?;
        places.into_iter().try_for_each(|(spec, place)| external_server::write_files(spec, place))
    }

    /// Starts every node of the bundle and these chaincode servers concurrently, and waits until each
    /// answers. Dropping the future stops whatever was started.
    ///
    /// # Errors
    ///
    /// The first node or server that cannot be started, exits, or does not answer in time, with its
    /// last log lines and, where it is known, the cause and the fix; and the whole logs, since the run has
    /// ended by then. After [`RuntimeError::is_port_in_use`], placing and starting once more takes other
    /// ports.
    pub async fn start(self, bundle: &Bundle, chaincodes: &[ChaincodeSpec]) -> Result<Running, StartError> {
        let chaincodes = chaincode::placed(&self.chaincodes, chaincodes)?;
        let (taps, message_source) = self.taps.start(bundle)?;
        let request = StartRequest { options: &self.options, guard: self.run.guard(), bundle, chaincodes: &chaincodes };
        match self.prepared.start(request).await {
            Ok(network) => {
                let stopped = Mutex::default();
                Ok(Running { network, taps, message_source, stopped, run: self.run })
            }
            Err(error) => {
                // Not in a destructor, where it would block everything else of this thread.
                self.run.end().await.iter().for_each(warn_of);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sweep_that_is_not_done_is_left_to_the_next_run() {
        let begin = tokio::time::Instant::now();
        let swept = finished(&mut tokio::spawn(std::future::pending())).await;
        assert_eq!(begin.elapsed(), SWEEP_BOUND);
        assert_eq!(swept.runs, 0);
        let mut done = tokio::spawn(async { Swept { runs: 3, ..Swept::default() } });
        assert_eq!(finished(&mut done).await.runs, 3);
    }
}
