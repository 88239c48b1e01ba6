//! The options of `e2e`, and those that several commands share. [`plan`](crate::plan) validates them.

#[cfg(feature = "cli")]
mod runtime_values;

use crate::runtime::registry::RuntimeChoice;
use crate::server::TlsMode;
use fabric_network::couchdb::Secret;
use std::path::PathBuf;

const DEFAULT_TOPOLOGY: &str = "solo";
const DEFAULT_TIMEOUT: u64 = 60;

/// The number of `-v` that shows the messages of failed cases.
pub(crate) const MESSAGES_OF_FAILURES: u8 = 3;

/// The number of `-v` that shows the messages of all cases.
pub(crate) const MESSAGES_OF_ALL: u8 = 4;

/// The reference of a container image, as the value of an option.
#[cfg(feature = "cli")]
pub(crate) fn image(text: &str) -> Result<String, String> {
    fabric_primitives::names::image(text).map_err(|invalid| invalid.to_string()).map(|()| text.to_owned())
}

/// The Fabric version and binaries.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct FabricOptions {
    /// Fabric release (2.5, 3.1) or image tag. Default: that of the binaries, or 3.1.
    #[cfg_attr(feature = "cli", arg(long, value_name = "VERSION"))]
    pub fabric: Option<String>,
    /// Directory with Fabric's `peer` and `orderer`, or with a `bin` directory of them. Default: PATH.
    #[cfg_attr(feature = "cli", arg(long, value_name = "DIR"))]
    pub fabric_bin: Option<PathBuf>,
}

/// The options of the kubernetes runtime.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct KubernetesArguments {
    /// With --runtime kubernetes: context of the kubeconfig. Default: the current context.
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", hide_short_help = true))]
    pub kube_context: Option<String>,
    /// With --runtime kubernetes: namespace, which the run creates and removes. It must not exist. Default: named
    /// after the run.
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", hide_short_help = true))]
    pub kube_namespace: Option<String>,
    /// With --runtime kubernetes: image with the external builder. Default: the program of --builder is
    /// uploaded.
    #[cfg_attr(feature = "cli", arg(long, value_name = "IMAGE", hide_short_help = true, value_parser = image))]
    pub builder_image: Option<String>,
}

/// The network and its chaincode.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct NetworkOptions {
    /// Runtime of peers and orderers.
    #[cfg_attr(feature = "cli", arg(long, value_enum, default_value_t))]
    pub runtime: RuntimeChoice,
    /// The Fabric version.
    #[cfg_attr(feature = "cli", command(flatten))]
    pub fabric: FabricOptions,
    /// The cluster.
    #[cfg_attr(feature = "cli", command(flatten))]
    pub kubernetes: KubernetesArguments,
    /// Topology: a preset or a YAML file.
    ///
    /// Presets: solo (1 organization, 1 peer, 1 orderer), duo (2 organizations with 2 peers each,
    /// 3 raft orderers), bft (solo with 4 BFT orderers; Fabric 3).
    #[cfg_attr(feature = "cli", arg(long, value_name = "solo|duo|bft|FILE", default_value = DEFAULT_TOPOLOGY))]
    pub topology: String,
    /// CouchDB of a peer, http://USER:PASSWORD@HOST:PORT; once for each peer. Default: none.
    ///
    /// It stores the peer's world state. The user must be an administrator. The order is that of the topology's
    /// peers. Without CouchDB, peers store their world state in LevelDB.
    #[cfg_attr(feature = "cli", arg(long, value_name = "URL"))]
    pub couchdb: Vec<Secret>,
    /// TLS between the peers and the chaincode server. All other connections always use TLS. Default: that of the
    /// chaincode file, or mtls.
    #[cfg_attr(feature = "cli", arg(long, value_enum))]
    pub tls: Option<TlsMode>,
    /// Timeout of each wait, in seconds.
    #[cfg_attr(feature = "cli", arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT, value_parser = clap::value_parser!(u64).range(1..=3600)))]
    pub timeout: u64,
    /// With --runtime embedded: seed for keys, nonces, signatures, times and ports.
    ///
    /// The same sequence of transactions gives the same blocks in each run. A port that another program uses is
    /// replaced, which changes the blocks.
    #[cfg_attr(feature = "cli", arg(long, value_name = "N"))]
    pub seed: Option<u64>,
    /// What Fabric's nodes log, such as info:grpc=warn. Default: the variable `FABRIC_LOGGING_SPEC`, or one that
    /// shows why TLS connections fail.
    ///
    /// Embedded nodes ignore it.
    #[cfg_attr(feature = "cli", arg(long, value_name = "SPEC", hide_short_help = true))]
    pub logging_spec: Option<String>,
    /// The ccaas-builder program. Default: the variable `CCAAS_BUILDER`, PATH, or this program.
    ///
    /// It must be statically linked for docker and kubernetes.
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    pub builder: Option<PathBuf>,
    /// The chaincode: a TOML file, a server program, or the address of a server that you start. Default: the
    /// asset-transfer sample, which this program contains.
    ///
    /// The file defines how the server is started, and the cases. A program must be statically linked for docker and
    /// kubernetes. An address is useful with a debugger.
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE.toml|PROGRAM|HOST:PORT"))]
    pub chaincode: Option<PathBuf>,
    /// The program `fabric-harness`, if the caller is that: it is also an external builder and the sample chaincode.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub own_program: Option<PathBuf>,
    /// Print more: -v the nodes' logs after a failure, -vv commands and configuration, -vvv the messages between
    /// client, peers and chaincode of failed cases, -vvvv of all cases.
    #[cfg_attr(feature = "cli", arg(short, long, action = clap::ArgAction::Count))]
    pub verbose: u8,
}

impl NetworkOptions {
    /// The default options for a chaincode.
    pub fn new(chaincode: PathBuf) -> Self {
        Self {
            runtime: RuntimeChoice::default(),
            fabric: FabricOptions::default(),
            kubernetes: KubernetesArguments::default(),
            topology: DEFAULT_TOPOLOGY.to_owned(),
            couchdb: Vec::new(),
            tls: None,
            timeout: DEFAULT_TIMEOUT,
            seed: None,
            logging_spec: None,
            builder: None,
            chaincode: Some(chaincode),
            own_program: None,
            verbose: 0,
        }
    }
}

/// The options of `e2e`.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct E2eOptions {
    /// The network.
    #[cfg_attr(feature = "cli", command(flatten))]
    pub network: NetworkOptions,
    /// TOML file with cases. Default: those of the chaincode file; for a program or an address, those of the
    /// asset-transfer chaincode.
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    pub cases: Option<PathBuf>,
    /// When to keep the evidence: logs, configuration, package, connection.json. With never, the report
    /// (report.html, report.json, junit.xml) is not written either.
    #[cfg_attr(feature = "cli", arg(long, value_enum, default_value_t))]
    pub keep: Keep,
    /// Directory for report and evidence. Each run creates a directory in it.
    #[cfg_attr(feature = "cli", arg(long, value_name = "DIR", default_value = "target/e2e"))]
    pub evidence: PathBuf,
    /// Run N times and print the median time of each step.
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000)))]
    pub repeat: u32,
    /// Print only failures and the last line.
    #[cfg_attr(feature = "cli", arg(short, long, conflicts_with = "verbose"))]
    pub quiet: bool,
}

/// When to keep the evidence of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Keep {
    /// Never.
    Never,
    /// If a case failed or the run could not be finished.
    #[default]
    OnFailure,
    /// Always.
    Always,
}
