//! SIGINT and SIGTERM as a value that can be awaited in several places.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Whether a signal has asked the program to end. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<Option<&'static str>>);

impl Interrupt {
    /// Handles the signals from now on. They no longer end the program.
    ///
    /// # Errors
    ///
    /// The signal handlers cannot be installed.
    pub fn listen() -> io::Result<Self> {
        let (sender, receiver) = watch::channel(None);
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            sender.send_replace(Some(name));
            // Keeps the value for later callers.
            sender.closed().await;
        });
        Ok(Self(receiver))
    }

    /// An interrupt that never happens, for callers that handle signals themselves.
    pub fn never() -> Self {
        Self(watch::channel(None).1)
    }

    /// Waits for the first signal and returns its name.
    pub async fn received(&self) -> &'static str {
        let mut receiver = self.0.clone();
        let name = receiver.wait_for(Option::is_some).await.ok().and_then(|name| *name);
        match name {
            Some(name) => name,
            None => std::future::pending().await,
        }
    }
}
