//! The program's log on stderr, above the live list of steps.

use super::{progress, wants_colors};
use std::io::{self, IsTerminal as _};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Enables the program's log on stderr: warnings; with `-vv` also what is done to the nodes; with
/// `-vvvv` also every message.
pub fn log(verbosity: u8) {
    use tracing_subscriber::filter::LevelFilter;
    let level = match verbosity {
        0 | 1 => LevelFilter::WARN,
        2 | 3 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let colors = io::stderr().is_terminal() && wants_colors();
    let own = tracing_subscriber::filter::Targets::new().with_target("fabric_harness", level);
    let format = tracing_subscriber::fmt::layer()
        .without_time()
        .with_target(false)
        .with_ansi(colors)
        .with_writer(|| progress::Stderr);
    // A second call, as in a test, fails; the first subscriber remains.
    let _ = tracing_subscriber::registry().with(own).with(format).try_init();
}
