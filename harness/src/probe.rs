//! `probe`: which runtimes are available on this machine, and which tiers of the project's tests can run.
//! `cargo xtask test` asks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fabric_network::couchdb::CouchDb;
use fabric_primitives::program;
use futures::future::BoxFuture;

use crate::cleanup::control_group::ControlGroup;
use crate::console::{ExitCode, could_not_run, print};
use crate::options::FabricOptions;
use crate::plan::resolve_fabric;
use crate::runtime::registry::RUNTIMES;
use crate::runtime::{Capabilities, FindRequest, RuntimeOptions};

/// The options of `probe`.
#[derive(Debug, Clone, clap::Args)]
pub struct ProbeOptions {
    /// Which Fabric.
    #[command(flatten)]
    pub fabric: FabricOptions,
    /// Print the tiers of the tests only: `TESTS<TAB>USES<TAB>yes|no<TAB>WHY`. TESTS is part of each test's
    /// name. USES is `programs` if the tests use those of --fabric-bin, `static` if builder and chaincode must be
    /// static, `static-harness` if the harness must be as well, or `-`.
    #[arg(long, hide = true)]
    pub tests: bool,
}

/// A tier of tests that needs more than one of the runtimes.
struct Tier {
    name: &'static str,
    /// Part of the name of each test.
    tests: &'static str,
    /// The capability of the runtime whose needs it shares.
    runtime: fn(&Capabilities) -> bool,
    /// What its tests use, unless it is what the runtime uses.
    uses: Option<&'static str>,
    /// Whether the rest is there: a description of it, or what is missing.
    look: for<'a> fn(&'a FindRequest) -> BoxFuture<'a, Result<String, String>>,
}

const TIERS: [Tier; 9] = [
    Tier {
        name: "compose",
        tests: "needs_compose",
        runtime: |it| it.takes_images && !it.in_cluster,
        uses: Some("static-harness"),
        look: |_| Box::pin(async { Ok(format!("Docker Compose {}", compose().await?)) }),
    },
    Tier {
        name: "release",
        tests: "needs_release",
        runtime: |it| it.takes_programs,
        uses: None,
        look: |request| Box::pin(async { has_tools(&["configtxgen", "configtxlator", "osnadmin"], request) }),
    },
    Tier {
        name: "discover",
        tests: "needs_discover",
        runtime: |it| it.takes_programs,
        uses: None,
        look: |request| Box::pin(async { has_tools(&["osnadmin", "discover"], request) }),
    },
    Tier {
        name: "node",
        tests: "needs_node",
        runtime: |it| it.takes_programs,
        uses: None,
        look: |request| Box::pin(async { has_tools(&["osnadmin"], request).and_then(|_| node_for_tests()) }),
    },
    Tier {
        name: "couchdb",
        tests: "needs_couchdb",
        runtime: |it| it.takes_programs,
        uses: None,
        look: |_| Box::pin(async { Ok(format!("CouchDB {}", couchdb_for_tests().await?)) }),
    },
    Tier {
        name: "strace",
        tests: "needs_strace",
        runtime: |it| !it.takes_images && !it.takes_programs,
        uses: None,
        look: |_| Box::pin(async { strace_for_tests().map(str::to_owned) }),
    },
    Tier {
        name: "cgroup",
        tests: "needs_cgroup",
        runtime: |it| !it.takes_images && !it.takes_programs,
        uses: None,
        look: |_| Box::pin(async { cgroup_for_tests().map(str::to_owned) }),
    },
    Tier {
        name: "podman",
        tests: "needs_podman",
        runtime: |it| !it.takes_images && !it.takes_programs,
        uses: Some("static"),
        look: |_| Box::pin(async { Ok(format!("Podman {}", podman_for_tests().await?)) }),
    },
    Tier {
        name: "images",
        tests: "needs_images",
        runtime: |it| it.in_cluster,
        uses: None,
        look: |_| Box::pin(async { images_for_tests().map(str::to_owned) }),
    },
];

/// A line of the output.
struct Line {
    name: &'static str,
    tests: Option<&'static str>,
    uses: &'static str,
    possible: Result<String, String>,
}

/// Prints which runtimes are available, and which tiers of the tests can run.
pub(crate) async fn probe(options: &ProbeOptions) -> ExitCode {
    let fabric = match resolve_fabric(&options.fabric) {
        Ok(fabric) => fabric,
        Err(error) => return could_not_run(&error.to_string()),
    };
    let request = FindRequest {
        fabric: fabric.map(|fabric| fabric.tag),
        fabric_bin: options.fabric.fabric_bin.clone(),
        ..FindRequest::new(RuntimeOptions::new(PathBuf::new()))
    };
    for Line { name, tests, uses, possible } in lines(&request).await {
        let (is_possible, why) = match &possible {
            Ok(what) => ("yes", what),
            Err(reason) => ("no", reason),
        };
        match tests {
            Some(tests) if options.tests => print(format_args!("{tests}\t{uses}\t{is_possible}\t{why}")),
            None if options.tests => {}
            _ => print(format_args!("{name}\t{is_possible}\t{why}")),
        }
    }
    ExitCode::Passed
}

async fn lines(request: &FindRequest) -> Vec<Line> {
    let mut lines = Vec::new();
    for runtime in RUNTIMES {
        let possible = (runtime.probe)(request).await;
        let uses = match &runtime.capabilities {
            Capabilities { takes_programs: true, .. } => "programs",
            Capabilities { takes_images: true, .. } => "static",
            _ => "-",
        };
        for tier in TIERS.iter().filter(|tier| (tier.runtime)(&runtime.capabilities)) {
            let possible = match &possible {
                Ok(what) => (tier.look)(request).await.map(|more| joined(what, &more)),
                Err(reason) => Err(reason.clone()),
            };
            lines.push(Line { name: tier.name, tests: Some(tier.tests), uses: tier.uses.unwrap_or(uses), possible });
        }
        lines.push(Line { name: runtime.name, tests: runtime.tests, uses, possible });
    }
    lines
}

fn joined(what: &str, more: &str) -> String {
    if more.is_empty() { what.to_owned() } else { format!("{what}, {more}") }
}

/// Whether these programs of Fabric are there, which have no more details.
fn has_tools(tools: &[&str], request: &FindRequest) -> Result<String, String> {
    let directories: Vec<PathBuf> = match &request.fabric_bin {
        Some(directory) => vec![directory.clone(), directory.join("bin")],
        None => program::directories("PATH"),
    };
    let is_there = |tool: &&str| program::find(tool, &directories, Path::is_file).is_some();
    let missing: Vec<&str> = tools.iter().copied().filter(|tool| !is_there(tool)).collect();
    if missing.is_empty() { Ok(String::new()) } else { Err(format!("there is no {}", missing.join(", "))) }
}

/// Where our own tests have Node.js and the packages of npm.
fn node_for_tests() -> Result<String, String> {
    const VARIABLE: &str = "NODE_PROJECT";
    let project = PathBuf::from(std::env::var_os(VARIABLE).ok_or_else(|| format!("{VARIABLE} is not set"))?);
    if program::find("node", &program::directories("PATH"), Path::is_file).is_none() {
        return Err("there is no node on PATH".to_owned());
    }
    let packages = ["@hyperledger/fabric-gateway", "@grpc/grpc-js", "fabric-shim"];
    let is_missing = |package: &&str| !project.join("node_modules").join(package).is_dir();
    match packages.into_iter().find(is_missing) {
        Some(package) => Err(format!("{VARIABLE}: there is no {package} in {}", project.display())),
        None => Ok(format!("Node.js with the packages of {}", project.display())),
    }
}

/// The version of the CouchDB that our own tests use.
async fn couchdb_for_tests() -> Result<String, String> {
    const VARIABLE: &str = "COUCHDB_URL";
    let url = std::env::var(VARIABLE).map_err(|_| format!("{VARIABLE} is not set"))?;
    let couchdb: CouchDb = url.parse().map_err(|error| format!("{VARIABLE}: {error}"))?;
    let version = crate::couchdb::version(&couchdb, Duration::from_secs(5)).await;
    version.map_err(|error| format!("{VARIABLE}, {couchdb}: {}", error.source))
}

/// Whether the cluster that our own tests use has the project's own images, which no test can put there.
fn images_for_tests() -> Result<&'static str, String> {
    const VARIABLE: &str = "FABRIC_HARNESS_KUBE_IMAGES";
    match std::env::var(VARIABLE).as_deref() {
        Ok("yes") => Ok("with the project's images"),
        _ => Err(format!("{VARIABLE} is not `yes`: the cluster may lack the images that a bundle's README.md builds")),
    }
}

/// Whether our own tests can inject signals into the program's system calls.
fn strace_for_tests() -> Result<&'static str, String> {
    match program::find("strace", &program::directories("PATH"), Path::is_file) {
        Some(_) => Ok("strace"),
        None => Err("there is no strace on PATH".to_owned()),
    }
}

/// Whether this user may create a control group.
fn cgroup_for_tests() -> Result<&'static str, String> {
    let group = ControlGroup::of_run(&format!("probe-{}", std::process::id()));
    let group = group.ok_or("this user may not create a control group (cgroup)")?;
    group.create().map_err(|error| format!("cannot create a control group: {error}"))?;
    group.remove().map_err(|(path, error)| format!("cannot remove {}: {error}", path.display()))?;
    Ok("control groups")
}

/// How long the `docker` or `podman` command may take to print a version.
const VERSION: Duration = Duration::from_secs(10);

/// The version of the Podman that our own tests use.
async fn podman_for_tests() -> Result<String, String> {
    const VARIABLE: &str = "PODMAN_HOST";
    let uri = std::env::var(VARIABLE).map_err(|_| format!("{VARIABLE} is not set"))?;
    let podman = |arguments: &[&str]| {
        let mut command = tokio::process::Command::new("podman");
        command.args(["--url", &uri]).args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true);
        command
    };
    let output = |mut command: tokio::process::Command| async move {
        match tokio::time::timeout(VERSION, command.output()).await {
            Ok(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            Ok(Ok(output)) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Ok(Err(error)) => Err(format!("there is no `podman` command: {error}")),
            Err(_) => Err(format!("printed nothing within {} s", VERSION.as_secs())),
        }
    };
    let version = output(podman(&["version", "--format", "{{.Server.Version}}"])).await;
    let version = version.map_err(|error| format!("{VARIABLE}, {uri}: {error}"))?;
    for image in ["fabric-peer", "fabric-orderer"] {
        for fabric in ["2.5", "3.1"] {
            let image = format!("hyperledger/{image}:{fabric}");
            let found = output(podman(&["image", "exists", &image])).await;
            found.map_err(|_| format!("{VARIABLE}, {uri}: there is no image {image}"))?;
        }
    }
    Ok(version)
}

/// The version of the Compose plugin of the `docker` command. The older program `docker-compose` is another.
async fn compose() -> Result<String, String> {
    let mut command = tokio::process::Command::new("docker");
    command.args(["compose", "version", "--short"]).stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(VERSION, command.output()).await {
        Ok(Ok(output)) if output.status.success() => output.stdout,
        Ok(Ok(_)) => return Err("the `docker` command has no plugin `compose`".to_owned()),
        Ok(Err(error)) => return Err(format!("there is no `docker` command: {error}")),
        Err(_) => return Err(format!("`docker compose version` printed nothing within {} s", VERSION.as_secs())),
    };
    let version = String::from_utf8_lossy(&output).trim().trim_start_matches('v').to_owned();
    let major: Option<u32> = version.split('.').next().and_then(|major| major.parse().ok());
    if major.is_some_and(|major| major >= 2) {
        Ok(version)
    } else {
        Err(format!("Docker Compose {version} is not 2 or newer"))
    }
}
