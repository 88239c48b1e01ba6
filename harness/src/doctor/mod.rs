//! The `doctor` command: checks this machine, one line per finding, with the fix.
//!
//! It starts no network and changes nothing, unless `--clean` asks for the leftovers of dead runs to be
//! removed. Each check is bounded in time, and they run side by side.

mod certificates;
mod configuration;
mod leftovers;
mod machine;
mod programs;

use std::path::PathBuf;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};

use crate::console::{ExitCode, could_not_run, print};
use crate::daemon::options::StateOptions;
use crate::options::FabricOptions;
use crate::plan::{builder_on_this_machine, resolve_fabric};
use crate::runtime::finding::Level;
use crate::runtime::registry::RUNTIMES;
use crate::runtime::{FindRequest, Finding, RuntimeOptions};

/// How long one check may take: an engine asks a registry, a cold disk reads programs.
const BOUND: Duration = Duration::from_secs(20);

/// How long removing leftovers may take.
const CLEAN_BOUND: Duration = Duration::from_mins(2);

/// The options of `doctor`.
#[derive(Debug, Clone, clap::Args)]
pub struct DoctorOptions {
    /// Which Fabric.
    #[command(flatten)]
    pub fabric: FabricOptions,
    /// The ccaas-builder program. Default: the variable `CCAAS_BUILDER`, PATH, or this program.
    #[arg(long, value_name = "FILE")]
    pub builder: Option<PathBuf>,
    /// A chaincode server program, to be looked at as well.
    #[arg(long, value_name = "FILE")]
    pub chaincode: Option<PathBuf>,
    /// Directory whose certificates are checked, at any depth. Default: the state directory, if it is
    /// there.
    #[arg(long, value_name = "DIR")]
    pub certificates: Option<PathBuf>,
    /// Check only a peer's configuration: keys that peers ignore, external builders, Docker.
    #[arg(long, value_name = "FILE")]
    pub core_yaml: Option<PathBuf>,
    /// Check only an orderer's configuration: keys with which it does not start.
    #[arg(long, value_name = "FILE")]
    pub orderer_yaml: Option<PathBuf>,
    /// Remove leftovers of dead runs.
    #[arg(long)]
    pub clean: bool,
    /// Where the state of a network is.
    #[command(flatten)]
    pub state: StateOptions,
}

/// Looks at everything. Ends with [`ExitCode::Passed`], with [`ExitCode::Failed`] when there is a
/// problem, and [`ExitCode::CouldNotRun`] when the options are wrong.
pub(crate) async fn doctor(options: &DoctorOptions) -> ExitCode {
    let fabric = match resolve_fabric(&options.fabric) {
        Ok(fabric) => fabric,
        Err(error) => return could_not_run(&error.to_string()),
    };
    if options.core_yaml.is_some() || options.orderer_yaml.is_some() {
        let release = fabric.map(|fabric| fabric.release.line());
        let core = options.core_yaml.as_deref().map(|file| configuration::core(file, release));
        let orderer = options.orderer_yaml.as_deref().map(|file| configuration::orderer(file, release));
        return concluded(&core.into_iter().chain(orderer).flatten().collect::<Vec<_>>());
    }
    let request = FindRequest {
        fabric: fabric.map(|fabric| fabric.tag),
        fabric_bin: options.fabric.fabric_bin.clone(),
        ..FindRequest::new(RuntimeOptions::new(PathBuf::new()))
    };
    let builder = options.builder.clone().or_else(builder_on_this_machine);
    let state = options.state.state.clone();
    let certificates = options.certificates.clone();
    let chaincode = options.chaincode.clone();
    let (clean, bound) = (options.clean, if options.clean { CLEAN_BOUND } else { BOUND });
    let own = state.clone();
    let mut checks: Vec<BoxFuture<'_, Vec<Finding>>> =
        vec![Box::pin(bounded("machine", BOUND, blocking("machine", || machine::look(&std::env::temp_dir()))))];
    for runtime in RUNTIMES {
        checks.push(Box::pin(bounded(runtime.name, BOUND, (runtime.diagnose)(&request))));
    }
    let others: [BoxFuture<'_, Vec<Finding>>; 4] = [
        Box::pin(bounded("builder", BOUND, programs::builder(builder))),
        Box::pin(bounded("chaincode", BOUND, programs::chaincode(chaincode))),
        Box::pin(bounded(
            "certificates",
            BOUND,
            blocking("certificates", move || certificates::look(certificates.as_deref(), &own)),
        )),
        Box::pin(bounded("leftovers", bound, leftovers::look(std::env::temp_dir(), state, clean))),
    ];
    checks.extend(others);
    let findings: Vec<Finding> = join_all(checks).await.into_iter().flatten().collect();
    concluded(&findings)
}

/// Prints the findings and their number.
fn concluded(findings: &[Finding]) -> ExitCode {
    for finding in findings {
        print(finding);
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (warnings, problems) = (count(Level::Warning), count(Level::Problem));
    print(format_args!("{problems} problems, {warnings} warnings"));
    if problems == 0 { ExitCode::Passed } else { ExitCode::Failed }
}

async fn bounded(what: &'static str, bound: Duration, check: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    let late = || vec![Finding::warning(what, format!("the check timed out after {} s", bound.as_secs()))];
    tokio::time::timeout(bound, check).await.unwrap_or_else(|_| late())
}

/// A check that reads files, off the threads on which the others run.
async fn blocking(what: &'static str, check: impl FnOnce() -> Vec<Finding> + Send + 'static) -> Vec<Finding> {
    let (done, found) = tokio::sync::oneshot::channel();
    // Not one of tokio's own threads, on which the end of the program would wait.
    std::thread::spawn(move || done.send(check()));
    found.await.unwrap_or_else(|_| vec![Finding::problem(what, "the check panicked")])
}
