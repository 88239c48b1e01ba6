//! SIGINT and SIGTERM, as something that can be awaited in several places. Ends nothing by itself.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Whether a signal has asked the program to end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<Option<&'static str>>);

impl Interrupt {
    /// Begins to listen; from now on these signals do not end the program any more.
    ///
    /// # Errors
    ///
    /// When the system refuses to tell of signals.
    pub fn listen() -> io::Result<Self> {
        let (sender, receiver) = watch::channel(None);
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            sender.send_replace(Some(name));
            // Whoever asks later is told as well.
            sender.closed().await;
        });
        Ok(Self(receiver))
    }

    /// One that never comes, for who handles signals elsewhere.
    pub fn never() -> Self {
        Self(watch::channel(None).1)
    }

    /// Waits for the first signal, and tells its name.
    pub async fn came(&self) -> &'static str {
        let mut receiver = self.0.clone();
        let name = receiver.wait_for(Option::is_some).await.ok().and_then(|name| *name);
        match name {
            Some(name) => name,
            None => std::future::pending().await,
        }
    }
}
