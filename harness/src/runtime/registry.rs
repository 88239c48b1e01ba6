//! The runtimes of this build: one line each. The values and help of `--runtime`, the order of `auto`,
//! `probe`, `doctor`, the clean-up and the names in reports come from here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use fabric_network::release::Release;
use futures::future::BoxFuture;

#[cfg(feature = "docker")]
use super::docker;
#[cfg(feature = "kubernetes")]
use super::kubernetes;
use super::{ClusterOptions, Finding, Runtime, RuntimeOptions, Unavailable, embedded, process};
use crate::cleanup::{self, ResourceKind, Resources, Swept, reaper};

/// Every runtime, in the order of `--help`, which is also the order in which `auto` tries them.
pub static RUNTIMES: &[&Descriptor] = &[
    #[cfg(feature = "docker")]
    &docker::DOCKER,
    #[cfg(feature = "kubernetes")]
    &kubernetes::KUBERNETES,
    &process::PROCESS,
    &embedded::EMBEDDED,
];

/// The version of the official images if none is chosen.
pub(crate) const DEFAULT_FABRIC: &str = Release::NEWEST.line();

/// A runtime that is looked for.
pub type Found<'a> = BoxFuture<'a, Result<Box<dyn Runtime>, Unavailable>>;

/// A runtime, before it is known whether it is available on this machine.
pub struct Descriptor {
    /// Its name in `--runtime` and in reports.
    pub name: &'static str,
    /// What the nodes are, for `--help`.
    pub summary: &'static str,
    /// Whether `auto` tries it.
    pub auto: bool,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Part of the name of each test that needs it; `None` if it is available everywhere.
    pub tests: Option<&'static str>,
    /// Looks for it. May pull images, creates nothing else.
    pub find: for<'a> fn(&'a FindRequest) -> Found<'a>,
    /// Whether it can be expected to be found, without pulling anything: a description of it, or why not.
    pub probe: for<'a> fn(&'a FindRequest) -> BoxFuture<'a, Result<String, String>>,
    /// Diagnoses its requirements, for `doctor`.
    pub diagnose: for<'a> fn(&'a FindRequest) -> BoxFuture<'a, Vec<Finding>>,
    /// What its runs have besides processes and files, for the clean-up.
    pub resources: Option<&'static ResourceKind>,
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Descriptor").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for Descriptor {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Descriptor {}

/// What a runtime can do, as far as it matters before it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Nodes and chaincode servers are containers, made of images.
    pub takes_images: bool,
    /// Nodes are the programs of `--fabric-bin`.
    pub takes_programs: bool,
    /// It runs in the cluster of [`ClusterOptions`], and its peers do not reach servers on this machine.
    pub in_cluster: bool,
    /// What a pass does not prove; `None` if the nodes are Fabric's own.
    pub not_covered: Option<&'static str>,
}

/// What a runtime is looked for with. Each takes what it needs of it.
#[derive(Debug, Clone)]
pub struct FindRequest {
    /// What every runtime needs.
    pub options: RuntimeOptions,
    /// The version of Fabric, if one is required: a release line or an image tag.
    pub fabric: Option<String>,
    /// The directory of Fabric's programs. Default: PATH.
    pub fabric_bin: Option<PathBuf>,
    /// Where in a cluster.
    pub cluster: ClusterOptions,
    /// The seed of what is random otherwise.
    pub seed: Option<u64>,
}

impl FindRequest {
    /// The defaults, with these options.
    pub fn new(options: RuntimeOptions) -> Self {
        Self { options, fabric: None, fabric_bin: None, cluster: ClusterOptions::default(), seed: None }
    }

    /// The tag of the official images.
    pub fn image_tag(&self) -> &str {
        self.fabric.as_deref().unwrap_or(DEFAULT_FABRIC)
    }
}

/// What `--runtime` chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RuntimeChoice {
    /// The first available runtime of those that [`Descriptor::auto`] allows.
    #[default]
    Auto,
    /// This one.
    Named(&'static Descriptor),
}

impl RuntimeChoice {
    /// The name of [`RuntimeChoice::Auto`].
    pub const AUTO: &'static str = "auto";

    /// Whether the chosen runtime has a capability; `false` for `auto`, of which that is not known.
    pub(crate) fn has(self, has: impl Fn(&Capabilities) -> bool) -> bool {
        match self {
            Self::Auto => false,
            Self::Named(runtime) => has(&runtime.capabilities),
        }
    }
}

impl From<&'static Descriptor> for RuntimeChoice {
    fn from(runtime: &'static Descriptor) -> Self {
        Self::Named(runtime)
    }
}

/// The runtimes that `auto` tries, in this order.
pub fn automatic() -> impl Iterator<Item = &'static Descriptor> {
    RUNTIMES.iter().copied().filter(|runtime| runtime.auto)
}

/// What runs of these runtimes have besides processes and files.
fn resource_kinds() -> Vec<&'static ResourceKind> {
    RUNTIMES.iter().filter_map(|runtime| runtime.resources).collect()
}

/// Removes what dead runs left in `parent`, and in these engines: see [`cleanup::sweep`](cleanup::sweep()).
pub async fn sweep(parent: &Path, engines: Vec<Arc<dyn Resources>>) -> Swept {
    cleanup::sweep(parent, &resource_kinds(), engines).await
}

/// The engines that runs of this user would use now.
pub(crate) fn engines() -> impl Iterator<Item = Arc<dyn Resources>> {
    resource_kinds().into_iter().filter_map(|kind| (kind.current)())
}

/// What a program does that is started as the reaper: see [`reaper::main`].
pub fn reap(directory: &Path, then: impl FnOnce() + Send + 'static) -> ExitCode {
    reaper::main(directory, &resource_kinds(), then)
}

/// The name of every runtime.
pub fn names() -> Vec<&'static str> {
    RUNTIMES.iter().map(|runtime| runtime.name).collect()
}

/// The names of the runtimes with a capability, such as `docker and kubernetes`.
pub(crate) fn names_with(has: impl Fn(&Capabilities) -> bool) -> String {
    listed(RUNTIMES.iter().filter(|runtime| has(&runtime.capabilities)).map(|runtime| runtime.name))
}

/// `a, b and c`.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => names.concat(),
    }
}
