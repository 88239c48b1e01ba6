//! The reaper: a child process that cleans up after a harness that died.
//!
//! It leads a process group in which all processes of the run are started. Ctrl-C at the terminal goes to
//! the harness's group and does not reach the reaper. The reaper blocks on its standard input, a pipe whose
//! other end only the harness has: the kernel closes it when the harness ends for any reason.
//!
//! `fabric-harness` starts itself as the reaper. For other programs, such as tests, a shell script does the
//! same.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::processes::{GRACE, Mark, RUN_VARIABLE};
use super::{Aftermath, ResourceKind, Run, ShellRemoval, end_run, workspace};

/// Timeout of the reaper's clean-up.
const CLEAN_UP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a container that was requested is waited for. A busy engine takes seconds; nobody waits for the reaper.
const AFTERMATH: Duration = Duration::from_secs(8);

/// The program that is started as the reaper.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reaper {
    /// A shell script, for programs that use the harness as a library. It needs `/bin/sh`, and `docker` or
    /// `kubectl` to remove containers or a namespace; without these, the next run's sweep does it.
    #[default]
    Shell,
    /// A program that calls [`main`] if it is started with these arguments and the run's directory.
    Program {
        /// The program.
        program: PathBuf,
        /// Its arguments, without the run's directory.
        arguments: Vec<OsString>,
    },
}

impl Reaper {
    /// This program, which must call [`main`] if it is started with these arguments.
    ///
    /// # Errors
    ///
    /// The path of this program is unknown.
    pub fn this_program(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> io::Result<Self> {
        // Valid even if the file was replaced or removed meanwhile.
        let own = Path::new("/proc/self/exe");
        let program = if own.exists() { own.to_owned() } else { std::env::current_exe()? };
        Ok(Self::Program { program, arguments: arguments.into_iter().map(Into::into).collect() })
    }

    fn command(&self, directory: &Path, removal: Option<&ShellRemoval>) -> Command {
        match self {
            Self::Shell => {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", SCRIPT, "reaper"]).arg(directory);
                if let Some(ShellRemoval { script, arguments, environment }) = removal {
                    command.arg(script).args(arguments).envs(environment.iter().cloned());
                } else {
                    command.arg("");
                }
                command
            }
            Self::Program { program, arguments } => {
                let mut command = Command::new(program);
                command.arg0("fabric-harness").args(arguments).arg(directory);
                command
            }
        }
    }
}

/// `$1` is the run's directory, `$2` the script that removes the run's containers or namespace, if it may have
/// any, and what follows are that script's arguments. `look` finds the living processes of the shell's own
/// process group: field 1 of /proc/PID/stat after the name is the state, field 3 the group. It starts no
/// process, which would be one of the group. When containers or a namespace are left the directory stays, for a
/// sweep to find them.
const SCRIPT: &str = r#"
trap '' TERM INT HUP QUIT PIPE
while read -r _; do :; done
exec </dev/null >/dev/null 2>&1
look() {
    members=
    for stat in /proc/[0-9]*/stat; do
        read -r line <"$stat" || continue
        number=${line%% *}
        set -- ${line##*) }
        if [ "$3" = "$$" ] && [ "$1" != Z ] && [ "$number" != "$$" ]; then
            members="$members $number"
        fi
    done
}
wait_for_members() {
    rounds=$1
    look
    while [ -n "$members" ] && [ "$rounds" -gt 0 ]; do
        sleep 0.05
        rounds=$((rounds - 1))
        look
    done
}
directory=$1
removal=$2
shift 2
kill -TERM 0
[ -d /proc/self ] || sleep 1
wait_for_members 40
[ -z "$members" ] || kill -KILL $members
wait_for_members 20
[ -z "$removal" ] || sh -c "$removal" removal "$@" || kill -KILL 0
removed="${directory%/*}/fabric-harness-removed-${directory##*/fabric-harness-}"
[ ! -d "$directory" ] || mv "$directory" "$removed"
rm -rf "$directory" "$removed"
kill -KILL 0
"#;

/// A running reaper.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Running {
    /// Starts the reaper of a run.
    pub(crate) fn start(reaper: &Reaper, directory: &Path, removal: Option<&ShellRemoval>) -> io::Result<Self> {
        let mut child = reaper
            .command(directory, removal)
            .env(RUN_VARIABLE, directory)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// The process ID of the reaper, which is the ID of its group.
    pub(crate) fn group(&self) -> u32 {
        self.child.id()
    }

    /// Kills the group and the reaper, after everything else is done.
    pub(crate) fn dismiss(mut self) {
        if let Some(group) = group_of(self.group()) {
            // Fails only if the group is gone.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }

    /// Lets the reaper clean up, and waits for it with a timeout.
    pub(crate) fn finish(mut self) {
        drop(self.pipe.take());
        let deadline = Instant::now() + CLEAN_UP_TIMEOUT;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn group_of(number: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}

/// What a program does that was started as the reaper: waits for its standard input to end, then ends
/// the run in `directory`, and with it itself. The directory may still be to come. One that no harness
/// created is refused immediately.
///
/// `kinds` are what runs may have besides processes and files. A run that has something else is left for a
/// sweep of a program that knows it.
///
/// `then` is done when the rest is gone, and before this process ends itself with its group. It may be
/// called within an asynchronous runtime, and blocks it.
pub fn main(directory: &Path, kinds: &[&'static ResourceKind], then: impl FnOnce() + Send + 'static) -> ExitCode {
    if !workspace::is_pending(directory) && workspace::as_run(directory).is_none() {
        eprintln!("error: {} is not the directory of a run", directory.display());
        return ExitCode::from(2);
    }
    let (directory, kinds) = (directory.to_owned(), kinds.to_vec());
    // In another thread, because an asynchronous runtime cannot block on another one.
    let done = std::thread::spawn(move || reap(&directory, &kinds, then)).join();
    if done.unwrap_or(false) { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

/// Returns whether everything was removed.
fn reap(directory: &Path, kinds: &[&'static ResourceKind], then: impl FnOnce()) -> bool {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return false;
    };
    // The reaper's group gets SIGTERM below; these handlers ignore it.
    let _guard = runtime.enter();
    let _streams = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT]
        .map(|signal| tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(signal.as_raw())));
    read_to_end(io::stdin());

    let Some(directory) = workspace::as_run(directory) else {
        let removed = workspace::remove_pending(directory).is_ok();
        then();
        return removed;
    };
    let Some(record) = workspace::read_record(&directory) else {
        // Without a record, nothing was started yet.
        let removed = workspace::remove_directory(&directory).is_ok();
        then();
        return removed;
    };
    let own = std::process::id();
    let id = workspace::id_of(&directory);
    let control_group = record.control_group.clone();
    let mark = Mark { directory, group: record.group, spare: Some(own), control_group };
    // This program wrote the record, so it knows the kind.
    let resources = record.resources(kinds).ok().flatten();
    let aftermath = Aftermath::of(&mark.directory, AFTERMATH);
    let run = Run { mark, id, resources, aftermath };
    let leads_group = record.group == Some(own);
    if leads_group && let Some(group) = group_of(own) {
        let _ = kill_process_group(group, Signal::TERM);
    }
    let ended = end_run(&run, GRACE);
    then();
    if leads_group && let Some(group) = group_of(own) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    ended.is_ok()
}

fn read_to_end(mut pipe: impl io::Read) {
    let mut buffer = [0; 64];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
            Ok(_) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleanup::{
        RunGuard, processes,
        workspace::{Workspace, made_in},
    };

    /// A harness may end at any moment, even before its run's directory exists.
    #[test]
    fn the_shell_script_takes_a_directory_that_was_never_made() {
        let parent = tempfile::tempdir().unwrap();
        let chosen = Workspace::choose(parent.path()).unwrap();
        let mut reaper = Running::start(&Reaper::Shell, &chosen, None).unwrap();
        drop(reaper.pipe.take());
        let begin = Instant::now();
        assert!(reaper.child.wait().is_ok() && begin.elapsed() < CLEAN_UP_TIMEOUT);
        assert!(!chosen.exists());
    }

    /// A run with a process in it, whose harness is about to end.
    fn run(removal: Option<&ShellRemoval>) -> (tempfile::TempDir, Workspace, Running, Child) {
        let parent = tempfile::tempdir().unwrap();
        let workspace = made_in(parent.path());
        let reaper = Running::start(&Reaper::Shell, workspace.directory(), removal).unwrap();
        let node =
            Command::new("sleep").arg("1000").process_group(i32::try_from(reaper.group()).unwrap()).spawn().unwrap();
        (parent, workspace, reaper, node)
    }

    #[test]
    fn the_shell_script_ends_the_group_and_removes_the_directory() {
        let (_parent, workspace, reaper, mut node) = run(None);
        std::fs::write(workspace.directory().join("file"), "").unwrap();
        reaper.finish();
        let status = std::os::unix::process::ExitStatusExt::signal(&node.wait().unwrap());
        assert_eq!(status, Some(Signal::TERM.as_raw()));
        assert!(!workspace.directory().exists());
    }

    #[test]
    fn the_shell_script_keeps_the_directory_if_the_removal_fails() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file").display().to_string();
        for (end, is_kept) in [("0", false), ("1", true)] {
            let removal = ShellRemoval {
                script: r#"echo "$2 $VARIABLE" >"$1"; exit "$3""#,
                arguments: vec![file.clone(), "two words".to_owned(), end.to_owned()],
                environment: vec![("VARIABLE", "value".into())],
            };
            let (_parent, workspace, reaper, mut node) = run(Some(&removal));
            reaper.finish();
            node.wait().unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "two words value\n");
            assert_eq!(workspace.directory().exists(), is_kept, "exit status {end}");
        }
    }

    #[test]
    fn the_shell_script_kills_what_ignores_sigterm() {
        let (_parent, workspace, reaper, mut node) = run(None);
        node.kill().unwrap();
        node.wait().unwrap();
        let mut deaf = Command::new("/bin/sh")
            .args(["-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"])
            .stdout(Stdio::piped())
            .process_group(i32::try_from(reaper.group()).unwrap())
            .spawn()
            .unwrap();
        io::Read::read_exact(&mut deaf.stdout.take().unwrap(), &mut [0; 3]).unwrap();
        reaper.finish();
        let status = std::os::unix::process::ExitStatusExt::signal(&deaf.wait().unwrap());
        assert_eq!(status, Some(Signal::KILL.as_raw()));
        assert!(!workspace.directory().exists());
    }

    #[test]
    fn a_group_ends_with_its_reaper_or_its_guard() {
        let parent = tempfile::tempdir().unwrap();
        let guard = RunGuard::begin(parent.path(), &Reaper::Shell).unwrap();
        let directory = guard.workspace().directory().to_owned();
        let mut node = guard.command("sleep", &directory).arg("1000").spawn().unwrap();
        let mark = Mark { directory: directory.clone(), group: None, spare: None, control_group: None };
        // A program that has just been started does not show its environment immediately.
        let begin = Instant::now();
        while processes::find(&mark).len() != 2 {
            assert!(begin.elapsed() < CLEAN_UP_TIMEOUT, "the reaper and the node are not found");
            std::thread::sleep(Duration::from_millis(1));
        }
        guard.end().unwrap();
        node.wait().unwrap();
        assert_eq!(processes::find(&mark).len(), 0);
        assert!(!directory.exists());
        assert!(guard.has_ended());
    }
}
