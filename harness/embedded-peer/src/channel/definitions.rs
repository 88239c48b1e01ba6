//! The chaincodes of a channel as this peer can run them, looked up once for each definition.
//!
//! What is remembered is compared with the state by the values that a new definition or approval
//! always replaces, so nothing has to be told when the state changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fabric_protos::common::MspPrincipal;
use fabric_protos::protos::collection_policy_config::Payload;
use sha2::{Digest as _, Sha256};

use super::PeerChannel;
use crate::config::ChannelConfig;
use crate::ledger::{Simulation, StateView};
use crate::lifecycle::{self, Definition, NAMESPACE, implicit_collection};

/// The version that a system chaincode has in a transaction.
pub(crate) const SYSTEM_VERSION: &str = "syscc";

/// Those that Fabric has built in, whether they are deployed or not (`internal/peer/node/start.go`).
const SYSTEM_CHAINCODES: [&str; 4] = ["_lifecycle", "cscc", "lscc", "qscc"];

/// Whether a chaincode is one of the peer's own.
pub(crate) fn is_system(chaincode: &str) -> bool {
    SYSTEM_CHAINCODES.contains(&chaincode)
}

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

impl Info {
    /// The principals of a collection's members; `None` when it is not defined.
    pub(crate) fn collection_members(&self, name: &str) -> Option<Vec<MspPrincipal>> {
        let collection = lifecycle::collection(&self.definition, name)?;
        let Payload::SignaturePolicy(policy) = collection.member_orgs_policy?.payload?;
        Some(policy.identities)
    }
}

impl PeerChannel {
    /// What a definition means for this peer. `None` when the chaincode is not defined.
    pub(crate) fn defined(&self, chaincode: &str, state: &StateView) -> Option<Arc<Info>> {
        let sequence = state.get(NAMESPACE, &sequence_key(chaincode))?.value.clone();
        let lock = || self.definitions.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(chaincode).map(|entry| (entry.made_of.clone(), Arc::clone(&entry.info)));
        if let Some((sources, info)) = &known {
            let package = self.package_hash(chaincode, info.definition.sequence, state);
            // A package may have been installed meanwhile.
            let is_whole = info.package_id.is_some() || package.is_none();
            if is_whole && sources.are(&Sources { sequence: Some(sequence.clone()), package, config: None }) {
                return Some(Arc::clone(info));
            }
        }
        let installed = self.packages.list();
        let ids = installed.iter().map(|installed| installed.package_id.as_str());
        let local = lifecycle::local_definition(state, chaincode, &self.msp_id, ids)?;
        let info = Info { package_id: local.package_id.filter(|_| local.approved), definition: local.definition };
        let package = self.package_hash(chaincode, info.definition.sequence, state);
        let made_of = Sources { sequence: Some(sequence), package, config: None };
        let is_known = |known: &Arc<Info>| known.definition == info.definition && known.package_id == info.package_id;
        // Whoever remembers something by this value need not look again.
        let known = known.map(|(_, known)| known).filter(is_known);
        Some(self.remember(chaincode, made_of, known.unwrap_or_else(|| Arc::new(info))))
    }

    /// The hash of the package's ID as this peer's organization approved it.
    fn package_hash(&self, chaincode: &str, sequence: i64, state: &StateView) -> Option<Bytes> {
        let key = format!("chaincode-sources/fields/{chaincode}#{sequence}/PackageID");
        let collection = implicit_collection(&self.msp_id);
        state.private_hash(NAMESPACE, &collection, &Sha256::digest(key)).map(|found| found.value.clone())
    }

    fn remember(&self, chaincode: &str, made_of: Sources, info: Arc<Info>) -> Arc<Info> {
        let mut remembered = self.definitions.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(chaincode.to_owned(), Entry { made_of, info: Arc::clone(&info) });
        info
    }

    /// As [`Self::defined`] by the newest state; `_lifecycle` itself is defined by the channel's configuration.
    pub(crate) fn definition(&self, chaincode: &str) -> Option<Arc<Info>> {
        if chaincode != NAMESPACE {
            return self.defined(chaincode, &self.ledger.state());
        }
        let config = self.config();
        let made_of = Sources { sequence: None, package: None, config: Some(config.clone()) };
        let remembered = self.definitions.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = remembered.get(chaincode).filter(|entry| entry.made_of.are(&made_of)) {
            return Some(Arc::clone(&entry.info));
        }
        drop(remembered);
        let validation_parameter = lifecycle::endorsement_policy(&config);
        let definition = Definition { sequence: 1, validation_parameter, ..Definition::default() };
        Some(self.remember(chaincode, made_of, Arc::new(Info { definition, package_id: None })))
    }

    /// As [`Self::definition`], if this peer can run the chaincode.
    pub(crate) fn runnable(&self, chaincode: &str) -> Option<Arc<Info>> {
        let info = self.definition(chaincode)?;
        (chaincode == NAMESPACE || info.package_id.is_some()).then_some(info)
    }

    /// Every chaincode that this peer can run, `_lifecycle` too.
    pub(crate) fn all_runnable(&self) -> BTreeMap<String, Arc<Info>> {
        let definitions = lifecycle::definitions(&self.ledger.state());
        let names = definitions.into_iter().map(|(name, _)| name).chain([NAMESPACE.to_owned()]);
        names.filter_map(|name| Some((self.runnable(&name)?, name))).map(|(info, name)| (name, info)).collect()
    }

    /// What to run for a transaction. The definition counts as read by it.
    ///
    /// # Errors
    ///
    /// The chaincode is not defined, not approved or not installed, in Fabric's words.
    pub(crate) fn find(&self, chaincode: &str, simulation: &mut Simulation) -> Result<Runnable, String> {
        if is_system(chaincode) {
            return Ok(Runnable::System);
        }
        let state = simulation.state().clone();
        if let Some(info) = self.defined(chaincode, &state)
            && let Some(package_id) = info.package_id.clone()
            && self.config().capabilities().lifecycle()
        {
            simulation.get_state(NAMESPACE, &sequence_key(chaincode)).map_err(|error| error.to_string())?;
            return Ok(Runnable::Package { info, package_id });
        }
        let installed = self.packages.list();
        let ids = installed.iter().map(|installed| installed.package_id.as_str());
        lifecycle::endorsement_info(simulation, &self.name, chaincode, &self.msp_id, ids)?;
        Err(format!("chaincode {chaincode} not found"))
    }
}
