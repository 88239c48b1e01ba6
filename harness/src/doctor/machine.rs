//! This machine itself: architecture, clock, ports, the place for runs.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Finding;
use crate::runtime::can_take_ports;

/// More than the largest preset needs.
const PORTS: usize = 64;

/// A clock this far behind the build time of the program is wrong.
const BEHIND: Duration = Duration::from_hours(24);

pub(super) fn look(runs: &Path) -> Vec<Finding> {
    vec![architecture(), clock(SystemTime::now(), built()), ports(), place(runs)]
}

fn architecture() -> Finding {
    Finding::ok("architecture", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH))
}

/// When this program was written to the disk.
fn built() -> Option<SystemTime> {
    std::env::current_exe().ok()?.metadata().ok()?.modified().ok()
}

fn clock(now: SystemTime, built: Option<SystemTime>) -> Finding {
    let shown = time::OffsetDateTime::from(now).replace_nanosecond(0).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let shown = shown.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    match built {
        Some(built) if built.duration_since(now).is_ok_and(|behind| behind > BEHIND) => Finding::problem(
            "clock",
            format!("it is {shown}, which is before this program was built: certificates will not be valid; set it"),
        ),
        _ => Finding::ok("clock", shown),
    }
}

fn ports() -> Finding {
    match can_take_ports(PORTS) {
        Ok(()) => Finding::ok("ports", format!("{PORTS} of 127.0.0.1 are free at the same time")),
        Err(error) => Finding::problem(
            "ports",
            format!("{PORTS} of 127.0.0.1 are not free at the same time: {error}; end what holds them (`ss -ltn`)"),
        ),
    }
}

fn place(runs: &Path) -> Finding {
    match tempfile::tempdir_in(runs) {
        Ok(_) => Finding::ok("runs", format!("{} can be written to", runs.display())),
        Err(error) => {
            let reason = format!("{} can't be written to: {error}; TMPDIR chooses another place", runs.display());
            Finding::problem("runs", reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_clock_behind_the_programs_own_file_is_a_problem() {
        let now = SystemTime::now();
        let level = |built| clock(now, built).level;
        assert_eq!(level(Some(now + BEHIND * 2)), Level::Problem);
        assert_eq!(level(Some(now + BEHIND / 2)), Level::Ok);
        assert_eq!((level(Some(now - BEHIND)), level(None)), (Level::Ok, Level::Ok));
    }

    #[test]
    fn a_place_that_is_not_there_is_a_problem() {
        assert_eq!(place(Path::new("/does/not/exist")).level, Level::Problem);
        assert_eq!(place(&std::env::temp_dir()).level, Level::Ok);
    }
}
