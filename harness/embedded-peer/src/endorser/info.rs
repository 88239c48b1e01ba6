//! The chaincodes of a channel as this peer can run them, looked up once for each definition.
//!
//! What is remembered is compared with the state by the values that a new definition or approval
//! always replaces, so nothing has to be told when the state changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fabric_protos::common::MspPrincipal;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::protos::collection_policy_config::Payload;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::response::SYSTEM_VERSION;
use crate::config::ChannelConfig;
use crate::discovery::endorsement::Metadata;
use crate::ledger::{Simulation, StateView};
use crate::lifecycle::{self, Definition, NAMESPACE, implicit_collection, implicit_organization};
use crate::peer::{Peer, PeerChannel};
use crate::policy::{Endorsement, n_of_roles};
use crate::system;

/// As many chaincodes are remembered before all are forgotten.
const REMEMBERED: usize = 1_000;

/// A definition, and what this peer's organization made of it.
#[derive(Debug)]
pub(crate) struct Info {
    /// What the channel agreed on.
    pub(crate) definition: Definition,
    /// The package that this peer runs for it, if it is approved and installed.
    pub(crate) package_id: Option<String>,
}

/// What runs under a chaincode's name.
#[derive(Debug)]
pub(crate) enum Runnable {
    /// One of the peer's own.
    System,
    /// A package.
    Package {
        /// By this definition.
        info: Arc<Info>,
        /// The package's ID.
        package_id: String,
    },
}

impl Runnable {
    /// The version that a transaction notes.
    pub(crate) fn version(&self) -> &str {
        match self {
            Self::System => SYSTEM_VERSION,
            Self::Package { info, .. } => &info.definition.version,
        }
    }
}

/// What was looked up on a channel, by chaincode.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Mutex<HashMap<String, Entry>>);

#[derive(Debug)]
struct Entry {
    made_of: Sources,
    info: Arc<Info>,
}

/// The values in the state that an [`Info`] was made of. They are kept, so that their addresses are
/// theirs alone.
#[derive(Clone, Debug)]
struct Sources {
    sequence: Option<Bytes>,
    package: Option<Bytes>,
    config: Option<ChannelConfig>,
}

impl Sources {
    fn are(&self, other: &Self) -> bool {
        let is_same = |one: &Option<Bytes>, other: &Option<Bytes>| match (one, other) {
            (Some(one), Some(other)) => std::ptr::eq(one.as_ptr(), other.as_ptr()) && one.len() == other.len(),
            (None, None) => true,
            _ => false,
        };
        let is_same_config = match (&self.config, &other.config) {
            (Some(one), Some(other)) => one.is_same(other),
            (None, None) => true,
            _ => false,
        };
        is_same(&self.sequence, &other.sequence) && is_same(&self.package, &other.package) && is_same_config
    }
}

fn sequence_key(chaincode: &str) -> String {
    format!("namespaces/fields/{chaincode}/Sequence")
}

/// What a definition means for this peer. `None` when the chaincode is not defined.
pub(crate) fn defined(peer: &Peer, channel: &PeerChannel, chaincode: &str, state: &StateView) -> Option<Arc<Info>> {
    let sequence = state.get(NAMESPACE, &sequence_key(chaincode))?.value.clone();
    let lock = || channel.endorsing.definitions.0.lock().unwrap_or_else(PoisonError::into_inner);
    let known = lock().get(chaincode).map(|entry| (entry.made_of.clone(), Arc::clone(&entry.info)));
    if let Some((sources, info)) = &known {
        let package = package_hash(peer, chaincode, info.definition.sequence, state);
        // A package may have been installed meanwhile.
        let is_whole = info.package_id.is_some() || package.is_none();
        if is_whole && sources.are(&Sources { sequence: Some(sequence.clone()), package, config: None }) {
            return Some(Arc::clone(info));
        }
    }
    let installed = peer.support.packages().list();
    let ids = installed.iter().map(|installed| installed.package_id.as_str());
    let local = lifecycle::local_definition(state, chaincode, &peer.msp_id, ids)?;
    let info = Info { package_id: local.package_id.filter(|_| local.approved), definition: local.definition };
    let package = package_hash(peer, chaincode, info.definition.sequence, state);
    let made_of = Sources { sequence: Some(sequence), package, config: None };
    let is_known = |known: &Arc<Info>| known.definition == info.definition && known.package_id == info.package_id;
    // Whoever remembers something by this value need not look again.
    let known = known.map(|(_, known)| known).filter(is_known);
    Some(remember(channel, chaincode, made_of, known.unwrap_or_else(|| Arc::new(info))))
}

/// The hash of the package's ID as this peer's organization approved it.
fn package_hash(peer: &Peer, chaincode: &str, sequence: i64, state: &StateView) -> Option<Bytes> {
    let key = format!("chaincode-sources/fields/{chaincode}#{sequence}/PackageID");
    let collection = implicit_collection(&peer.msp_id);
    state.private_hash(NAMESPACE, &collection, &Sha256::digest(key)).map(|found| found.value.clone())
}

fn remember(channel: &PeerChannel, chaincode: &str, made_of: Sources, info: Arc<Info>) -> Arc<Info> {
    let mut remembered = channel.endorsing.definitions.0.lock().unwrap_or_else(PoisonError::into_inner);
    if remembered.len() >= REMEMBERED {
        remembered.clear();
    }
    remembered.insert(chaincode.to_owned(), Entry { made_of, info: Arc::clone(&info) });
    info
}

/// As [`defined`] by the newest state; `_lifecycle` itself is defined by the channel's configuration.
pub(crate) fn metadata_of(peer: &Peer, channel: &PeerChannel, chaincode: &str) -> Option<Arc<Info>> {
    if chaincode != NAMESPACE {
        return defined(peer, channel, chaincode, &channel.ledger.state());
    }
    let config = channel.config();
    let made_of = Sources { sequence: None, package: None, config: Some(config.clone()) };
    let remembered = channel.endorsing.definitions.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(entry) = remembered.get(chaincode).filter(|entry| entry.made_of.are(&made_of)) {
        return Some(Arc::clone(&entry.info));
    }
    drop(remembered);
    let validation_parameter = lifecycle::endorsement_policy(&config);
    let definition = Definition { sequence: 1, validation_parameter, ..Definition::default() };
    Some(remember(channel, chaincode, made_of, Arc::new(Info { definition, package_id: None })))
}

/// As [`metadata_of`], if this peer can run the chaincode.
pub(crate) fn runnable(peer: &Peer, channel: &PeerChannel, chaincode: &str) -> Option<Arc<Info>> {
    let info = metadata_of(peer, channel, chaincode)?;
    (chaincode == NAMESPACE || info.package_id.is_some()).then_some(info)
}

/// Every chaincode that this peer can run, `_lifecycle` too.
pub(crate) fn all_runnable(peer: &Peer, channel: &PeerChannel) -> BTreeMap<String, Arc<Info>> {
    let definitions = lifecycle::definitions(&channel.ledger.state());
    let names = definitions.into_iter().map(|(name, _)| name).chain([NAMESPACE.to_owned()]);
    names.filter_map(|name| Some((runnable(peer, channel, &name)?, name))).map(|(info, name)| (name, info)).collect()
}

/// What to run for a transaction. The definition counts as read by it.
///
/// # Errors
///
/// The chaincode is not defined, not approved or not installed, in Fabric's words.
pub(crate) fn find(
    peer: &Peer,
    channel: &PeerChannel,
    chaincode: &str,
    simulation: &mut Simulation,
) -> Result<Runnable, String> {
    if system::is_system(chaincode) {
        return Ok(Runnable::System);
    }
    let state = simulation.state().clone();
    if let Some(info) = defined(peer, channel, chaincode, &state)
        && let Some(package_id) = info.package_id.clone()
        && channel.config().capabilities().lifecycle()
    {
        simulation.get_state(NAMESPACE, &sequence_key(chaincode)).map_err(|error| error.to_string())?;
        return Ok(Runnable::Package { info, package_id });
    }
    let installed = peer.support.packages().list();
    let ids = installed.iter().map(|installed| installed.package_id.as_str());
    lifecycle::endorsement_info(simulation, &channel.name, chaincode, &peer.msp_id, ids)?;
    Err(format!("chaincode {chaincode} not found"))
}

impl Info {
    /// What discovery has to know to plan endorsements; `None` when a policy can't be spelled out.
    pub(crate) fn metadata(&self, config: &ChannelConfig, collections: &[String]) -> Option<Metadata> {
        let spelled_out = |policy: &[u8]| {
            let policy = Endorsement::decode(policy).and_then(|policy| policy.spelled_out(config.policies()));
            policy.map_err(|error| tracing::warn!("an endorsement policy can't be planned with: {error}")).ok()
        };
        let mut metadata =
            Metadata { policy: spelled_out(&self.definition.validation_parameter)?, ..Metadata::default() };
        for name in collections {
            if let Some(msp_id) = implicit_organization(name) {
                let members = n_of_roles(1, MspRoleType::Member, &[msp_id]);
                metadata.collection_policies.insert(name.clone(), members);
            } else if let Some(policy) =
                lifecycle::collection(&self.definition, name).and_then(|collection| collection.endorsement_policy)
            {
                metadata.collection_policies.insert(name.clone(), spelled_out(&policy.encode_to_vec())?);
            }
            metadata.members.extend(self.collection_members(name).map(|members| (name.clone(), members)));
        }
        Some(metadata)
    }

    /// The principals of a collection's members; `None` when it is not defined.
    pub(crate) fn collection_members(&self, name: &str) -> Option<Vec<MspPrincipal>> {
        let collection = lifecycle::collection(&self.definition, name)?;
        let Payload::SignaturePolicy(policy) = collection.member_orgs_policy?.payload?;
        Some(policy.identities)
    }
}
