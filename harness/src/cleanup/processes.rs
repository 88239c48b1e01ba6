//! The processes of a run: how they are found, and how they are ended.
//!
//! A process belongs to a run if its environment has [`RUN_VARIABLE`] with the run's directory; or if it is
//! in the run's process group, and the group's leader is known to be alive or the process's working
//! directory is in the run's directory; or if it is in the run's control group. Process IDs are reused, so on Linux
//! each process is pinned by a pidfd before it is examined. On other systems only the reaper, which leads the group,
//! ends the group.

use super::control_group::ControlGroup;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Environment variable of every process of a run. Its value is the run's directory.
pub const RUN_VARIABLE: &str = "FABRIC_HARNESS_RUN";

/// Environment variable of a chaincode server and its child processes. Its value is the server's name.
pub(crate) const SERVER_VARIABLE: &str = "FABRIC_HARNESS_SERVER";

/// Time between SIGTERM and SIGKILL.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// Timeout after SIGKILL.
const KILL_BOUND: Duration = Duration::from_secs(3);

const PAUSE: Duration = Duration::from_millis(3);

/// How the processes of one run are recognized.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// The run's directory, as in [`RUN_VARIABLE`].
    pub(crate) directory: PathBuf,
    /// The run's process group, if it has one.
    pub(crate) group: Option<u32>,
    /// A process that is not ended: the reaper, if it is alive.
    pub(crate) spare: Option<u32>,
    /// The run's control group, if it has one.
    pub(crate) control_group: Option<ControlGroup>,
}

/// Ends every process of the run: SIGTERM, and after `grace` SIGKILL. It blocks.
///
/// Returns how many there were, or the IDs of those that did not end after SIGKILL.
pub(crate) fn end(mark: &Mark, grace: Duration) -> Result<usize, Vec<u32>> {
    end_those(|| find(mark), grace)
}

/// As [`end`], for the processes that a chaincode server of a run has started.
pub(crate) fn end_server(directory: &Path, name: &str, grace: Duration) -> Result<usize, Vec<u32>> {
    let is_of_server = |process: &Path| {
        has_variable(process, RUN_VARIABLE, directory.as_os_str())
            && has_variable(process, SERVER_VARIABLE, name.as_ref())
    };
    end_those(|| find_those(|number| lives(number).is_some() && is_of_server(&directory_of(number))), grace)
}

fn end_those(find: impl Fn() -> Vec<Process>, grace: Duration) -> Result<usize, Vec<u32>> {
    let first = find();
    let count = first.len();
    for process in &first {
        process.signal(rustix::process::Signal::TERM);
    }
    if gone(&find, &first, grace, |_| {}) {
        return Ok(count);
    }
    // Each round sends the signal again, because a process may have forked meanwhile.
    if gone(&find, &first, KILL_BOUND, |process| process.signal(rustix::process::Signal::KILL)) {
        return Ok(count);
    }
    Err(find().iter().map(|process| process.number).collect())
}

/// Waits until all are gone. A process whose main thread has ended is not found any more, but keeps its
/// ports until all its threads have ended, so the processes in `first` are checked separately.
fn gone(find: &impl Fn() -> Vec<Process>, first: &[Process], bound: Duration, each: impl Fn(&Process)) -> bool {
    let deadline = Instant::now() + bound;
    loop {
        let left = find();
        if left.is_empty() && first.iter().all(Process::has_ended) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        left.iter().for_each(&each);
        std::thread::sleep(PAUSE);
    }
}

/// A pinned process.
pub(crate) struct Process {
    number: u32,
    #[cfg(target_os = "linux")]
    handle: rustix::fd::OwnedFd,
}

#[cfg(target_os = "linux")]
impl Process {
    /// Fails only if it has ended.
    fn signal(&self, signal: rustix::process::Signal) {
        let _ = rustix::process::pidfd_send_signal(&self.handle, signal);
    }

    /// Whether all of its threads have ended, or the handle is invalid.
    fn has_ended(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut handles = [PollFd::new(&self.handle, PollFlags::IN)];
        poll(&mut handles, Some(&Timespec::default())) != Ok(0)
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

    fn has_ended(&self) -> bool {
        true
    }
}

/// The processes of the run, without zombies.
pub(crate) fn find(mark: &Mark) -> Vec<Process> {
    find_those(|number| Some(number) != mark.spare && belongs(mark, number))
}

/// The processes for which `is_one` holds, except this process. Each is pinned before it is examined.
#[cfg(target_os = "linux")]
fn find_those(is_one: impl Fn(u32) -> bool) -> Vec<Process> {
    numbers()
        .filter(|number| *number != std::process::id())
        .filter_map(|number| {
            let process = Process::pin(number)?;
            is_one(number).then_some(process)
        })
        .collect()
}

/// Not possible on other systems; see the module's documentation.
#[cfg(not(target_os = "linux"))]
fn find_those(_: impl Fn(u32) -> bool) -> Vec<Process> {
    Vec::new()
}

/// The IDs of all processes. None on other systems.
pub(crate) fn numbers() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn directory_of(number: u32) -> PathBuf {
    Path::new("/proc").join(number.to_string())
}

/// The status of a process that is not a zombie.
fn lives(number: u32) -> Option<Stat> {
    Stat::read(number).filter(|stat| !matches!(stat.state, 'Z' | 'X'))
}

fn belongs(mark: &Mark, number: u32) -> bool {
    let Some(stat) = lives(number) else { return false };
    let process = directory_of(number);
    // The ID of a group is unique while its leader is alive.
    let in_group = mark.group == Some(stat.group)
        && (mark.group == mark.spare
            || std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&mark.directory)));
    in_group
        || has_variable(&process, RUN_VARIABLE, mark.directory.as_os_str())
        || mark.control_group.as_ref().is_some_and(|group| group.has(number))
}

fn has_variable(process: &Path, name: &str, value: &OsStr) -> bool {
    value_of(process, name).is_some_and(|seen| seen == value.as_encoded_bytes())
}

/// The value of an environment variable of a process, as far as it can be seen.
pub(crate) fn variable(number: u32, name: &str) -> Option<Vec<u8>> {
    value_of(&directory_of(number), name)
}

fn value_of(process: &Path, name: &str) -> Option<Vec<u8>> {
    // It is not readable if it belongs to another user.
    let environment = std::fs::read(process.join("environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    variables.find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec))
}

/// The relevant fields of /proc/PID/stat.
#[derive(Debug)]
pub(crate) struct Stat {
    state: char,
    group: u32,
    /// When it started, in clock ticks after boot.
    pub(crate) started: u64,
}

impl Stat {
    /// Reads the file, if the process and /proc exist.
    pub(crate) fn read(number: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?)
    }

    /// The second field, the program's name, may contain spaces and parentheses.
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
    fn an_invalid_stat_is_none() {
        for text in ["", "7", "7 (a", "7 (a) S", "7 (a) S 1 x 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"] {
            assert!(Stat::parse(text).is_none(), "{text}");
        }
    }
}
