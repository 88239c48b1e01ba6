//! A control group (cgroup) for the processes of a run.
//!
//! A process without privileges cannot leave it, whatever it does to its environment, process group, session and
//! parent. Where no control group can be made, a run has none.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

/// Where control groups are, by the controllers of a hierarchy in /proc/PID/cgroup: first version 2, then hierarchies of
/// version 1 that limit nothing.
const MOUNTS: [(&str, &str); 4] = [
    ("", "/sys/fs/cgroup"),
    ("", "/sys/fs/cgroup/unified"),
    ("name=systemd", "/sys/fs/cgroup/systemd"),
    ("pids", "/sys/fs/cgroup/pids"),
];

const PROCESSES: &str = "cgroup.procs";

/// How often the removal is tried: a process that has ended is a member until its parent has noticed.
const ATTEMPTS: u32 = 50;

const PAUSE: Duration = Duration::from_millis(4);

/// The directory of a control group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ControlGroup(PathBuf);

impl ControlGroup {
    /// The group for a run with this ID below that of this process. It does not exist yet. `None` if this process may
    /// not create it.
    pub(crate) fn of_run(id: &str) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mut parents = MOUNTS.iter().filter_map(|(controllers, mount)| {
            let path = path_in(&own, controllers)?;
            Some(Path::new(mount).join(path.trim_start_matches('/')))
        });
        let parent = parents.find(|parent| {
            access(parent.join(PROCESSES), Access::WRITE_OK).is_ok() && access(parent, Access::WRITE_OK).is_ok()
        });
        parent.map(|parent| Self(parent.join(format!("fabric-harness-{id}"))))
    }

    /// Creates the group.
    pub(crate) fn create(&self) -> io::Result<()> {
        fs::create_dir(&self.0)
    }

    /// Makes a process a member, and what it starts from now on.
    pub(crate) fn add(&self, process: u32) -> io::Result<()> {
        fs::write(self.0.join(PROCESSES), process.to_string())
    }

    /// Whether a process is a member, as far as it can be seen.
    pub(super) fn has(&self, process: u32) -> bool {
        let Some(name) = self.0.file_name() else { return false };
        let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
        // In another namespace the path differs; the name is unique.
        groups
            .lines()
            .filter_map(|line| line.splitn(3, ':').nth(2))
            .any(|path| Path::new(path).components().any(|component| component.as_os_str() == name))
    }

    /// Removes the group, which must have no living members.
    pub(crate) fn remove(&self) -> Result<(), (PathBuf, io::Error)> {
        for attempt in 1.. {
            match fs::remove_dir(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) if attempt < ATTEMPTS && error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(PAUSE);
                }
                result => return result.map_err(|error| (self.0.clone(), error)),
            }
        }
        Ok(())
    }
}

/// The path of a process's group in the hierarchy with these controllers, from its /proc/PID/cgroup.
fn path_in<'a>(groups: &'a str, controllers: &str) -> Option<&'a str> {
    let mut paths = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        (fields.next()? == controllers).then(|| fields.next())?
    });
    // One outside of this namespace is shown with `..`.
    paths.next().filter(|path| !path.contains(".."))
}

#[cfg(test)]
mod tests {
    use super::super::processes::{self, Mark};
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn the_path_of_a_group_is_read_for_both_versions() {
        let groups = "9:name=systemd:/user.slice\n4:cpu,cpuacct:/a:b\n0::/init.scope\n";
        assert_eq!(path_in(groups, ""), Some("/init.scope"));
        assert_eq!(path_in(groups, "name=systemd"), Some("/user.slice"));
        assert_eq!(path_in(groups, "cpu,cpuacct"), Some("/a:b"));
        assert_eq!(path_in(groups, "pids"), None);
        assert_eq!(path_in("0::/../other\n", ""), None);
    }

    #[test]
    #[ignore = "needs a control group that this user may create"]
    fn needs_cgroup_a_process_that_hides_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let group = ControlGroup::of_run(&format!("test-{}", std::process::id())).unwrap();
        group.create().unwrap();
        // It waits until it is a member. What it starts has no mark, no parent, and a session of its own.
        let script = "read go; (env -i setsid sleep 1000 &) ; echo started; exec sleep 1000";
        let mut shell = Command::new("sh");
        let mut shell = shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        group.add(shell.id()).unwrap();
        drop(shell.stdin.take());
        std::io::Read::read(shell.stdout.as_mut().unwrap(), &mut [0; 8]).unwrap();
        let mark = Mark {
            directory: directory.path().to_owned(),
            group: None,
            spare: None,
            control_group: Some(group.clone()),
        };
        assert_eq!(processes::find(&mark).len(), 2);
        assert_eq!(processes::find(&Mark { control_group: None, ..mark.clone() }).len(), 0);
        let waiter = std::thread::spawn(move || shell.wait());
        assert_eq!(processes::end(&mark, Duration::from_secs(1)), Ok(2));
        waiter.join().unwrap().unwrap();
        group.remove().unwrap();
        assert!(!group.0.exists());
        group.remove().unwrap();
    }
}
