//! The live list: on a terminal, the steps that run at the moment, below whatever was said.
//!
//! Elsewhere (a pipe, CI, `NO_COLOR`, `TERM=dumb`) there is none, and nothing but lines is printed.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often it is drawn.
const TICK: Duration = Duration::from_millis(100);

/// The one that is shown. There is one terminal.
static LIVE: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// The live list, as long as this is kept.
#[derive(Debug)]
#[must_use]
pub struct Live(());

impl Live {
    /// Begins to show it, where that is possible and nobody has asked for more or less to be said.
    pub fn begin(wanted: bool) -> Self {
        let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        if wanted && io::stdout().is_terminal() && super::wants_colors() && !in_ci {
            let list = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
            *LIVE.lock().unwrap_or_else(PoisonError::into_inner) = Some(list);
        }
        Self(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(list) = LIVE.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = list.clear();
        }
    }
}

/// Shows a step until this is dropped.
#[derive(Debug)]
pub(super) struct Shown(Option<ProgressBar>);

/// Shows a step that has begun.
pub(super) fn step(name: &'static str) -> Shown {
    let list = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    Shown(list.as_ref().map(|list| {
        let milliseconds = |state: &ProgressState, to: &mut dyn fmt::Write| {
            let _ = write!(to, "{:>6}", state.elapsed().as_millis());
        };
        let style = ProgressStyle::with_template("{spinner:.cyan} {milliseconds} ms  {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner()).with_key("milliseconds", milliseconds);
        let bar = list.add(ProgressBar::new_spinner().with_style(style).with_message(name));
        bar.enable_steady_tick(TICK);
        bar
    }))
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
            if let Some(list) = LIVE.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
                list.remove(&bar);
            }
        }
    }
}

/// Lets others write to the terminal, above the list.
pub(super) fn aside<T>(write: impl FnOnce() -> T) -> T {
    let list = LIVE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match list {
        Some(list) => list.suspend(write),
        None => write(),
    }
}

/// Stderr, for the program's own log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        aside(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
