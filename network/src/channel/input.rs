//! The input of a genesis block: plain data, with certificates as PEM text.
//!
//! It describes the members of the channel and the addresses of nodes. Policies and capabilities are derived.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use crate::release::Release;
use crate::topology::{Batch, Rule};

/// A channel to be created.
#[derive(Clone, Debug)]
pub struct ChannelInput {
    /// Its name, such as `mychannel`.
    pub name: String,
    /// The time in the block, in whole seconds. Fabric does not check it.
    pub created: SystemTime,
    /// The oldest release line that runs it. [`Consensus::Bft`] needs Fabric 3.
    pub release: Release,
    /// The organizations with peers. At least one.
    pub organizations: Vec<OrganizationInput>,
    /// The ordering organization and its settings.
    pub ordering: OrderingInput,
    /// How many organizations must endorse a transaction and approve a chaincode definition, unless the
    /// chaincode has its own policy: policies `Endorsement` and `LifecycleEndorsement`.
    pub endorsement: Rule,
    /// The policy of each resource of a peer. Other resources have the defaults in Fabric's code, which
    /// [`default_acls`] lists.
    pub acls: BTreeMap<String, String>,
}

/// An organization with peers.
#[derive(Clone, Debug)]
pub struct OrganizationInput {
    /// The name of its group, such as `Org1`.
    pub name: String,
    /// Its membership service provider.
    pub msp: MspInput,
    /// The peers through which other organizations find its peers. May be empty.
    pub anchor_peers: Vec<HostPort>,
}

/// The ordering organization.
#[derive(Clone, Debug)]
pub struct OrderingInput {
    /// The name of its group, such as `Orderer`.
    pub name: String,
    /// Its membership service provider.
    pub msp: MspInput,
    /// Where peers and clients reach its orderers. At least one.
    pub endpoints: Vec<HostPort>,
    /// How the consenters agree.
    pub consensus: Consensus,
    /// The consenters, in the order of their numbers. At least one.
    pub consenters: Vec<ConsenterInput>,
    /// How transactions are grouped into blocks.
    pub batch: Batch,
}

/// How the consenters agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consensus {
    /// Raft, with the defaults of `configtxgen`: a heartbeat each tick, an election after 10 ticks without
    /// one, 5 blocks in flight, a snapshot each 16 MB. The default tick of `configtxgen` is 500 ms.
    Etcdraft {
        /// The interval of the Raft clock.
        tick: Duration,
    },
    /// `SmartBFT`, with the options of Fabric's sample profiles. The batch sets the number of requests in a
    /// proposal, their bytes, and how long the leader waits for them.
    Bft,
}

/// A consenter of the channel.
#[derive(Clone, Debug)]
pub struct ConsenterInput {
    /// Where the other consenters reach it.
    pub address: HostPort,
    /// Its certificate as a client of another consenter.
    pub client_tls_certificate_pem: String,
    /// Its certificate as a server.
    pub server_tls_certificate_pem: String,
    /// Its signing certificate, which verifies BFT blocks. Raft does not use it.
    pub identity_certificate_pem: String,
}

/// A membership service provider with `NodeOUs`: the organizational unit of a certificate, `client`, `peer`,
/// `admin` or `orderer`, is its role.
#[derive(Clone, Debug)]
pub struct MspInput {
    /// Its ID, such as `Org1MSP`.
    pub msp_id: String,
    /// The root certificate that issues its identities.
    pub ca_certificate_pem: String,
    /// The root certificate that issues its TLS certificates.
    pub tls_ca_certificate_pem: String,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A DNS name or an IP address; an IPv6 address without brackets.
    pub host: String,
    /// The port, not 0.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// Fabric's default access control lists, as in `sampleconfig/configtx.yaml`: readers of the channel may use
/// the resources that read, writers those that write.
pub fn default_acls() -> BTreeMap<String, String> {
    const READERS: &str = "/Channel/Application/Readers";
    const WRITERS: &str = "/Channel/Application/Writers";
    [
        ("_lifecycle/CheckCommitReadiness", WRITERS),
        ("_lifecycle/CommitChaincodeDefinition", WRITERS),
        ("_lifecycle/QueryChaincodeDefinition", WRITERS),
        ("_lifecycle/QueryChaincodeDefinitions", WRITERS),
        ("cscc/GetChannelConfig", READERS),
        ("cscc/GetConfigBlock", READERS),
        ("event/Block", READERS),
        ("event/FilteredBlock", READERS),
        ("lscc/ChaincodeExists", READERS),
        ("lscc/GetChaincodeData", READERS),
        ("lscc/GetDeploymentSpec", READERS),
        ("lscc/GetInstantiatedChaincodes", READERS),
        ("peer/ChaincodeToChaincode", WRITERS),
        ("peer/Propose", WRITERS),
        ("qscc/GetBlockByHash", READERS),
        ("qscc/GetBlockByNumber", READERS),
        ("qscc/GetBlockByTxID", READERS),
        ("qscc/GetChainInfo", READERS),
        ("qscc/GetTransactionByID", READERS),
    ]
    .into_iter()
    .map(|(resource, policy)| (resource.to_owned(), policy.to_owned()))
    .collect()
}
