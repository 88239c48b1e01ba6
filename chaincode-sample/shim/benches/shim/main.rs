//! Measures chaincode servers over TLS, in the role of the peer: a no-op, a get and a put, and a range
//! of 1,000 keys, with 1, 16 and 256 transactions in flight on one stream. Then our server runs
//! 100,000 transactions, and the benchmark fails if its memory grows.
//!
//! `cargo bench -p chaincode-shim --bench shim -- [--seconds N] [--rounds N] [--server NAME=ADDRESS@PID …]`
//!
//! In each round, every server is measured for `--seconds`. The output shows each server's round with
//! the median throughput.
//!
//! The servers need the functions `Noop`, `GetPut KEY` and `Range`. This program starts our own server.
//! Other servers are given by address and process ID, for their processor time and memory. Their
//! certificates are not verified.

mod http2;
mod peer;

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chaincode_shim::{Config, Contract, ListenAddress, Server, Stub, TlsFiles};
use futures::StreamExt;
use peer::{Peer, Until};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The variable that makes this program the server to measure.
const SERVE: &str = "BENCH_SERVE";
const FUNCTIONS: [&str; 3] = ["Noop", "GetPut", "Range"];
const IN_FLIGHT: [usize; 3] = [1, 16, 256];
/// The number of transactions after which memory must not have grown, and the tolerance in kB.
const MANY: usize = 100_000;
const SLACK: u64 = 512;

struct Target {
    name: String,
    address: SocketAddr,
    pid: u32,
    child: Option<Child>,
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Fails if the process has already exited.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn main() -> Result<()> {
    if let Ok(directory) = std::env::var(SERVE) {
        // One thread, like the sample's programs.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(serve(directory.into()));
    }
    let (mut seconds, mut rounds, mut others) = (1, 5, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => seconds = arguments.next().ok_or("--seconds needs a number")?.parse()?,
            "--rounds" => rounds = arguments.next().ok_or("--rounds needs a number")?.parse::<usize>()?.max(1),
            "--server" => others.push(other(&arguments.next().ok_or("--server needs NAME=ADDRESS@PID")?)?),
            // Passed by Cargo.
            "--bench" => {}
            unknown => return Err(format!("unknown option {unknown}").into()),
        }
    }
    let files = tempfile::tempdir()?;
    let mut targets = vec![own(files.path())?];
    targets.append(&mut others);
    println!("| function | in flight | server | per s | p50 µs | p99 µs | CPU µs | peak MB | driver's CPU | ours is |");
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for function in FUNCTIONS {
        for in_flight in IN_FLIGHT {
            let mut figures: Vec<Vec<Figures>> = targets.iter().map(|_| Vec::new()).collect();
            for _ in 0..rounds {
                for (target, figures) in targets.iter().zip(&mut figures) {
                    figures.push(measure(target, function, in_flight, Duration::from_secs(seconds))?);
                }
            }
            let medians: Vec<Figures> = figures.into_iter().map(median).collect();
            for (target, figures) in targets.iter().zip(&medians) {
                let comparison = medians[0].compare(figures);
                println!("| {function} | {in_flight} | {} | {figures} | {comparison} |", target.name);
            }
        }
    }
    growth(&targets[0])
}

/// Runs our server.
async fn serve(directory: std::path::PathBuf) -> Result<()> {
    let contract = Contract::new("Bench")
        .evaluate("Noop", |_: Stub| async { Ok::<_, chaincode_shim::Error>(()) })
        .submit("GetPut", |stub: Stub, key: String| async move {
            let value = stub.get_state(&key).await?.unwrap_or_default();
            stub.put_state(&key, value).await
        })
        .evaluate("Range", |stub: Stub| async move {
            let mut found = stub.get_state_by_range("", "").await?;
            let mut count = 0;
            while let Some(entry) = found.next().await {
                entry?;
                count += 1;
            }
            Ok::<_, chaincode_shim::Error>(count)
        });
    let address: ListenAddress = "127.0.0.1:0".parse()?;
    let tls = TlsFiles::new(directory.join("key"), directory.join("crt"));
    let server = Server::builder(contract, Config::new("bench:1", address).with_tls(tls)).bind().await?;
    std::fs::write(directory.join("address.new"), server.local_addr().to_string())?;
    std::fs::rename(directory.join("address.new"), directory.join("address"))?;
    Ok(server.serve().await?)
}

fn own(directory: &std::path::Path) -> Result<Target> {
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()])?.self_signed(&key)?;
    std::fs::write(directory.join("key"), key.serialize_pem())?;
    std::fs::write(directory.join("crt"), certificate.pem())?;
    let program = std::env::current_exe()?;
    let child = Command::new(program).env(SERVE, directory).stdin(Stdio::null()).spawn()?;
    let started = Instant::now();
    let address = loop {
        match std::fs::read_to_string(directory.join("address")) {
            Ok(text) => break text.parse()?,
            Err(_) if started.elapsed() < Duration::from_secs(10) => std::thread::yield_now(),
            Err(error) => return Err(format!("cannot start our server: {error}").into()),
        }
    };
    Ok(Target { name: "ours".to_owned(), address, pid: child.id(), child: Some(child) })
}

fn other(text: &str) -> Result<Target> {
    let parts = text.split_once('=').and_then(|(name, rest)| Some((name, rest.rsplit_once('@')?)));
    let (name, (address, pid)) = parts.ok_or("--server needs NAME=ADDRESS@PID")?;
    Ok(Target { name: name.to_owned(), address: address.parse()?, pid: pid.parse()?, child: None })
}

/// The results of a measurement.
#[derive(Clone)]
struct Figures {
    per_second: f64,
    p50: f64,
    p99: f64,
    processor: f64,
    peak: f64,
    driver: f64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { per_second, p50, p99, processor, peak, driver } = self;
        write!(formatter, "{per_second:.0} | {p50:.0} | {p99:.0} | {processor:.1} | {peak:.1} | {driver:.0} %")
    }
}

impl Figures {
    /// These figures as multiples of others.
    fn compare(&self, other: &Self) -> String {
        let [faster, processor] = [self.per_second / other.per_second, self.processor / other.processor];
        let [p99, memory] = [self.p99 / other.p99, self.peak / other.peak];
        format!("{faster:.2}x as fast, {processor:.2} of the CPU, {p99:.2} of the p99, {memory:.2} of the memory")
    }
}

fn median(mut figures: Vec<Figures>) -> Figures {
    figures.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
    figures.swap_remove(figures.len() / 2)
}

#[allow(clippy::cast_precision_loss, reason = "counts of a benchmark")]
fn measure(target: &Target, function: &str, in_flight: usize, time: Duration) -> Result<Figures> {
    let mut peer = Peer::connect(target.address)?;
    peer.run(function, in_flight, Until::Time(time / 4))?;
    let before = (processor_time(target.pid)?, processor_time(std::process::id())?);
    let started = Instant::now();
    let mut latencies = peer.run(function, in_flight, Until::Time(time))?;
    let elapsed = started.elapsed().as_secs_f64();
    let used = processor_time(target.pid)?.saturating_sub(before.0);
    let driver = processor_time(std::process::id())?.saturating_sub(before.1);
    latencies.sort_unstable();
    let count = latencies.len();
    let at = |percent: usize| latencies.get(count * percent / 100).copied().unwrap_or_default().as_secs_f64() * 1e6;
    Ok(Figures {
        per_second: count as f64 / elapsed,
        p50: at(50),
        p99: at(99),
        processor: used.as_secs_f64() * 1e6 / count as f64,
        peak: memory(target.pid, "VmHWM")? as f64 / 1024.0,
        driver: driver.as_secs_f64() / elapsed * 100.0,
    })
}

/// Checks that many transactions on one stream do not increase memory.
fn growth(target: &Target) -> Result<()> {
    let mut peer = Peer::connect(target.address)?;
    let mut run = |count: usize| -> Result<u64> {
        peer.run("Noop", 16, Until::Count(count / 2))?;
        peer.run("GetPut", 16, Until::Count(count / 2))?;
        memory(target.pid, "VmRSS")
    };
    let (before, after) = (run(MANY / 10)?, run(MANY)?);
    println!("\n{MANY} transactions: {before} kB before, {after} kB after");
    if after > before + SLACK {
        return Err("the memory has grown".into());
    }
    Ok(())
}

/// User and system time of a process, in steps of 10 ms (`proc(5)`).
fn processor_time(pid: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<_> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |position: usize| -> Result<u64> { Ok(fields.get(position).ok_or("missing field")?.parse()?) };
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

/// A line of `/proc/PID/status`, in kB.
fn memory(pid: u32, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let lines: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(':')).collect();
    let value = lines.get(name).ok_or_else(|| format!("no {name}"))?;
    Ok(value.trim().trim_end_matches(" kB").parse()?)
}
