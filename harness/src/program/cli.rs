//! The command line: every command, with its options.

use crate::bundle::{BundleOptions, DeployOptions, InstallOptions, ReadyOptions};
use crate::daemon::options::{LogsOptions, RestartOptions, SnapshotOptions, StateOptions, StatusOptions, UpOptions};
use crate::doctor::DoctorOptions;
use crate::explain::ExplainOptions;
use crate::options::E2eOptions;
use crate::packaging::{InspectOptions, PackageOptions};
use crate::probe::ProbeOptions;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Runs a Hyperledger Fabric network and checks chaincode on it.
#[derive(Debug, Parser)]
#[command(name = "fabric-harness", version, about, max_term_width = 100, disable_help_flag = true)]
pub struct Cli {
    /// Print this help; `fabric-harness help COMMAND` says more.
    #[arg(short, long, global = true, action = clap::ArgAction::HelpShort)]
    pub help: Option<bool>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a network, deploy the chaincode, check it, and leave nothing behind.
    #[command(after_help = "Exit codes: 0, every case passed; 1, a case failed; 2, the cases could not be run.")]
    E2e(Box<E2eOptions>),
    /// Tell which runtimes are possible here: a line each, `NAME<TAB>yes|no<TAB>WHY`.
    #[command(after_help = "Exit codes: 0, told; 2, the options are wrong.")]
    Probe(ProbeOptions),
    /// Turn the known failures in logs into cause and cure.
    #[command(after_help = "Exit codes: 0, a known failure was found; 1, none; 2, a log can't be read.")]
    Explain(ExplainOptions),
    /// Render the network for an operator: Compose, Kubernetes, or files for programs on one machine.
    #[command(after_help = "Exit codes: 0, written; 2, not, and nothing was touched.")]
    Bundle(Box<BundleOptions>),
    /// Create the channels of a bundle that runs, deploy its chaincode, and ask it on every peer.
    #[command(after_help = "Exit codes: 0, the chaincode answers; 2, it could not be deployed.")]
    Deploy(DeployOptions),
    /// Tell whether a server is ready, for health checks.
    #[command(after_help = "Exit codes: 0, it is; 1, it is not.")]
    Ready(ReadyOptions),
    /// Put this program into a directory, for containers without a shell.
    #[command(after_help = "Exit codes: 0, done; 2, it can't be.")]
    Install(InstallOptions),
    /// Start a network with a chaincode on it, and leave it running.
    #[command(after_help = "Exit codes: 0, it is up; 2, it can't be.")]
    Up(Box<UpOptions>),
    /// Run the daemon of a persistent network, for `up`.
    #[command(hide = true)]
    Daemon(Box<UpOptions>),
    /// End the network that `up` started, and remove all of it.
    #[command(
        after_help = "Exit codes: 0, none is up any more; 1, something of it is left behind; 2, it does not end."
    )]
    Down(StateOptions),
    /// Tell how the network is.
    #[command(
        after_help = "Exit codes: 0, it is up; 1, a node or chaincode server has ended or does not answer; 2, none is up."
    )]
    Status(StatusOptions),
    /// Print the logs of the nodes and the chaincode server.
    #[command(after_help = "Exit codes: 0, done; 1, there is no such log; 2, no network is up.")]
    Logs(LogsOptions),
    /// End the chaincode server or a node, and start it again. Data and package stay.
    #[command(after_help = "Exit codes: 0, it answers again; 1, it does not; 2, no network is up.")]
    Restart(RestartOptions),
    /// Remember the network as it is: who is in which channel, and every ledger. Embedded nodes only.
    #[command(after_help = "Exit codes: 0, done; 1, it can't be; 2, no network is up.")]
    Snapshot(SnapshotOptions),
    /// Make the network what it was at a snapshot. Embedded nodes only.
    #[command(after_help = "Exit codes: 0, done; 1, there is no such snapshot; 2, no network is up.")]
    Restore(SnapshotOptions),
    /// Look at this machine: engine, images, Fabric, builder, ports, clock, certificates, leftovers.
    #[command(after_help = "Exit codes: 0, there is no problem; 1, there is one; 2, the options are wrong.")]
    Doctor(DoctorOptions),
    /// Write a chaincode package, the same bytes from the same content, and print its ID.
    #[command(after_help = "Exit codes: 0, written; 1, no peer would take it; 2, a file can't be read or written.")]
    Package(PackageOptions),
    /// Print what is in a chaincode package: type, label, ID, files, connection, certificates.
    #[command(after_help = "Exit codes: 0, printed; 1, no peer would take it; 2, it can't be read.")]
    Inspect(InspectOptions),
    /// Print the completions of this command line for a shell, to be sourced.
    #[command(after_help = "Exit codes: 0, printed.")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Wait until the harness that started this ends, and end its run if it has not done so itself.
    #[command(hide = true)]
    Reap {
        /// The run's directory.
        directory: PathBuf,
        /// The state directory of a network that stays, which goes with it.
        #[arg(long)]
        state: Option<PathBuf>,
    },
}
