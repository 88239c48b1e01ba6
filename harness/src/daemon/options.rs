//! The options of `up` and of the other commands for persistent networks.

use std::path::PathBuf;

use crate::options::NetworkOptions;

/// The default state directory.
const STATE: &str = "target/network";

/// The state directory of a network.
#[derive(Debug, Clone, clap::Args)]
pub struct StateOptions {
    /// State directory of the network: its files, keys and control socket.
    #[arg(long, value_name = "DIR", default_value = STATE)]
    pub state: PathBuf,
}

/// The options of `up`.
#[derive(Debug, Clone, clap::Args)]
pub struct UpOptions {
    /// The network.
    #[command(flatten)]
    pub network: NetworkOptions,
    /// The state directory.
    #[command(flatten)]
    pub state: StateOptions,
}

/// The options of `status`.
#[derive(Debug, Clone, clap::Args)]
pub struct StatusOptions {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The state directory.
    #[command(flatten)]
    pub state: StateOptions,
}

/// The options of `logs`.
#[derive(Debug, Clone, clap::Args)]
pub struct LogsOptions {
    /// Nodes and chaincode servers; `chaincode` is all chaincode servers. Default: all.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Follow the logs.
    #[arg(short, long)]
    pub follow: bool,
    /// Print only the last N lines of each log, and with --follow all later lines.
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
    /// The state directory.
    #[command(flatten)]
    pub state: StateOptions,
}

/// The options of `restart`, `stop`, `kill` and `start`.
#[derive(Debug, Clone, clap::Args)]
pub struct ControlOptions {
    /// `chaincode`, or the name of a node or chaincode server; `peer0.org1` is enough of a node's name.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The state directory.
    #[command(flatten)]
    pub state: StateOptions,
}

/// The options of `snapshot` and `restore`.
#[derive(Debug, Clone, clap::Args)]
pub struct SnapshotOptions {
    /// Name of the snapshot. Snapshots exist until the network stops.
    #[arg(value_name = "NAME", default_value = "default")]
    pub name: String,
    /// The state directory.
    #[command(flatten)]
    pub state: StateOptions,
}
