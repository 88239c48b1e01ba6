//! Who listens on a port of this machine, by the kernel's tables. Only Linux has them.
//!
//! An open port does not show that the program listens that was started: another one may have taken the port
//! after it was chosen. Only what is certain counts. A listener that cannot be examined, or that was started
//! later than the program, may belong to it: a server may leave its process group and clear its environment.

use std::fs;
use std::path::Path;

use crate::cleanup::processes::{RUN_VARIABLE, Stat, numbers, variable};
use crate::runtime::PortHolder;

/// The process that listens on a port of the loopback, if it certainly belongs neither to the process `own` nor
/// to the run in `directory`.
pub(super) fn other_holder(port: u16, own: u32, directory: &Path) -> Option<PortHolder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let listeners = tables.iter().flat_map(|table| table.lines()).filter_map(|line| listener(line, port));
    let sockets: Vec<String> = listeners.map(|inode| format!("socket:[{inode}]")).collect();
    let started = Stat::read(own)?.started;
    let is_other = |process: u32| match variable(process, RUN_VARIABLE) {
        Some(run) => run != directory.as_os_str().as_encoded_bytes(),
        None => Stat::read(process).is_some_and(|stat| stat.started < started),
    };
    // A socket that another program opened may be shared by younger processes, which that program has started.
    let process = numbers().find(|process| has_one_of(*process, &sockets) && is_other(*process))?;
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    Some(PortHolder { process, name: name.trim().to_owned() })
}

/// The inode in a line of the table, if it is a listener that a connection to 127.0.0.1 reaches.
fn listener(line: &str, port: u16) -> Option<&str> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, local) = fields.get(1)?.split_once(':')?;
    let is_reached = address.ends_with("0100007F") || address.bytes().all(|digit| digit == b'0');
    // 0A is TCP_LISTEN.
    let listens = *fields.get(3)? == "0A" && u16::from_str_radix(local, 16) == Ok(port);
    if is_reached && listens { fields.get(9).copied() } else { None }
}

/// Whether a process has one of these sockets, as far as its files can be seen.
fn has_one_of(process: u32, sockets: &[String]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    let mut targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;
    use std::process::{Child, Command, Stdio};

    /// A process of a run, which listens nowhere.
    fn started(directory: &str) -> Child {
        Command::new("sleep").arg("1000").env(RUN_VARIABLE, directory).spawn().unwrap()
    }

    #[test]
    fn a_listener_that_was_started_before_is_another_programs() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let this = Stat::read(std::process::id()).unwrap().started;
        let mut own = started("/run");
        // Times are in ticks of 10 ms.
        while Stat::read(own.id()).unwrap().started == this {
            own.kill().unwrap();
            own.wait().unwrap();
            own = started("/run");
        }
        let holder = other_holder(port, own.id(), Path::new("/run")).unwrap();
        assert_eq!(holder.process, std::process::id());
        assert!(!holder.name.is_empty());
        assert_eq!(other_holder(port, std::process::id(), Path::new("/run")), None, "it is its own");
        // A child that has its socket, as between fork and exec, is younger than `own`.
        let shared = Stdio::from(OwnedFd::from(other.try_clone().unwrap()));
        let mut child = Command::new("sleep").arg("1000").stdin(shared).spawn().unwrap();
        assert_eq!(other_holder(port, own.id(), Path::new("/run")), Some(holder));
        child.kill().unwrap();
        child.wait().unwrap();
        drop(other);
        assert_eq!(other_holder(port, own.id(), Path::new("/run")), None, "nobody listens");
        own.kill().unwrap();
        own.wait().unwrap();
    }

    #[test]
    fn only_listeners_that_the_loopback_reaches_count() {
        let line = |address: &str, state: &str| {
            format!(
                "   0: {address}:1F90 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000  0 4242 1 0"
            )
        };
        for address in ["0100007F", "00000000", &"0".repeat(32), "0000000000000000FFFF00000100007F"] {
            assert_eq!(listener(&line(address, "0A"), 8080), Some("4242"), "{address}");
            assert_eq!(listener(&line(address, "01"), 8080), None, "{address}");
            assert_eq!(listener(&line(address, "0A"), 8081), None, "{address}");
        }
        assert_eq!(listener(&line("0200A8C0", "0A"), 8080), None);
        assert_eq!(listener("  sl  local_address rem_address   st", 8080), None);
    }
}
