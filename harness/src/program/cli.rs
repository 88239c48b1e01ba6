//! The command line: every command, with its options.

use crate::bundle::{BundleOptions, DeployOptions, InstallOptions, ReadyOptions};
use crate::daemon::options::{ControlOptions, LogsOptions, SnapshotOptions, StateOptions, StatusOptions, UpOptions};
use crate::doctor::DoctorOptions;
use crate::explain::ExplainOptions;
use crate::options::E2eOptions;
use crate::packaging::{InspectOptions, PackageOptions};
use crate::plan::SAMPLE_COMMAND;
use crate::probe::ProbeOptions;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Run a Hyperledger Fabric network and test chaincode on it.
#[derive(Debug, Parser)]
#[command(name = "fabric-harness", version, about, max_term_width = 100, disable_help_flag = true)]
pub struct Cli {
    /// Print help. `fabric-harness help COMMAND` prints more.
    #[arg(short, long, global = true, action = clap::ArgAction::HelpShort)]
    pub help: Option<bool>,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a network, deploy the chaincode, test it, and remove everything.
    #[command(after_help = "Exit codes: 0, all cases passed; 1, a case failed; 2, the cases could not be run.")]
    E2e(Box<E2eOptions>),
    /// Show which runtimes are available, one per line: `NAME<TAB>yes|no<TAB>REASON`.
    #[command(after_help = "Exit codes: 0, success; 2, invalid options.")]
    Probe(ProbeOptions),
    /// Diagnose known failures in logs: cause and fix.
    #[command(after_help = "Exit codes: 0, a known failure was found; 1, no known failure; 2, a log cannot be read.")]
    Explain(ExplainOptions),
    /// Write a deployable network: Compose, Kubernetes, or files for programs on one machine.
    #[command(after_help = "Exit codes: 0, success; 2, failure, and nothing was changed.")]
    Bundle(Box<BundleOptions>),
    /// Create the channels of a running bundle, deploy its chaincode, and query it on every peer.
    #[command(after_help = "Exit codes: 0, the chaincode answers; 2, the deployment failed.")]
    Deploy(DeployOptions),
    /// Check whether a server is ready, for health checks.
    #[command(after_help = "Exit codes: 0, ready; 1, not ready.")]
    Ready(ReadyOptions),
    /// Copy this program into a directory, for containers without a shell.
    #[command(after_help = "Exit codes: 0, success; 2, failure.")]
    Install(InstallOptions),
    /// Start a persistent network with a chaincode.
    #[command(after_help = "Exit codes: 0, the network is ready; 2, failure.")]
    Up(Box<UpOptions>),
    /// Serve the asset-transfer chaincode, for `e2e` and `up` without another one.
    #[command(name = SAMPLE_COMMAND, hide = true)]
    SampleChaincode(chaincode_sample::program::Options),
    /// Run the daemon of a persistent network, for `up`.
    #[command(hide = true)]
    Daemon(Box<UpOptions>),
    /// Stop a persistent network and remove everything.
    #[command(
        after_help = "Exit codes: 0, no network is running; 1, there are leftovers; 2, the network does not stop."
    )]
    Down(StateOptions),
    /// Show the network's status.
    #[command(
        after_help = "Exit codes: 0, the network is running; 1, a node or chaincode server has exited unexpectedly or does not answer; 2, no network is running."
    )]
    Status(StatusOptions),
    /// Print the logs of nodes and chaincode servers.
    #[command(after_help = "Exit codes: 0, success; 1, unknown name; 2, no network is running.")]
    Logs(LogsOptions),
    /// Restart the chaincode server or a node. Data and package remain.
    #[command(after_help = "Exit codes: 0, it answers again; 1, it does not answer; 2, no network is running.")]
    Restart(ControlOptions),
    /// Stop the chaincode server or a node. Its data remains.
    #[command(after_help = "Exit codes: 0, it is stopped; 1, failure; 2, no network is running.")]
    Stop(ControlOptions),
    /// Kill the chaincode server or a node, as a crash would. Its data remains.
    #[command(after_help = "Exit codes: 0, it is stopped; 1, failure; 2, no network is running.")]
    Kill(ControlOptions),
    /// Start a stopped chaincode server or node.
    #[command(after_help = "Exit codes: 0, it answers again; 1, it does not answer; 2, no network is running.")]
    Start(ControlOptions),
    /// Take a snapshot of the network: channel members and ledgers. Embedded nodes only.
    #[command(after_help = "Exit codes: 0, success; 1, failure; 2, no network is running.")]
    Snapshot(SnapshotOptions),
    /// Restore a snapshot. Embedded nodes only.
    #[command(after_help = "Exit codes: 0, success; 1, unknown snapshot; 2, no network is running.")]
    Restore(SnapshotOptions),
    /// Check this machine: engine, images, Fabric, builder, ports, clock, certificates, leftovers.
    #[command(after_help = "Exit codes: 0, no problems; 1, problems found; 2, invalid options.")]
    Doctor(DoctorOptions),
    /// Write a chaincode package and print its ID. The same content gives the same bytes.
    #[command(
        after_help = "Exit codes: 0, success; 1, peers would reject the package; 2, a file cannot be read or written."
    )]
    Package(PackageOptions),
    /// Show the contents of a chaincode package: type, label, ID, files, connection, certificates.
    #[command(after_help = "Exit codes: 0, success; 1, peers would reject the package; 2, it cannot be read.")]
    Inspect(InspectOptions),
    /// Print a shell's completion script, to be sourced.
    #[command(after_help = "Exit codes: 0, success.")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Wait until the harness that started this ends, then clean up its run.
    #[command(hide = true)]
    Reap {
        /// The run's directory.
        directory: PathBuf,
        /// The state directory of a persistent network, which is removed as well.
        #[arg(long)]
        state: Option<PathBuf>,
    },
}
