//! The processes of a run: found by a mark that they inherit, and ended for certain.
//!
//! A process belongs to a run when its environment holds [`RUN_VARIABLE`] with the run's directory,
//! or when it is in the run's process group and works in the run's directory. A process number alone
//! proves nothing, because numbers are used again: on Linux each process is pinned by a pidfd before
//! it is looked at, so what is signalled is what was looked at. Elsewhere nothing can be looked at
//! this way, and only the reaper, which is itself the group's leader, ends the group.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Environment variable that every process of a run is started with; its value is the directory.
pub const RUN_VARIABLE: &str = "FABRIC_HARNESS_RUN";

/// How long the processes have between SIGTERM and SIGKILL.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// Bound for the kernel to take away what was sent SIGKILL.
const KILL_BOUND: Duration = Duration::from_secs(3);

const PAUSE: Duration = Duration::from_millis(3);

/// How the processes of one run are recognized.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// The run's directory, as in [`RUN_VARIABLE`].
    pub(crate) directory: PathBuf,
    /// The run's process group, when there is one.
    pub(crate) group: Option<u32>,
    /// A process that is left alone: the reaper.
    pub(crate) spare: Option<u32>,
}

/// Ends every process of the run: SIGTERM, a bounded wait, SIGKILL, a bounded wait.
///
/// Returns how many there were, or the numbers of those that SIGKILL did not end. It blocks.
pub(crate) fn end(mark: &Mark, grace: Duration) -> Result<usize, Vec<u32>> {
    let first = find(mark);
    let count = first.len();
    for process in first {
        process.signal(rustix::process::Signal::TERM);
    }
    if gone(mark, grace, |_| {}) {
        return Ok(count);
    }
    // Signalled at each look, so a process that forks meanwhile can't keep ahead.
    if gone(mark, KILL_BOUND, |process| process.signal(rustix::process::Signal::KILL)) {
        return Ok(count);
    }
    Err(find(mark).iter().map(|process| process.number).collect())
}

fn gone(mark: &Mark, bound: Duration, each: impl Fn(&Process)) -> bool {
    let deadline = Instant::now() + bound;
    loop {
        let left = find(mark);
        if left.is_empty() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        left.iter().for_each(&each);
        std::thread::sleep(PAUSE);
    }
}

/// A process that was looked at.
pub(crate) struct Process {
    number: u32,
    #[cfg(target_os = "linux")]
    handle: rustix::fd::OwnedFd,
}

#[cfg(target_os = "linux")]
impl Process {
    /// A failure means that it ended by itself, which is as good.
    fn signal(&self, signal: rustix::process::Signal) {
        let _ = rustix::process::pidfd_send_signal(&self.handle, signal);
    }

    fn pin(number: u32) -> Option<Self> {
        let pid = rustix::process::Pid::from_raw(i32::try_from(number).ok()?)?;
        let flags = rustix::process::PidfdFlags::empty();
        Some(Self { number, handle: rustix::process::pidfd_open(pid, flags).ok()? })
    }
}

#[cfg(not(target_os = "linux"))]
impl Process {
    fn signal(&self, _: rustix::process::Signal) {}
}

/// The living processes of the run. Zombies are not among them.
#[cfg(target_os = "linux")]
pub(crate) fn find(mark: &Mark) -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|number| Some(*number) != mark.spare && *number != std::process::id())
        .filter_map(|number| {
            let process = Process::pin(number)?;
            belongs(mark, number).then_some(process)
        })
        .collect()
}

/// Elsewhere than on Linux there is no such look; see the module's text.
#[cfg(not(target_os = "linux"))]
pub(crate) fn find(_: &Mark) -> Vec<Process> {
    Vec::new()
}

#[cfg(target_os = "linux")]
fn belongs(mark: &Mark, number: u32) -> bool {
    let Some(stat) = Stat::read(number) else { return false };
    if matches!(stat.state, 'Z' | 'X') {
        return false;
    }
    let process = Path::new("/proc").join(number.to_string());
    let in_group = mark.group == Some(stat.group)
        && std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&mark.directory));
    in_group || has_variable(&process, &mark.directory)
}

#[cfg(target_os = "linux")]
fn has_variable(process: &Path, directory: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    // Not readable means another user's, and so not ours.
    let Ok(environment) = std::fs::read(process.join("environ")) else { return false };
    let wanted = [RUN_VARIABLE.as_bytes(), b"=", directory.as_os_str().as_bytes()].concat();
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
}

/// What /proc/PID/stat says of a process.
#[derive(Debug)]
pub(crate) struct Stat {
    state: char,
    group: u32,
    /// When it started, in clock ticks after boot.
    pub(crate) started: u64,
}

impl Stat {
    /// Nothing when there is no such process, or no /proc.
    pub(crate) fn read(number: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?)
    }

    /// The program's name, the second field, may hold spaces and parentheses.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_a_name_with_parentheses() {
        let text = "7 (a) (b c) S 1 42 42 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 9876 1 1";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.group, stat.started), ('S', 42, 9876));
    }

    #[test]
    fn stat_of_garbage_is_nothing() {
        for text in ["", "7", "7 (a", "7 (a) S", "7 (a) S 1 x 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"] {
            assert!(Stat::parse(text).is_none(), "{text}");
        }
    }
}
