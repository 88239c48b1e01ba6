//! The command line of `up` and of what goes on with the network afterwards.

use std::path::PathBuf;

use crate::options::NetworkOptions;

/// Where a network's state is unless it is said.
const STATE: &str = "target/network";

/// Where the state of the network is.
#[derive(Debug, Clone, clap::Args)]
pub struct StateOptions {
    /// Directory of the network's state: its files and keys, and the way to it.
    #[arg(long, value_name = "DIR", default_value = STATE)]
    pub state: PathBuf,
}

/// The options of `up`.
#[derive(Debug, Clone, clap::Args)]
pub struct UpOptions {
    /// The network.
    #[command(flatten)]
    pub network: NetworkOptions,
    /// Where its state is.
    #[command(flatten)]
    pub state: StateOptions,
}

/// The options of `status`.
#[derive(Debug, Clone, clap::Args)]
pub struct StatusOptions {
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the state is.
    #[command(flatten)]
    pub state: StateOptions,
}

/// The options of `logs`.
#[derive(Debug, Clone, clap::Args)]
pub struct LogsOptions {
    /// Nodes and chaincode servers; `chaincode` is every one of these. Default: all.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Go on as the logs grow.
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last N lines of each, and what comes then.
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
    /// Where the state is.
    #[command(flatten)]
    pub state: StateOptions,
}

/// The options of `restart`.
#[derive(Debug, Clone, clap::Args)]
pub struct RestartOptions {
    /// `chaincode`, or the name of a node or chaincode server.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Where the state is.
    #[command(flatten)]
    pub state: StateOptions,
}

/// The options of `snapshot` and `restore`.
#[derive(Debug, Clone, clap::Args)]
pub struct SnapshotOptions {
    /// What it is called. The network remembers it until it ends.
    #[arg(value_name = "NAME", default_value = "default")]
    pub name: String,
    /// Where the state is.
    #[command(flatten)]
    pub state: StateOptions,
}
