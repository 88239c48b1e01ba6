//! The options of a run, resolved and validated. All mistakes are reported together, each with its
//! option's name. Declares no option, and starts nothing.

use crate::check::cases::{Case, CaseFile, CaseFileError};
use crate::check::definition::ChaincodeSection;
use crate::check::scope::Scope;
use crate::console::{error_text, read_text};
use crate::options::{E2eOptions, FabricOptions, Keep, MESSAGES_OF_FAILURES, NetworkOptions};
use crate::runtime::registry::{RuntimeChoice, names_with};
use crate::runtime::{ClusterOptions, not_in_cluster};
use crate::server::{Address, Server, ServerSource, Template, TlsMode};
use fabric_network::couchdb::{CouchDb, CouchDbUrlError, Secret};
use fabric_network::logging::{LoggingSpec, LoggingSpecError};
use fabric_network::release::Release;
use fabric_network::topology::{Consensus, NodeKind, Topology};
use fabric_primitives::names::{InvalidName, is_dns_label};
use fabric_primitives::program;
use fabric_primitives::text::cut;
use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The options of a network, resolved and validated.
#[derive(Debug, Clone)]
pub struct NetworkPlan {
    /// The runtime.
    pub runtime: RuntimeChoice,
    /// The requested image tag or release.
    pub fabric: Option<FabricTag>,
    /// Directory of Fabric's binaries. Default: PATH.
    pub fabric_bin: Option<PathBuf>,
    /// The options of a cluster.
    pub cluster: ClusterOptions,
    /// The network.
    pub topology: Topology,
    /// The topology as the user gave it: a preset's name or a file.
    pub topology_name: String,
    /// The CouchDB of each peer, in the order of the topology's peers; empty when there is none.
    pub couchdb: Vec<CouchDb>,
    /// TLS between the peers and the chaincode server.
    pub tls: TlsMode,
    /// Timeout of each wait.
    pub timeout: Duration,
    /// The seed of everything random in embedded nodes.
    pub seed: Option<u64>,
    /// What Fabric's nodes log. Default: that of the release.
    pub logging: Option<LoggingSpec>,
    /// The ccaas-builder program.
    pub builder: PathBuf,
    /// Whether it or the chaincode is the program `fabric-harness`.
    pub uses_own_program: bool,
    /// The chaincode server.
    pub server: Server,
    /// The definition that is committed on each channel.
    pub chaincode: ChaincodeSection,
    /// Whether the messages between peers and chaincode are recorded, with a tap if necessary.
    pub tap: bool,
}

/// The options of `e2e`, resolved and validated.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The network, and the chaincode on it.
    pub network: NetworkPlan,
    /// The cases that are checked; at least one.
    pub cases: Vec<Case>,
    /// When to keep the evidence.
    pub keep: Keep,
    /// Parent directory of the evidence.
    pub evidence: PathBuf,
    /// The number of runs.
    pub repeat: u32,
    /// The number of `-v`: 0 to 4.
    pub verbosity: u8,
    /// Whether only failures and the last line are printed.
    pub quiet: bool,
}

/// A requested Fabric version and its release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FabricTag {
    /// `2.5`, `3.1.5`, or any image tag that starts with such a number.
    pub tag: String,
    /// The release, for which the configuration is rendered.
    pub release: Release,
}

/// A mistake on the command line.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// The version is not supported.
    #[error(
        "--fabric {value}: not a supported Fabric version; give {}, or an image tag that starts with one of them, such as {}",
        Release::ALL.map(Release::line).join(", "),
        Release::NEWEST.tested_version()
    )]
    Fabric {
        /// The given value.
        value: String,
    },
    /// The topology is invalid.
    #[error("--topology {value}:{reason}")]
    Topology {
        /// The given value.
        value: String,
        /// The mistakes, one per line.
        reason: String,
    },
    /// A CouchDB URL is invalid. It is not shown, because it contains a password.
    #[error("--couchdb (number {number}): {source}")]
    CouchDb {
        /// Its position, from 1.
        number: usize,
        /// The reason.
        source: CouchDbUrlError,
    },
    /// The number of CouchDB URLs differs from that of the peers.
    #[error(
        "--couchdb: URLs given: {given}, peers of the topology: {} ({}); a CouchDB serves one peer only, so give one for \
         each, in this order",
        peers.len(),
        peers.join(", ")
    )]
    CouchDbCount {
        /// The number of URLs.
        given: usize,
        /// The peers.
        peers: Vec<String>,
    },
    /// The same CouchDB for two peers.
    #[error(
        "--couchdb {couchdb} is given twice; each peer needs its own CouchDB, because both would write to the same databases"
    )]
    CouchDbTwice {
        /// The CouchDB.
        couchdb: CouchDb,
    },
    /// A program is missing or not executable.
    #[error("{option} {}: {reason}", path.display())]
    Program {
        /// The option's name.
        option: &'static str,
        /// The given value.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The logging specification is invalid.
    #[error("{origin}: {source}")]
    Logging {
        /// The option, or the variable.
        origin: &'static str,
        /// The reason.
        source: LoggingSpecError,
    },
    /// The external builder is not found.
    #[error(
        "--builder: no ccaas-builder program: give its path, set the variable CCAAS_BUILDER, or put it on PATH; `cargo \
         xtask dist` in the harness's repository builds it"
    )]
    NoBuilder,
    /// No chaincode was given, and this program contains none.
    #[error("--chaincode: missing; give a chaincode file, a server program, or the address of a server")]
    NoChaincode,
    /// The directory of Fabric's programs is invalid.
    #[error("--fabric-bin {}: {reason}", path.display())]
    FabricBin {
        /// The given value.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// An option of a cluster is invalid.
    #[error("{option} {value}: {reason}")]
    Cluster {
        /// The option's name.
        option: &'static str,
        /// The given value.
        value: String,
        /// The reason.
        reason: String,
    },
    /// A name that Fabric rejects.
    #[error("{option}: {invalid}")]
    Name {
        /// The option's name.
        option: &'static str,
        /// The name and the rule.
        invalid: InvalidName,
    },
    /// The cases are invalid.
    #[error("--cases: {}", listed(.0))]
    Cases(#[source] CaseFileError),
    /// The definition of the chaincode is invalid.
    #[error("{}", error_text(.0))]
    Definition(#[source] CaseFileError),
    /// The chaincode file is invalid.
    #[error("--chaincode: {}", listed(.0))]
    ChaincodeFile(#[source] CaseFileError),
    /// The chaincode server cannot be used.
    #[error("{origin}: {reason}")]
    Server {
        /// The place of its specification.
        origin: String,
        /// The reason.
        reason: String,
    },
}

crate::console::debug_as_text!(OptionError);

/// The lines of an error, without the rest of values that are too long.
fn lines(error: &str) -> Vec<String> {
    error.lines().map(|line| cut(line, LONGEST_LINE)).collect()
}

/// The most characters of a line: more than the names of all nodes of a network that fits a machine.
const LONGEST_LINE: usize = 2000;

/// Several mistakes begin on a line of their own.
fn listed(error: &CaseFileError) -> String {
    let text = error_text(error);
    if text.contains('\n') { format!("\n{text}") } else { text }
}

/// All mistakes on the command line, one per line.
#[derive(thiserror::Error)]
#[error("{}", .0.iter().flat_map(|error| lines(&error.to_string())).collect::<Vec<_>>().join("\n"))]
pub struct OptionErrors(pub Vec<OptionError>);

crate::console::debug_as_text!(OptionErrors);

impl NetworkPlan {
    /// Resolves and validates the options of a network. `chaincode` is its definition; that of a chaincode file
    /// takes precedence.
    ///
    /// # Errors
    ///
    /// All mistakes, each with its option's name.
    pub fn resolve(
        options: &NetworkOptions,
        topology: Option<Topology>,
        chaincode: ChaincodeSection,
    ) -> Result<Self, OptionErrors> {
        let file = resolve_chaincode(options, &CaseFile::of_definition(chaincode));
        Self::resolve_with(options, topology, file, |_, _| Ok(())).map(|(plan, _)| plan)
    }

    /// The names of the chaincode servers, which are those of the definitions.
    pub(crate) fn server_names(&self) -> Vec<String> {
        self.chaincode.definitions().into_iter().map(|definition| definition.name).collect()
    }

    /// As `resolve`, with the chaincode file, which also has cases, and the check of the cases.
    fn resolve_with(
        options: &NetworkOptions,
        topology: Option<Topology>,
        file: Result<CaseFile, OptionError>,
        check: impl FnOnce(&CaseFile, Scope<'_>) -> Result<(), OptionError>,
    ) -> Result<(Self, CaseFile), OptionErrors> {
        let mut mistakes = Vec::new();
        let mut keep = |mistake| mistakes.push(mistake);

        let fabric = resolve_fabric(&options.fabric).map_err(&mut keep).ok();
        let _ = check_fabric_bin(options).map_err(&mut keep);
        let cluster = resolve_cluster(options).map_err(|found| found.into_iter().for_each(&mut keep)).ok();
        let topology_name = if topology.is_some() { "a value".to_owned() } else { options.topology.clone() };
        let topology = topology.map_or_else(|| resolve_topology(&options.topology), check_topology);
        let topology = topology.map_err(&mut keep).ok();
        let couchdb = resolve_couchdb(&options.couchdb, topology.as_ref())
            .map_err(|found| found.into_iter().for_each(&mut keep))
            .ok();
        let logging = resolve_logging(options).map_err(&mut keep).ok();
        let builder = resolve_builder(options).map_err(&mut keep).ok();
        let is_own_builder = options.builder.is_none() && builder == options.own_program;
        let file = file.map_err(&mut keep).ok();
        if let Some(server) = file.as_ref().and_then(|file| file.server.as_ref()) {
            let _ = check_image(server, options).map_err(&mut keep);
            let _ = check_reach(server, options).map_err(&mut keep);
        }
        if let (Some(file), Some(topology)) = (&file, &topology) {
            let scope = Scope { topology, chaincode: &file.chaincode, couchdb: !options.couchdb.is_empty() };
            let in_file = chaincode_file(options).is_some();
            let invalid = if in_file { OptionError::ChaincodeFile } else { OptionError::Definition };
            let _ = file.check_definition(scope).map_err(invalid).map_err(&mut keep);
            let _ = check(file, scope).map_err(&mut keep);
        }
        if let (Some(Some(fabric)), Some(topology)) = (&fabric, &topology)
            && topology.ordering.consensus == Consensus::Bft
            && !fabric.release.has_bft()
        {
            keep(OptionError::Topology {
                value: options.topology.clone(),
                reason: format!(" BFT ordering needs Fabric 3, but --fabric is {}", fabric.tag),
            });
        }

        match (fabric, cluster, topology, couchdb, logging, builder, file) {
            (
                Some(fabric),
                Some(cluster),
                Some(topology),
                Some(couchdb),
                Some(logging),
                Some(builder),
                Some(mut file),
            ) if mistakes.is_empty() => {
                let plan = Self {
                    runtime: options.runtime,
                    fabric,
                    fabric_bin: options.fabric.fabric_bin.clone(),
                    cluster,
                    topology,
                    topology_name,
                    couchdb,
                    tls: options.tls.or(file.tls).unwrap_or_default(),
                    timeout: Duration::from_secs(options.timeout),
                    seed: options.seed,
                    logging,
                    builder,
                    uses_own_program: is_own_builder || options.chaincode.is_none(),
                    server: file.server.take().unwrap_or_default(),
                    chaincode: std::mem::take(&mut file.chaincode),
                    tap: options.verbose >= MESSAGES_OF_FAILURES,
                };
                Ok((plan, file))
            }
            _ => Err(OptionErrors(mistakes)),
        }
    }
}

impl Plan {
    /// Resolves and validates the options of `e2e`.
    ///
    /// # Errors
    ///
    /// All mistakes, each with its option's name.
    pub(crate) fn resolve(options: &E2eOptions) -> Result<Self, OptionErrors> {
        let own = chaincode_file(&options.network);
        let mut mistakes = Vec::new();
        let cases = match &options.cases {
            Some(path) => CaseFile::read(path).map(Some),
            None if own.is_some() => Ok(None),
            None => CaseFile::asset_transfer().map(Some),
        };
        let cases = cases.and_then(|cases| {
            if let (Some(cases), Some(own)) = (&cases, own) {
                cases.check_nothing_else(own)?;
            }
            Ok(cases)
        });
        let cases = cases.map_err(|error| mistakes.push(OptionError::Cases(error)));
        let definition = cases.as_ref().ok().and_then(Option::as_ref).cloned().unwrap_or_default();
        let check = |file: &CaseFile, scope: Scope<'_>| match &cases {
            Ok(Some(cases)) => cases.check_cases(scope).map_err(OptionError::Cases),
            Ok(None) => file.check_cases(scope).map_err(OptionError::ChaincodeFile),
            Err(()) => Ok(()),
        };
        let network =
            NetworkPlan::resolve_with(&options.network, None, resolve_chaincode(&options.network, &definition), check);
        let (network, file) = match network {
            Ok(resolved) if mistakes.is_empty() => resolved,
            Ok(_) => return Err(OptionErrors(mistakes)),
            Err(found) => return Err(OptionErrors(found.0.into_iter().chain(mistakes).collect())),
        };
        let cases = cases.ok().flatten().unwrap_or(file);
        Ok(Self {
            network,
            cases: cases.cases,
            keep: options.keep,
            evidence: options.evidence.clone(),
            repeat: options.repeat,
            verbosity: options.network.verbose,
            quiet: options.quiet,
        })
    }
}

/// Resolves `--fabric`.
///
/// # Errors
///
/// The version is not supported.
pub(crate) fn resolve_fabric(options: &FabricOptions) -> Result<Option<FabricTag>, OptionError> {
    let Some(value) = &options.fabric else { return Ok(None) };
    let release = value.parse::<Release>().map_err(|_| OptionError::Fabric { value: value.clone() })?;
    Ok(Some(FabricTag { tag: value.clone(), release }))
}

/// Validates a topology that a user of the library made.
fn check_topology(topology: Topology) -> Result<Topology, OptionError> {
    let mistake = |error| OptionError::Topology { value: "a value".to_owned(), reason: format!("\n{error}") };
    topology.validate().map_err(mistake).map(|()| topology)
}

pub(crate) fn resolve_topology(value: &str) -> Result<Topology, OptionError> {
    if let Some(preset) = Topology::preset(value) {
        return Ok(preset);
    }
    let mistake = |reason: String| OptionError::Topology { value: value.to_owned(), reason };
    let text = read_text(Path::new(value))
        .map_err(|error| mistake(format!(" neither a preset (solo, duo, bft) nor a file that can be read: {error}")))?;
    Topology::from_yaml(&text).map_err(|error| mistake(format!("\n{error}")))
}

/// One CouchDB for each peer, or none. They are not counted if the topology is invalid.
fn resolve_couchdb(urls: &[Secret], topology: Option<&Topology>) -> Result<Vec<CouchDb>, Vec<OptionError>> {
    let (mut found, mut mistakes) = (Vec::<CouchDb>::new(), Vec::new());
    for (number, url) in (1..).zip(urls) {
        match url.reveal().parse::<CouchDb>() {
            Ok(couchdb) if found.iter().any(|other| other.address() == couchdb.address()) => {
                mistakes.push(OptionError::CouchDbTwice { couchdb });
            }
            Ok(couchdb) => found.push(couchdb),
            Err(source) => mistakes.push(OptionError::CouchDb { number, source }),
        }
    }
    if let Some(topology) = topology {
        let peers = topology.nodes().filter(|node| node.kind == NodeKind::Peer);
        let peers: Vec<String> = peers.map(|node| node.name).collect();
        if !urls.is_empty() && urls.len() != peers.len() {
            mistakes.push(OptionError::CouchDbCount { given: urls.len(), peers });
        }
    }
    if mistakes.is_empty() { Ok(found) } else { Err(mistakes) }
}

fn check_program(option: &'static str, path: &Path) -> Result<(), OptionError> {
    program::check(path).map_err(|reason| OptionError::Program {
        option,
        path: path.to_owned(),
        reason: reason.to_string(),
    })
}

/// The logging specification: that of the option, or of the variable.
fn resolve_logging(options: &NetworkOptions) -> Result<Option<LoggingSpec>, OptionError> {
    let variable = || env::var_os(LoggingSpec::VARIABLE).filter(|value| !value.is_empty());
    let (origin, text) = match &options.logging_spec {
        Some(text) => ("--logging-spec", text.clone()),
        None => match variable() {
            Some(value) => (LoggingSpec::VARIABLE, value.to_string_lossy().into_owned()),
            None => return Ok(None),
        },
    };
    text.parse().map(Some).map_err(|source| OptionError::Logging { origin, source })
}

/// The command of the program `fabric-harness` that serves the sample chaincode.
pub(crate) const SAMPLE_COMMAND: &str = "sample-chaincode";

/// Variable with the path of the external builder.
const BUILDER_VARIABLE: &str = "CCAAS_BUILDER";

/// Name of the external builder's program.
const BUILDER: &str = "ccaas-builder";

/// The external builder that `CCAAS_BUILDER` names, or that is on PATH.
pub(crate) fn builder_on_this_machine() -> Option<PathBuf> {
    let on_path = || program::find(BUILDER, &program::directories("PATH"), Path::is_file);
    let named = env::var_os(BUILDER_VARIABLE).filter(|value| !value.is_empty());
    named.map(PathBuf::from).or_else(on_path)
}

/// The external builder: that of the option, that of this machine, or this program.
fn resolve_builder(options: &NetworkOptions) -> Result<PathBuf, OptionError> {
    let given = options.builder.clone().or_else(builder_on_this_machine);
    let path = given.or_else(|| options.own_program.clone()).ok_or(OptionError::NoBuilder)?;
    check_program("--builder", &path).map(|()| path)
}

/// The chaincode file, if the chaincode is one.
fn chaincode_file(options: &NetworkOptions) -> Option<&Path> {
    options.chaincode.as_deref().filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
}

/// The chaincode of `--chaincode`, or the sample. For a program or an address, its definition is that of `definition`.
fn resolve_chaincode(options: &NetworkOptions, definition: &CaseFile) -> Result<CaseFile, OptionError> {
    const OPTION: &str = "--chaincode";
    if let Some(path) = chaincode_file(options) {
        return CaseFile::read_with_server(path).map_err(OptionError::ChaincodeFile);
    }
    let server = match (&options.chaincode, &options.own_program) {
        (Some(path), _) => {
            let address = path.to_str().filter(|_| !path.exists()).and_then(|text| text.parse::<Address>().ok());
            let source = match address {
                Some(address) => ServerSource::Address { address, directory: None },
                None => check_program(OPTION, path).map(|()| ServerSource::Program(path.clone()))?,
            };
            Server::new(source, &format!("{OPTION} {}", path.display()))
        }
        (None, Some(program)) => Server {
            arguments: vec![Template::text(SAMPLE_COMMAND)],
            ..Server::new(ServerSource::Program(program.clone()), "the sample chaincode")
        },
        (None, None) => return Err(OptionError::NoChaincode),
    };
    let checked = definition.chaincode.check_server(&server);
    checked.map_err(|reason| OptionError::Server { origin: server.origin.clone(), reason: reason.to_owned() })?;
    Ok(definition.served_by(server))
}

/// Checks the directory of Fabric's programs, which not every runtime uses.
fn check_fabric_bin(options: &NetworkOptions) -> Result<(), OptionError> {
    let Some(path) = &options.fabric.fabric_bin else { return Ok(()) };
    let reason = match options.runtime {
        RuntimeChoice::Named(runtime) if runtime.capabilities.takes_images => {
            format!("--runtime {} uses images, not programs; remove one of the two options", runtime.name)
        }
        _ if !path.is_dir() => "not a directory".to_owned(),
        _ => return Ok(()),
    };
    Err(OptionError::FabricBin { path: path.clone(), reason })
}

/// The options of a cluster, which only a runtime in a cluster uses.
fn resolve_cluster(options: &NetworkOptions) -> Result<ClusterOptions, Vec<OptionError>> {
    let own = &options.kubernetes;
    let given = [
        ("--kube-context", &own.kube_context),
        ("--kube-namespace", &own.kube_namespace),
        ("--builder-image", &own.builder_image),
    ];
    let in_cluster = options.runtime.has(|capabilities| capabilities.in_cluster);
    let mistakes = given.into_iter().filter_map(|(option, value)| {
        let value = value.clone()?;
        let reason = if !in_cluster {
            let runtimes = names_with(|capabilities| capabilities.in_cluster);
            format!("only --runtime {runtimes} uses it; add that option, or remove this one")
        } else if option == "--kube-namespace" && !is_dns_label(&value) {
            "not a valid namespace name: up to 63 of a-z, 0-9 and -, not starting or ending with -".to_owned()
        } else if value.is_empty() {
            "is empty".to_owned()
        } else {
            return None;
        };
        Some(OptionError::Cluster { option, value, reason })
    });
    let mistakes: Vec<OptionError> = mistakes.collect();
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    Ok(ClusterOptions {
        context: own.kube_context.clone(),
        namespace: own.kube_namespace.clone(),
        builder_image: own.builder_image.clone(),
    })
}

/// Peers in a cluster do not reach what runs on this machine.
fn check_reach(server: &Server, options: &NetworkOptions) -> Result<(), OptionError> {
    let in_cluster = options.runtime.has(|capabilities| capabilities.in_cluster);
    match not_in_cluster(&server.source).filter(|_| in_cluster) {
        Some(reason) => {
            let reason = format!("the chaincode server is {reason}");
            Err(OptionError::Server { origin: server.origin.clone(), reason })
        }
        None => Ok(()),
    }
}

/// An image needs containers.
fn check_image(server: &Server, options: &NetworkOptions) -> Result<(), OptionError> {
    let ServerSource::Image(image) = &server.source else { return Ok(()) };
    let instead = match options.runtime {
        RuntimeChoice::Named(runtime) if runtime.capabilities.takes_images => return Ok(()),
        RuntimeChoice::Named(runtime) => format!("--runtime {}", runtime.name),
        RuntimeChoice::Auto if options.fabric.fabric_bin.is_some() => "--fabric-bin".to_owned(),
        RuntimeChoice::Auto => return Ok(()),
    };
    let runtimes = names_with(|capabilities| capabilities.takes_images);
    let reason = format!(
        "the chaincode server is the image {image}, which only --runtime {runtimes} run; leave {instead} out, or give a \
         `program` or `command`"
    );
    Err(OptionError::Server { origin: server.origin.clone(), reason })
}
