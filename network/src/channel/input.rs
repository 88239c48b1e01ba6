//! What a genesis block is made from: plain data, with certificates as PEM text.
//!
//! It says what is in the channel and where nodes are. Policies and capabilities follow from it.

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
    /// The time that the block carries, cut to whole seconds. Fabric checks it against nothing.
    pub created: SystemTime,
    /// The oldest release line that runs it. [`Consensus::Bft`] needs Fabric 3.
    pub release: Release,
    /// The organizations with peers. At least one.
    pub organizations: Vec<OrganizationInput>,
    /// The organization that orders, and how it does.
    pub ordering: OrderingInput,
    /// How many organizations endorse a transaction and approve a chaincode definition, unless
    /// the chaincode has a policy of its own: policies `Endorsement` and `LifecycleEndorsement`.
    pub endorsement: Rule,
    /// Which policy guards which resource of a peer. Resources that are not named, or none at
    /// all, are guarded by the defaults in Fabric's code; [`default_acls`] spells them out.
    pub acls: BTreeMap<String, String>,
}

/// An organization with peers.
#[derive(Clone, Debug)]
pub struct OrganizationInput {
    /// The name of its group, such as `Org1`.
    pub name: String,
    /// Its membership service provider.
    pub msp: MspInput,
    /// Peers by which peers of other organizations find its peers. May be empty.
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
    /// The orderers that agree, in the order of their numbers. At least one.
    pub consenters: Vec<ConsenterInput>,
    /// How transactions are cut into blocks.
    pub batch: Batch,
}

/// How the consenters agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consensus {
    /// Raft. Election after 10 ticks without a heartbeat, which comes each tick; 5 blocks in
    /// flight; a snapshot each 16 MB: the defaults of `configtxgen`, whose tick is 500 ms.
    Etcdraft {
        /// The Raft clock's interval.
        tick: Duration,
    },
    /// `SmartBFT`, with the options of Fabric's sample profiles. The batch sets the requests in
    /// a proposal, their bytes and how long the leader waits for them.
    Bft,
}

/// A consenter of the channel.
#[derive(Clone, Debug)]
pub struct ConsenterInput {
    /// Where the other consenters reach it.
    pub address: HostPort,
    /// The certificate it shows when it dials another consenter.
    pub client_tls_certificate_pem: String,
    /// The certificate it shows when it is dialed.
    pub server_tls_certificate_pem: String,
    /// Its signing certificate, by which BFT blocks are verified. Raft does not use it.
    pub identity_certificate_pem: String,
}

/// A membership service provider with `NodeOUs`: the organizational units `client`, `peer`,
/// `admin` and `orderer` of certificates issued by its CA are roles.
#[derive(Clone, Debug)]
pub struct MspInput {
    /// Its ID, such as `Org1MSP`.
    pub msp_id: String,
    /// The root certificate of the CA of its identities.
    pub ca_certificate_pem: String,
    /// The root certificate of the CA of its TLS certificates.
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

/// Fabric's defaults, spelled out as in `sampleconfig/configtx.yaml`: who reads or writes on the
/// channel may use the resources that read or write.
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
