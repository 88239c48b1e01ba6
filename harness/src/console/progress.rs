//! The live list of running steps, below the printed lines.
//!
//! It is shown on a terminal only: not in a pipe, in CI, or with `NO_COLOR` or `TERM=dumb`.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often the list is drawn.
const TICK: Duration = Duration::from_millis(100);

/// The list that is shown. There is one terminal, so there is one list.
static LIVE: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Shows the live list until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Live(());

impl Live {
    /// Shows the list if `wanted` and if stdout is a suitable terminal.
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

/// Shows a step until it is dropped.
#[derive(Debug)]
pub(super) struct Shown(Option<ProgressBar>);

/// Adds a step to the list.
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

/// Writes to the terminal above the list.
pub(super) fn above_list<T>(write: impl FnOnce() -> T) -> T {
    let list = LIVE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match list {
        Some(list) => list.suspend(write),
        None => write(),
    }
}

/// Stderr, for the program's log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        above_list(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
