//! `probe`: which runtimes, and which tiers of our own tests, are possible here. `cargo xtask test` asks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fabric_network::couchdb::CouchDb;
use fabric_primitives::program;

use crate::cleanup::cluster::Cluster;
use crate::console::{ExitCode, could_not_run, error_text, print};
use crate::network::choice::{DEFAULT_FABRIC, describe, process};
use crate::options::FabricOptions;
use crate::plan::resolve_fabric;
use crate::runtime::RuntimeOptions;
use crate::runtime::docker::is_obtainable;

/// Tells which runtimes, and which tiers of our own tests, are possible here.
pub(crate) async fn probe(options: &FabricOptions) -> ExitCode {
    let fabric = match resolve_fabric(options) {
        Ok(fabric) => fabric,
        Err(error) => return could_not_run(&error.to_string()),
    };
    let tag = fabric.as_ref().map_or(DEFAULT_FABRIC, |fabric| &fabric.tag);
    let docker = is_obtainable(tag).await.map_err(|error| error_text(&error));
    let process = process(RuntimeOptions::new(PathBuf::new()), fabric.as_ref(), options.fabric_bin.as_deref()).await;
    let process = process.map(|runtime| describe(&runtime));
    let with_tools = |tools: &[&str]| match &process {
        Ok(what) => has_tools(tools, options.fabric_bin.as_deref()).map(|()| what.clone()),
        Err(reason) => Err(reason.clone()),
    };
    let (release, discover) = (with_tools(&RELEASE), with_tools(&["osnadmin", "discover"]));
    let node = with_tools(&["osnadmin"]).and_then(|what| node_for_tests().map(|node| format!("{what}, {node}")));
    let couchdb = match &process {
        Ok(what) => couchdb_for_tests().await.map(|version| format!("{what}, CouchDB {version}")),
        Err(reason) => Err(reason.clone()),
    };
    let compose = match &docker {
        Ok(what) => compose().await.map(|version| format!("{what}; Docker Compose {version}")),
        Err(reason) => Err(reason.clone()),
    };
    let cluster = cluster_for_tests().await;
    let images = cluster.clone().and_then(|what| images_for_tests().map(|images| format!("{what}, {images}")));
    let possibilities = [
        ("docker", docker),
        ("compose", compose),
        ("process", process),
        ("release", release),
        ("discover", discover),
        ("node", node),
        ("couchdb", couchdb),
        ("kubernetes", cluster),
        ("images", images),
    ];
    for (name, possible) in possibilities {
        match possible {
            Ok(what) => print(format_args!("{name}\tyes\t{what}")),
            Err(reason) => print(format_args!("{name}\tno\t{reason}")),
        }
    }
    ExitCode::Passed
}

/// The programs of a Fabric release that our own tests compare with, beside the peer and the orderer.
const RELEASE: [&str; 3] = ["configtxgen", "configtxlator", "osnadmin"];

/// Whether these programs of Fabric's are there.
fn has_tools(tools: &[&str], directory: Option<&Path>) -> Result<(), String> {
    let directories: Vec<PathBuf> = match directory {
        Some(directory) => vec![directory.to_owned(), directory.join("bin")],
        None => program::directories("PATH"),
    };
    let is_there = |tool: &&str| program::find(tool, &directories, Path::is_file).is_some();
    let missing: Vec<&str> = tools.iter().copied().filter(|tool| !is_there(tool)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("there is no {}", missing.join(", "))) }
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

/// The cluster that our own tests use: one that was named for them, and none that just happens to be
/// the current one.
async fn cluster_for_tests() -> Result<String, String> {
    const VARIABLE: &str = "FABRIC_HARNESS_KUBE_CONTEXT";
    let context = std::env::var(VARIABLE).map_err(|_| format!("{VARIABLE} names no context"))?;
    let cluster = Cluster::find(Some(&context)).map_err(|error| format!("{VARIABLE}: {}", error_text(&error)))?;
    let (_, version) = cluster.connect().await.map_err(|error| format!("{VARIABLE}: {}", error_text(&error)))?;
    Ok(format!("context {context}, Kubernetes {version}"))
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

/// How long the `docker` command may take to say its version.
const COMPOSE: Duration = Duration::from_secs(10);

/// The version of the Compose plugin of the `docker` command. The older program `docker-compose` is another.
async fn compose() -> Result<String, String> {
    let mut command = tokio::process::Command::new("docker");
    command.args(["compose", "version", "--short"]).stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(COMPOSE, command.output()).await {
        Ok(Ok(output)) if output.status.success() => output.stdout,
        Ok(Ok(_)) => return Err("the `docker` command has no plugin `compose`".to_owned()),
        Ok(Err(error)) => return Err(format!("there is no `docker` command: {error}")),
        Err(_) => return Err(format!("`docker compose version` says nothing within {} s", COMPOSE.as_secs())),
    };
    let version = String::from_utf8_lossy(&output).trim().trim_start_matches('v').to_owned();
    let major: Option<u32> = version.split('.').next().and_then(|major| major.parse().ok());
    if major.is_some_and(|major| major >= 2) {
        Ok(version)
    } else {
        Err(format!("Docker Compose {version} is not 2 or newer"))
    }
}
