//! Which runtime a plan gets: the one that it names, or the first possible one.

use crate::cleanup::Reaper;
use crate::console::{error_text, print};
use crate::interrupt::Interrupt;
use crate::options::RuntimeChoice;
use crate::plan::{FabricTag, NetworkPlan};
use crate::runtime::docker::DockerRuntime;
use crate::runtime::embedded::EmbeddedRuntime;
use crate::runtime::kubernetes::KubernetesRuntime;
use crate::runtime::process::ProcessRuntime;
use crate::runtime::{Runtime, RuntimeOptions};
use crate::server::ServerSource;
use fabric_network::release::Release;
use std::ffi::OsStr;
use std::path::Path;

/// The version of the images when none was asked for.
pub const DEFAULT_FABRIC: &str = Release::NEWEST.line();

/// A runtime, and why it is not another.
#[derive(Debug)]
pub struct Choice {
    /// What was chosen.
    pub runtime: Runtime,
    /// The runtimes that were tried before it, and why they are not possible.
    pub passed_over: Vec<(&'static str, String)>,
}

/// `Fabric 3.1.5`, or `as Fabric 3.1` for nodes that are not Fabric's.
pub fn describe(runtime: &Runtime) -> String {
    let as_if = if runtime.not_covered().is_some() { "as " } else { "" };
    format!("{as_if}Fabric {}", runtime.version())
}

/// The runtime that was asked for, or the first possible one. `reaper` ends its runs if this program
/// is killed.
///
/// # Errors
///
/// Why the one that was asked for is not possible.
pub async fn choose(plan: &NetworkPlan, reaper: Reaper) -> Result<Choice, String> {
    let settings =
        RuntimeOptions { timeout: plan.timeout, tap: plan.tap, reaper, ..RuntimeOptions::new(&plan.builder) };
    let fabric = plan.fabric.as_ref();
    let on_processes = process(settings.clone(), fabric, plan.fabric_bin.as_deref());
    let mut passed_over = Vec::new();
    let runtime = match plan.runtime {
        RuntimeChoice::Docker => {
            docker(settings, fabric).await.map_err(|reason| format!("--runtime docker: {reason}"))?
        }
        RuntimeChoice::Kubernetes => {
            let tag = fabric.map_or(DEFAULT_FABRIC, |fabric| &fabric.tag);
            let found = Box::pin(KubernetesRuntime::find(settings, plan.kubernetes.clone(), tag)).await;
            found.map(Runtime::Kubernetes).map_err(|error| format!("--runtime kubernetes: {}", error_text(&error)))?
        }
        RuntimeChoice::Process => on_processes.await.map_err(|reason| format!("--runtime process: {reason}"))?,
        RuntimeChoice::Embedded => embedded(settings, plan),
        RuntimeChoice::Auto if let ServerSource::Image(image) = &plan.server.source => {
            let needs =
                |reason| format!("the chaincode server is the image {image}, which needs a Docker engine: {reason}");
            docker_for(plan, settings).await.map_err(needs)?
        }
        // Whoever says where the programs are wants them taken.
        RuntimeChoice::Auto if plan.fabric_bin.is_some() => on_processes.await?,
        RuntimeChoice::Auto => match docker_for(plan, settings.clone()).await {
            Ok(runtime) => runtime,
            Err(reason) => {
                passed_over.push(("docker", reason));
                match on_processes.await {
                    Ok(runtime) => runtime,
                    Err(reason) => {
                        passed_over.push(("process", reason));
                        embedded(settings, plan)
                    }
                }
            }
        },
    };
    Ok(Choice { runtime, passed_over })
}

/// An engine whose nodes reach what the plan names.
async fn docker_for(plan: &NetworkPlan, settings: RuntimeOptions) -> Result<Runtime, String> {
    let runtime = docker(settings, plan.fabric.as_ref()).await?;
    reaches_databases(&runtime, plan).await?;
    Ok(runtime)
}

/// Whether nodes of this runtime reach every CouchDB. One that is not found is told of when it is asked.
async fn reaches_databases(runtime: &Runtime, plan: &NetworkPlan) -> Result<(), String> {
    for couchdb in &plan.couchdb {
        let found = tokio::net::lookup_host((couchdb.host(), couchdb.port()));
        let found = tokio::time::timeout(plan.timeout, found).await;
        let address = found.ok().and_then(Result::ok).and_then(|mut addresses| addresses.next());
        if let Some(address) = address {
            let reached = runtime.reaches(address.ip().to_canonical());
            reached.map_err(|error| format!("--couchdb {couchdb} {}", error_text(&error)))?;
        }
    }
    Ok(())
}

fn embedded(settings: RuntimeOptions, plan: &NetworkPlan) -> Runtime {
    let release = plan.fabric.as_ref().map_or_else(Release::default, |fabric| fabric.release);
    Runtime::Embedded(EmbeddedRuntime::new(settings, release).with_seed(plan.seed))
}

async fn docker(settings: RuntimeOptions, fabric: Option<&FabricTag>) -> Result<Runtime, String> {
    let tag = fabric.map_or(DEFAULT_FABRIC, |fabric| &fabric.tag);
    DockerRuntime::find(settings, tag).await.map(Runtime::Docker).map_err(|error| error_text(&error))
}

/// The programs of this machine, if they are of the version asked for.
pub(crate) async fn process(
    settings: RuntimeOptions,
    fabric: Option<&FabricTag>,
    directory: Option<&Path>,
) -> Result<Runtime, String> {
    let runtime = ProcessRuntime::find(settings, directory).await.map_err(|error| error_text(&error))?;
    let version = runtime.version();
    match fabric {
        Some(fabric) if !is_version(version, &fabric.tag) => Err(format!(
            "--fabric {} was asked for, but {} is {version}; give the directory of the other one by --fabric-bin",
            fabric.tag,
            runtime.peer().display()
        )),
        _ => Ok(Runtime::Process(runtime)),
    }
}

/// Whether `version` (`3.1.5`) is the one asked for (`3.1`, `3.1.5`, `v3.1.5`).
fn is_version(version: &str, asked: &str) -> bool {
    let plain = |text: &str| text.trim_start_matches('v').to_owned();
    let (version, asked) = (plain(version), plain(asked));
    version == asked || version.starts_with(&format!("{asked}."))
}

/// The runtime of the plan, whose reaper is this program with these arguments. Which it is, and what it
/// does not cover, is said.
pub(crate) async fn chosen(
    plan: &NetworkPlan,
    quiet: bool,
    interrupt: &Interrupt,
    reap: &[&OsStr],
) -> Result<Runtime, String> {
    let reaper = Reaper::this_program(reap).map_err(|error| format!("this program can't be found: {error}"))?;
    let Choice { runtime, passed_over } = tokio::select! {
        choice = choose(plan, reaper) => choice?,
        signal = interrupt.received() => return Err(format!("ended by {signal}")),
    };
    if quiet {
        return Ok(runtime);
    }
    for (name, reason) in passed_over {
        print(format_args!("runtime {name} passed over: {reason}"));
    }
    print(format_args!(
        "runtime {}, {}, topology {}, chaincode TLS {}",
        runtime.name(),
        describe(&runtime),
        plan.topology_name,
        plan.tls
    ));
    if let Some(not_covered) = runtime.not_covered() {
        print(format_args!("not covered: {not_covered}"));
    }
    Ok(runtime)
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn a_release_line_is_every_version_of_it_and_no_other() {
        assert!(is_version("3.1.5", "3.1"));
        assert!(is_version("v3.1.5", "3.1.5"));
        assert!(!is_version("3.1.5", "3.1.4"));
        assert!(!is_version("3.10.0", "3.1"));
        assert!(!is_version("2.5.16", "3.1"));
    }
}
