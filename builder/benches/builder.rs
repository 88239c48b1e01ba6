//! Time, memory and disk space of detect, build and release, optionally compared with another builder:
//!
//! ```text
//! cargo bench -p ccaas-builder --bench builder -- [--against DIR] [--rounds N]
//! ```
//!
//! DIR is the directory of the other builder, with its programs in it or in its `bin`. Both run
//! alternately on the same packages in a temporary directory. Our program is that in `CCAAS_BUILDER`,
//! which `cargo xtask bench` sets to the static one; default: the one that cargo built.
//!
//! Peak memory is read from the program's address space when it exits, because `wait4` includes the
//! parent's memory at the fork.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rcgen::{CertificateParams, KeyPair};

/// The programs and their arguments.
const STEPS: [(&str, &[&str]); 3] =
    [("detect", &["src", "metadata"]), ("build", &["src", "metadata", "bld"]), ("release", &["bld", "release"])];
/// All programs. Fabric's builder has no `run`.
const PROGRAMS: [&str; 4] = ["detect", "build", "release", "run"];

struct Builder {
    name: &'static str,
    bin: PathBuf,
}

/// The measurements of one builder for one package, by step.
#[derive(Default)]
struct Taken {
    times: [Vec<Duration>; 3],
    memory: [Memory; 3],
}

/// Peak memory, in KiB.
#[derive(Clone, Copy, Default)]
struct Memory {
    resident: u64,
    /// The part that is not backed by a file, when the program exits.
    anonymous: u64,
}

fn main() {
    let mut against = None;
    let mut rounds = 200;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--against" => against = Some(PathBuf::from(arguments.next().expect("--against: missing directory"))),
            "--rounds" => {
                rounds = arguments
                    .next()
                    .and_then(|rounds| rounds.parse().ok())
                    .expect("--rounds: missing or invalid number");
            }
            // Added by cargo.
            "--bench" => {}
            other => panic!("unknown option {other:?}; expected --against DIR or --rounds N"),
        }
    }
    let scratch = tempfile::tempdir().unwrap();
    let mut builders = vec![Builder { name: "ours", bin: install(scratch.path()) }];
    if let Some(directory) = against {
        // Relative to the caller's directory: cargo runs a benchmark in the directory of its package.
        let directory =
            std::env::var_os("BENCH_DIRECTORY").map_or(directory.clone(), |from| Path::new(&from).join(directory));
        let bin = if directory.join("bin/detect").is_file() { directory.join("bin") } else { directory };
        assert!(bin.join("detect").is_file(), "--against {}: detect not found in it or in its bin", bin.display());
        builders.push(Builder { name: "theirs", bin });
    }
    for package in ["plain", "mutual TLS, one index"] {
        let work = scratch.path().join("work");
        prepare(&work, package);
        let taken = measure(&builders, &work, rounds);
        println!("{package}: medians of {rounds} rounds");
        table(&builders, &taken);
        fs::remove_dir_all(&work).unwrap();
    }
    let sizes: Vec<u64> = builders.iter().map(|builder| on_disk(&builder.bin)).collect();
    println!("on disk, all programs, hard links counted once");
    row("bytes", &sizes.iter().map(|size| (size.to_string(), approximate(*size))).collect::<Vec<_>>());
}

/// Installs our programs.
fn install(scratch: &Path) -> PathBuf {
    let program =
        std::env::var_os("CCAAS_BUILDER").map_or_else(|| env!("CARGO_BIN_EXE_ccaas-builder").into(), PathBuf::from);
    println!("ours: {}", program.display());
    let ours = scratch.join("ours");
    let installed = Command::new(&program).arg("install").arg(&ours).stderr(Stdio::null()).status().unwrap();
    assert!(installed.success(), "{} install failed", program.display());
    ours.join("bin")
}

fn prepare(work: &Path, package: &str) {
    fs::create_dir_all(work.join("src")).unwrap();
    fs::create_dir_all(work.join("metadata")).unwrap();
    fs::write(work.join("metadata/metadata.json"), r#"{"path":"","type":"ccaas","label":"basic_1.0"}"#).unwrap();
    let mut connection = serde_json::json!({
        "address": "mycc.example.com:9999", "dial_timeout": "10s", "tls_required": false
    });
    if package != "plain" {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["mycc.example.com".to_owned()]).unwrap().self_signed(&key).unwrap();
        for (name, value) in [("tls_required", true), ("client_auth_required", true)] {
            connection[name] = value.into();
        }
        for (name, value) in
            [("client_key", key.serialize_pem()), ("client_cert", certificate.pem()), ("root_cert", certificate.pem())]
        {
            connection[name] = value.into();
        }
        let indexes = work.join("src/META-INF/statedb/couchdb/indexes");
        fs::create_dir_all(&indexes).unwrap();
        fs::write(indexes.join("owner.json"), r#"{"index":{"fields":["owner"]},"type":"json"}"#).unwrap();
    }
    fs::write(work.join("src/connection.json"), connection.to_string()).unwrap();
}

fn measure(builders: &[Builder], work: &Path, rounds: usize) -> Vec<Taken> {
    let mut taken: Vec<Taken> = builders.iter().map(|_| Taken::default()).collect();
    for round in 0..rounds + 3 {
        for (builder, taken) in builders.iter().zip(&mut taken) {
            for output in ["bld", "release"] {
                let _ = fs::remove_dir_all(work.join(output));
                fs::create_dir(work.join(output)).unwrap();
            }
            for (number, (program, arguments)) in STEPS.iter().enumerate() {
                let path = builder.bin.join(program);
                // Memory is measured in separate rounds, which are slower.
                if round < rounds {
                    let begin = Instant::now();
                    let status = quiet(Command::new(path).args(*arguments), work).status().unwrap();
                    taken.times[number].push(begin.elapsed());
                    assert!(status.success(), "{}: {program} failed", builder.name);
                } else {
                    let seen = peak_memory(&path, arguments, work);
                    let most = &mut taken.memory[number];
                    most.resident = most.resident.max(seen.resident);
                    most.anonymous = most.anonymous.max(seen.anonymous);
                }
            }
        }
    }
    taken
}

fn quiet<'c>(command: &'c mut Command, work: &Path) -> &'c mut Command {
    command.current_dir(work).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Traces a shell that executes the program, and reads the memory usage when it exits.
fn peak_memory(program: &Path, arguments: &[&str], work: &Path) -> Memory {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""]).arg(program).args(arguments);
    let mut child = quiet(&mut command, work).spawn().unwrap();
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap());
    waitpid(id, Some(WaitPidFlag::WUNTRACED)).unwrap();
    ptrace::seize(id, Options::PTRACE_O_TRACEEXIT).unwrap();
    nix::sys::signal::kill(id, Signal::SIGCONT).unwrap();
    let mut seen = Memory::default();
    loop {
        match waitpid(id, None).unwrap() {
            WaitStatus::PtraceEvent(_, Signal::SIGTRAP, event) if event == Event::PTRACE_EVENT_EXIT as i32 => {
                let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
                let of = |name: &str| {
                    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
                };
                seen = Memory { resident: of("VmHWM:"), anonymous: of("RssAnon:") };
                ptrace::cont(id, None).unwrap();
            }
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => break,
            WaitStatus::Stopped(_, signal)
                if signal != Signal::SIGSTOP && signal != Signal::SIGCONT && signal != Signal::SIGTRAP =>
            {
                ptrace::cont(id, signal).unwrap();
            }
            _ => ptrace::cont(id, None).unwrap(),
        }
    }
    // Already reaped; this only frees the handle.
    let _ = child.try_wait();
    seen
}

fn table(builders: &[Builder], taken: &[Taken]) {
    let names: Vec<&str> = builders.iter().map(|builder| builder.name).collect();
    let heads = names.iter().copied().chain((names.len() > 1).then_some("ratio"));
    println!("{:<24}{}", "", heads.map(pad).collect::<Vec<_>>().concat());
    let mut sums = vec![0.0; taken.len()];
    for (number, (program, _)) in STEPS.iter().enumerate() {
        let medians: Vec<f64> = taken.iter().map(|taken| median(&taken.times[number])).collect();
        sums.iter_mut().zip(&medians).for_each(|(sum, median)| *sum += median);
        row(&format!("{program}, ms"), &cells(&medians));
    }
    row("all three, ms", &cells(&sums));
    let most = |of: fn(&Memory) -> u64| -> Vec<(String, f64)> {
        let most = taken.iter().map(|taken| taken.memory.iter().map(of).max().unwrap_or_default());
        most.map(|most| (most.to_string(), approximate(most))).collect()
    };
    row("peak memory, KiB", &most(|memory| memory.resident));
    row("anonymous, KiB", &most(|memory| memory.anonymous));
    println!();
}

fn cells(values: &[f64]) -> Vec<(String, f64)> {
    values.iter().map(|value| (format!("{value:.2}"), *value)).collect()
}

fn row(name: &str, values: &[(String, f64)]) {
    let mut cells: Vec<String> = values.iter().map(|(shown, _)| pad(shown)).collect();
    if let [(_, ours), (_, theirs)] = values {
        cells.push(pad(&format!("{:.2}", ours / theirs)));
    }
    println!("{name:<24}{}", cells.concat());
}

fn pad(cell: &str) -> String {
    format!("{cell:>12}")
}

/// The median in milliseconds.
fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

/// For a ratio; sizes are exact.
#[allow(clippy::cast_precision_loss)]
fn approximate(value: u64) -> f64 {
    value as f64
}

fn on_disk(bin: &Path) -> u64 {
    let files = PROGRAMS.iter().filter_map(|program| fs::metadata(bin.join(program)).ok());
    let mut seen = Vec::new();
    let mut sum = 0;
    for file in files {
        if !seen.contains(&file.ino()) {
            seen.push(file.ino());
            sum += file.len();
        }
    }
    sum
}
