//! The embedded peer and orderer compared with Fabric's own, with the same client, chaincode and batches:
//!
//! ```text
//! cargo xtask bench peer [--fabric-bin DIR] [--rounds N] [--transactions N] [--keys N] [--commits N]
//! ```
//!
//! Each network is a process of its own, so that processor time and memory are those of the nodes:
//! of the embedded ones the process that they live in, of Fabric's the `peer` and the `orderer`. The
//! client is this program and the chaincode a third process; neither is counted, but all share the
//! machine. The networks have their turns one after another in each round, and of a network's rounds
//! the median is printed. Without `--fabric-bin` the embedded one is measured alone.
//!
//! `CCAAS_BUILDER`, `CHAINCODE_SAMPLE` and `CHAINCODE_CONFORMANCE` are the static programs.

mod load;
mod network;
mod start;
mod usage;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use load::Client;
use network::{Nodes, Settings};
use usage::Usage;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How many keys are written again and again to measure what a history costs.
const REWRITTEN: usize = 1000;

/// As in the `fabric-harness` program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Transactions at the same time.
const IN_FLIGHT: usize = 64;
/// How the real orderer cuts its batches, in turn: after this time, or this many messages.
const BATCHES: [(Duration, u32); 2] = [(Duration::from_millis(100), 500), (Duration::from_millis(100), 10)];
/// The batches of a network with default options.
const DEFAULT_BATCH: (Duration, u32) = (Duration::from_millis(10), 500);

struct Options {
    fabric_bin: Option<PathBuf>,
    rounds: usize,
    transactions: usize,
    keys: usize,
    commits: usize,
}

/// What was seen of a network, a row of the table: medians of the rounds.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    submitted: f64,
    evaluated: f64,
    /// Processor time of the nodes for each committed transaction.
    processor: Duration,
    /// The same of this program, the client.
    client: Duration,
    /// Bytes resident, after the last transaction.
    memory: u64,
}

fn main() -> Result<()> {
    if let Some(settings) = Settings::of_this_process()? {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        return runtime.block_on(network::serve(&settings));
    }
    let options = options()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(bench(&options))
}

fn options() -> Result<Options> {
    let mut options = Options { fabric_bin: None, rounds: 3, transactions: 5000, keys: 1_000_000, commits: 100_000 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<usize> {
            Ok(arguments.next().and_then(|number| number.parse().ok()).ok_or(format!("{argument}: give a number"))?)
        };
        match argument.as_str() {
            "--rounds" => options.rounds = number()?,
            "--transactions" => options.transactions = number()?.max(1000),
            "--keys" => options.keys = number()?,
            "--commits" => options.commits = number()?,
            "--fabric-bin" => {
                let directory = PathBuf::from(arguments.next().ok_or("--fabric-bin: give a directory")?);
                // Cargo runs a benchmark in its package's directory, and paths are the caller's.
                let from = std::env::var_os("BENCH_DIRECTORY").unwrap_or_default();
                options.fabric_bin = Some(Path::new(&from).join(directory));
            }
            // Cargo's own.
            "--bench" => {}
            unknown => return Err(format!("unknown option {unknown}").into()),
        }
    }
    Ok(options)
}

async fn bench(options: &Options) -> Result<()> {
    if options.rounds > 0 {
        start::table(options.fabric_bin.as_deref(), options.rounds)?;
        throughput(options).await?;
    }
    if options.keys > 0 {
        growth(options).await?;
    }
    if options.commits > 0 {
        history(options.commits).await?;
    }
    Ok(())
}

/// Networks that have the same batches, one of them perhaps Fabric's, side by side.
async fn throughput(options: &Options) -> Result<()> {
    println!("\n{IN_FLIGHT} in flight, {} transactions, medians of {} rounds", options.transactions, options.rounds);
    println!("| batch | nodes | submit/s | evaluate/s | CPU µs a submit | client's CPU µs | MB |");
    println!("|---|---|---|---|---|---|---|");
    let mut embedded_by_default = Figures::default();
    for (timeout, max_messages) in [DEFAULT_BATCH].into_iter().chain(BATCHES) {
        let mut programs = vec![None];
        if (timeout, max_messages) != DEFAULT_BATCH {
            programs.extend(options.fabric_bin.clone().map(Some));
        }
        let mut seen: Vec<Vec<Figures>> = programs.iter().map(|_| Vec::new()).collect();
        for _ in 0..options.rounds {
            for (fabric_bin, seen) in programs.iter().zip(&mut seen) {
                let settings = Settings { fabric_bin: fabric_bin.clone(), timeout, max_messages };
                seen.push(measure(&settings, options.transactions).await?);
            }
        }
        let medians: Vec<Figures> = seen.into_iter().map(|rounds| median(&rounds)).collect();
        for (fabric_bin, figures) in programs.iter().zip(&medians) {
            let name = if fabric_bin.is_some() { "Fabric" } else { "embedded" };
            println!("| {timeout:?}/{max_messages} | {name} | {figures} |");
        }
        match &medians[..] {
            [embedded, fabric] => {
                println!("| {timeout:?}/{max_messages} | embedded : Fabric | {} |", embedded.ratio(fabric));
                println!(
                    "| {timeout:?}/{max_messages} | embedded by default : Fabric | {} |",
                    embedded_by_default.ratio(fabric)
                );
            }
            [embedded, ..] if (timeout, max_messages) == DEFAULT_BATCH => embedded_by_default = *embedded,
            _ => {}
        }
    }
    Ok(())
}

/// A new network, warmed up, evaluated, submitted to.
async fn measure(settings: &Settings, transactions: usize) -> Result<Figures> {
    let nodes = Nodes::start(settings)?;
    let client = Client::connect(nodes.view()).await?;
    client.submit_many("warm", transactions / 10).await?;
    client.evaluate_many("warm", transactions / 10).await?;

    let evaluated = client.evaluate_many("warm", transactions * 2).await?;
    let (before, own_before) = (nodes.usage()?, Usage::of_this_process()?);
    let submitted = client.submit_many("k", transactions).await?;
    let (after, own_after) = (nodes.usage()?, Usage::of_this_process()?);
    nodes.stop()?;
    Ok(Figures {
        submitted: as_f64(transactions) / submitted.as_secs_f64(),
        evaluated: as_f64(transactions * 2) / evaluated.as_secs_f64(),
        processor: after.processor_since(&before).div_f64(as_f64(transactions)),
        client: own_after.processor_since(&own_before).div_f64(as_f64(transactions)),
        memory: after.resident,
    })
}

/// What a transaction costs an embedded peer as its ledger grows.
async fn growth(options: &Options) -> Result<()> {
    println!("\nembedded, by the number of keys on the ledger");
    println!(
        "| keys | submit/s | evaluate/s | CPU µs a submit | relative to the first | MB |\n|---|---|---|---|---|---|"
    );
    let (timeout, max_messages) = DEFAULT_BATCH;
    let nodes = Nodes::start(&Settings { fabric_bin: None, timeout, max_messages })?;
    let client = Client::connect(nodes.view()).await?;
    client.submit_many("warm", options.transactions / 4).await?;
    let (mut keys, mut first) = (0, None);
    for target in [1000, 10_000, 100_000, options.keys] {
        client.fill(keys..target).await?;
        keys = target.max(keys);
        let evaluated = client.evaluate_many("warm", options.transactions).await?;
        let before = nodes.usage()?;
        // The same keys each time, so that the ledger has the stated number.
        let submitted = client.submit_many("warm", options.transactions).await?;
        let after = nodes.usage()?;
        let processor = after.processor_since(&before).div_f64(as_f64(options.transactions));
        let first = first.get_or_insert(processor);
        println!(
            "| {keys} | {:.0} | {:.0} | {} | {:.2} | {} |",
            as_f64(options.transactions) / submitted.as_secs_f64(),
            as_f64(options.transactions) / evaluated.as_secs_f64(),
            processor.as_micros(),
            processor.as_secs_f64() / first.as_secs_f64(),
            after.resident / 1_000_000
        );
    }
    nodes.stop()
}

/// What an embedded peer keeps of its history: the ledger has as many keys after each number of commits.
async fn history(commits: usize) -> Result<()> {
    println!("\nembedded, by the number of transactions on {REWRITTEN} keys");
    println!("| commits | submit/s | CPU µs a submit | MB |\n|---|---|---|---|");
    let (timeout, max_messages) = DEFAULT_BATCH;
    let nodes = Nodes::start(&Settings { fabric_bin: None, timeout, max_messages })?;
    let client = Client::connect(nodes.view()).await?;
    client.rewrite_many("warm", REWRITTEN, REWRITTEN).await?;
    let mut done = REWRITTEN;
    for target in [20_000, 100_000, 300_000, 1_000_000].into_iter().filter(|mark| *mark < commits).chain([commits]) {
        let count = target.saturating_sub(done).max(1);
        let before = nodes.usage()?;
        let submitted = client.rewrite_many("warm", count, REWRITTEN).await?;
        let after = nodes.usage()?;
        done = target.max(done);
        println!(
            "| {done} | {:.0} | {} | {} |",
            as_f64(count) / submitted.as_secs_f64(),
            after.processor_since(&before).div_f64(as_f64(count)).as_micros(),
            after.resident / 1_000_000
        );
    }
    nodes.stop()
}

impl Figures {
    fn ratio(&self, other: &Self) -> String {
        let time = |of: Duration| of.as_secs_f64();
        format!(
            "{:.2} | {:.2} | {:.2} | {:.2} | {:.2}",
            self.submitted / other.submitted,
            self.evaluated / other.evaluated,
            time(self.processor) / time(other.processor),
            time(self.client) / time(other.client),
            bytes(self.memory) / bytes(other.memory)
        )
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{:.0} | {:.0} | {} | {} | {}",
            self.submitted,
            self.evaluated,
            self.processor.as_micros(),
            self.client.as_micros(),
            self.memory / 1_000_000
        )
    }
}

/// Of each figure by itself.
fn median(rounds: &[Figures]) -> Figures {
    fn of<T: PartialOrd + Copy>(rounds: &[Figures], figure: impl Fn(&Figures) -> T) -> T {
        let mut values: Vec<T> = rounds.iter().map(figure).collect();
        values.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
        values[values.len() / 2]
    }
    Figures {
        submitted: of(rounds, |figures| figures.submitted),
        evaluated: of(rounds, |figures| figures.evaluated),
        processor: of(rounds, |figures| figures.processor),
        client: of(rounds, |figures| figures.client),
        memory: of(rounds, |figures| figures.memory),
    }
}

/// Counts here fit exactly.
#[allow(clippy::cast_precision_loss)]
fn as_f64(count: usize) -> f64 {
    count as f64
}

/// For a ratio.
#[allow(clippy::cast_precision_loss)]
fn bytes(count: u64) -> f64 {
    count as f64
}
