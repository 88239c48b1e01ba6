//! The options that several commands have, and those of `e2e`. What they mean is found out by
//! [`plan`](crate::plan).

#[cfg(feature = "cli")]
mod runtime_values;

use crate::runtime::registry::RuntimeChoice;
use crate::server::TlsMode;
use fabric_network::couchdb::Secret;
use std::path::PathBuf;

const DEFAULT_TOPOLOGY: &str = "solo";
const DEFAULT_TIMEOUT: u64 = 60;

/// From how many `-v` on the messages of a failed case are shown.
pub(crate) const MESSAGES_OF_FAILURES: u8 = 3;

/// From how many `-v` on the messages of every case are shown.
pub(crate) const MESSAGES_OF_ALL: u8 = 4;

/// Which Fabric, and where it is found.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct FabricOptions {
    /// Release line of Fabric (2.5, 3.1) or image tag. Default: that of the binaries, or 3.1.
    #[cfg_attr(feature = "cli", arg(long, value_name = "VERSION"))]
    pub fabric: Option<String>,
    /// Directory of Fabric's `peer` and `orderer`, or with a `bin` of them. Default: PATH.
    #[cfg_attr(feature = "cli", arg(long, value_name = "DIR"))]
    pub fabric_bin: Option<PathBuf>,
}

/// Where, in a Kubernetes cluster, a network runs.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct KubernetesArguments {
    /// With --runtime kubernetes: context of the kubeconfig. Default: its current one.
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", hide_short_help = true))]
    pub kube_context: Option<String>,
    /// With --runtime kubernetes: namespace, made by the run and removed at its end; one that exists is
    /// refused. Default: named after the run.
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", hide_short_help = true))]
    pub kube_namespace: Option<String>,
    /// With --runtime kubernetes: image of the external builder that peers take, as an operator's do,
    /// instead of the program of --builder, which is uploaded otherwise.
    #[cfg_attr(feature = "cli", arg(long, value_name = "IMAGE", hide_short_help = true))]
    pub builder_image: Option<String>,
}

/// Which network runs, with which chaincode.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct NetworkOptions {
    /// What runs peers and orderers.
    #[cfg_attr(feature = "cli", arg(long, value_enum, default_value_t))]
    pub runtime: RuntimeChoice,
    /// Which Fabric.
    #[cfg_attr(feature = "cli", command(flatten))]
    pub fabric: FabricOptions,
    /// With --runtime kubernetes: where.
    #[cfg_attr(feature = "cli", command(flatten))]
    pub kubernetes: KubernetesArguments,
    /// Network to run: a preset, or a YAML file.
    ///
    /// The presets: solo (1 organization, 1 peer, 1 orderer), duo (2 organizations with 2 peers each,
    /// 3 raft orderers), bft (solo with 4 BFT orderers; Fabric 3).
    #[cfg_attr(feature = "cli", arg(long, value_name = "solo|duo|bft|FILE", default_value = DEFAULT_TOPOLOGY))]
    pub topology: String,
    /// CouchDB of a peer, http://USER:PASSWORD@HOST:PORT; once for each peer. Default: none.
    ///
    /// It holds the peer's world state; the password is an administrator's, and the order that of the
    /// topology's peers. Without one, peers keep their world state in their own directories.
    #[cfg_attr(feature = "cli", arg(long, value_name = "URL"))]
    pub couchdb: Vec<Secret>,
    /// TLS between the peers and the chaincode server. Everything else always uses TLS. Default: what
    /// the chaincode file says, or mtls.
    #[cfg_attr(feature = "cli", arg(long, value_enum))]
    pub tls: Option<TlsMode>,
    /// Longest wait for any one thing, in seconds.
    #[cfg_attr(feature = "cli", arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT, value_parser = clap::value_parser!(u64).range(1..=3600)))]
    pub timeout: u64,
    /// With --runtime embedded: what is drawn by lot or read from the clock is the same in each run.
    ///
    /// These are keys, nonces, signatures, times and ports, so that the same transactions, one after
    /// another, give the same blocks. Ports that another program has are replaced, and change the blocks.
    #[cfg_attr(feature = "cli", arg(long, value_name = "N"))]
    pub seed: Option<u64>,
    /// The ccaas-builder program. Default: the variable `CCAAS_BUILDER`, or PATH.
    ///
    /// With docker and kubernetes it must be linked statically. `cargo xtask` builds and gives it.
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    pub builder: Option<PathBuf>,
    /// The chaincode: a TOML file, its server's program, or the address of one that you start.
    ///
    /// The file says how the server is started, and the cases. A program is linked statically. An address
    /// is for a debugger. `cargo xtask` builds and gives the sample.
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE.toml|PROGRAM|HOST:PORT"))]
    pub chaincode: PathBuf,
    /// Say more: -v adds the nodes' logs to a failure, -vv commands and configuration, -vvv the messages
    /// between client, peers and chaincode of each failed case, -vvvv of every case.
    #[cfg_attr(feature = "cli", arg(short, long, action = clap::ArgAction::Count))]
    pub verbose: u8,
}

impl NetworkOptions {
    /// The defaults, with this chaincode.
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
            builder: None,
            chaincode,
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
    /// Cases to check, a TOML file. Default: those of the chaincode file; of a program or an address,
    /// those of the asset-transfer chaincode.
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    pub cases: Option<PathBuf>,
    /// When to keep the evidence: logs, configuration, package, connection.json. The report
    /// (report.html, report.json, junit.xml) is written unless this is never.
    #[cfg_attr(feature = "cli", arg(long, value_enum, default_value_t))]
    pub keep: Keep,
    /// Directory that receives the evidence, in a directory named after the run.
    #[cfg_attr(feature = "cli", arg(long, value_name = "DIR", default_value = "target/e2e"))]
    pub evidence: PathBuf,
    /// Run the whole job N times and print the median of each step's time.
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000)))]
    pub repeat: u32,
    /// Say only what failed, and the last line.
    #[cfg_attr(feature = "cli", arg(short, long, conflicts_with = "verbose"))]
    pub quiet: bool,
}

/// When the evidence of a run is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Keep {
    /// Never.
    Never,
    /// When a case failed or the run could not be finished.
    #[default]
    OnFailure,
    /// Always.
    Always,
}
