//! Which runtime a plan gets: the one that it names, or the first available one.

use crate::cleanup::Reaper;
use crate::console::{error_text, print};
use crate::interrupt::Interrupt;
use crate::plan::NetworkPlan;
use crate::runtime::registry::{Descriptor, RuntimeChoice, automatic, names_with};
use crate::runtime::{FindRequest, Runtime, RuntimeError, RuntimeOptions, Unavailable};
use crate::server::ServerSource;
use fabric_network::couchdb::CouchDb;
use std::ffi::OsStr;
use std::io;

/// A runtime, and why it is not another.
#[derive(Debug)]
pub struct Choice {
    /// The chosen runtime.
    pub runtime: Box<dyn Runtime>,
    /// The runtimes that were tried before it, and why they are not available.
    pub passed_over: Vec<(&'static str, String)>,
}

/// No runtime could be chosen.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ChoiceError {
    /// The one that was named is not available.
    #[error("--runtime {name}: {source}")]
    Named {
        /// Its name.
        name: &'static str,
        /// Why not.
        #[source]
        source: Unavailable,
    },
    /// None of those that `auto` tries is available; this is why the last one is not.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Nothing runs the image of the chaincode server.
    #[error(
        "the chaincode server is the image {image}, which only --runtime {} run: {source}",
        names_with(|capabilities| capabilities.takes_images)
    )]
    Image {
        /// The image.
        image: String,
        /// Why the last one that was tried is not available.
        #[source]
        source: Unavailable,
    },
    /// This program is needed in a container, where it does not run.
    #[error("--runtime {name}: {NOT_STATIC}")]
    NotStatic {
        /// The runtime.
        name: &'static str,
    },
    /// This program has no path, so it cannot be started as the reaper.
    #[error("cannot find this program")]
    Reaper(#[source] io::Error),
    /// A signal came.
    #[error("ended by {0}")]
    Interrupted(&'static str),
    /// This build has no runtime that fits.
    #[error("no runtime of this build fits; give another --runtime")]
    None,
}

crate::console::debug_as_text!(ChoiceError);

/// Why this program cannot be used in a container, and what to do.
pub(crate) const NOT_STATIC: &str = "this build of fabric-harness is linked dynamically, so that it cannot be the \
                                     external builder and the sample chaincode in a container; use a released \
                                     program, or give static programs with --builder and --chaincode";

/// Whether a container has what this program needs.
pub(crate) const IS_STATIC: bool = cfg!(target_feature = "crt-static");

/// `Fabric 3.1.5`, or `as Fabric 3.1` for nodes that are not Fabric's.
pub fn describe(runtime: &dyn Runtime) -> String {
    let as_if = if runtime.capabilities().not_covered.is_some() { "as " } else { "" };
    format!("{as_if}Fabric {}", runtime.version())
}

/// The runtime that the plan names, or the first available one. `reaper` ends its runs if this program
/// is killed.
///
/// # Errors
///
/// Why the named one, or the last one that was tried, is not available.
pub async fn choose(plan: &NetworkPlan, reaper: Reaper) -> Result<Choice, ChoiceError> {
    let options = RuntimeOptions { timeout: plan.timeout, tap: plan.tap, reaper, ..RuntimeOptions::new(&plan.builder) };
    let request = FindRequest {
        options,
        fabric: plan.fabric.as_ref().map(|fabric| fabric.tag.clone()),
        fabric_bin: plan.fabric_bin.clone(),
        cluster: plan.cluster.clone(),
        seed: plan.seed,
    };
    let cannot_run = |runtime: &Descriptor| runtime.capabilities.takes_images && plan.uses_own_program && !IS_STATIC;
    if let RuntimeChoice::Named(runtime) = plan.runtime {
        if cannot_run(runtime) {
            return Err(ChoiceError::NotStatic { name: runtime.name });
        }
        let found = (runtime.find)(&request).await;
        let runtime = found.map_err(|source| ChoiceError::Named { name: runtime.name, source })?;
        return Ok(Choice { runtime, passed_over: Vec::new() });
    }
    let fits = |runtime: &&Descriptor| match &plan.server.source {
        ServerSource::Image(_) => runtime.capabilities.takes_images,
        // Whoever gives a directory of programs wants them to be used.
        _ => runtime.capabilities.takes_programs || plan.fabric_bin.is_none(),
    };
    let mut candidates = automatic().filter(fits).peekable();
    let mut passed_over = Vec::new();
    while let Some(candidate) = candidates.next() {
        let is_last = candidates.peek().is_none();
        let reason = match (candidate.find)(&request).await {
            Ok(_) if cannot_run(candidate) && is_last => return Err(ChoiceError::NotStatic { name: candidate.name }),
            Ok(_) if cannot_run(candidate) => NOT_STATIC.to_owned(),
            // What speaks against the last one is reported when it is used.
            Ok(runtime) if is_last => return Ok(Choice { runtime, passed_over }),
            Ok(runtime) => match check_databases(&*runtime, plan).await {
                Ok(()) => return Ok(Choice { runtime, passed_over }),
                Err((couchdb, error)) => format!("--couchdb {couchdb} {}", error_text(&error)),
            },
            Err(error) if is_last => return Err(unavailable(error, &plan.server.source)),
            Err(error) => error_text(&error),
        };
        passed_over.push((candidate.name, reason));
    }
    Err(ChoiceError::None)
}

fn unavailable(source: Unavailable, server: &ServerSource) -> ChoiceError {
    match server {
        ServerSource::Image(image) => ChoiceError::Image { image: image.clone(), source },
        _ => source.into(),
    }
}

/// Whether the nodes use every CouchDB. One that is not found is an error when it is claimed.
async fn check_databases<'a>(runtime: &dyn Runtime, plan: &'a NetworkPlan) -> Result<(), (&'a CouchDb, RuntimeError)> {
    for couchdb in &plan.couchdb {
        let found = tokio::net::lookup_host((couchdb.host(), couchdb.port()));
        let found = tokio::time::timeout(plan.timeout, found).await;
        let address = found.ok().and_then(Result::ok).and_then(|mut addresses| addresses.next());
        if let Some(address) = address {
            runtime.check_couchdb(address.ip().to_canonical()).map_err(|error| (couchdb, error))?;
        }
    }
    Ok(())
}

/// Chooses the runtime of the plan, whose reaper is this program with these arguments, and prints which it is
/// and what it does not cover.
///
/// # Errors
///
/// As [`choose`]; or a signal came, or this program has no path.
pub(crate) async fn choose_and_print(
    plan: &NetworkPlan,
    quiet: bool,
    interrupt: &Interrupt,
    reap: &[&OsStr],
) -> Result<Box<dyn Runtime>, ChoiceError> {
    let reaper = Reaper::this_program(reap).map_err(ChoiceError::Reaper)?;
    let Choice { runtime, passed_over } = tokio::select! {
        choice = choose(plan, reaper) => choice?,
        signal = interrupt.received() => return Err(ChoiceError::Interrupted(signal)),
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
        describe(&*runtime),
        plan.topology_name,
        plan.tls
    ));
    if let Some(not_covered) = runtime.capabilities().not_covered {
        print(format_args!("not covered: {not_covered}"));
    }
    Ok(runtime)
}
