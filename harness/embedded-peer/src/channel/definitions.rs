//! The chaincodes of a channel that the peer can run.
//!
//! Definitions are cached. A cached one is valid as long as the state has the same values, by address, that a
//! new definition or approval would replace; so no invalidation is needed.

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

/// The system chaincodes of Fabric, deployed or not (`internal/peer/node/start.go`).
const SYSTEM_CHAINCODES: [&str; 4] = ["_lifecycle", "cscc", "lscc", "qscc"];

/// Whether a chaincode is a system chaincode.
pub(crate) fn is_system(chaincode: &str) -> bool {
    SYSTEM_CHAINCODES.contains(&chaincode)
}

/// The number of chaincodes at which the cache is cleared.
const CACHE_LIMIT: usize = 1_000;

/// A chaincode's definition, and the package that the peer runs for it.
#[derive(Debug)]
pub(crate) struct ChaincodeInfo {
    /// The committed definition.
    pub(crate) definition: Definition,
    /// The package ID, if the peer's organization has approved the definition and the package is installed.
    pub(crate) package_id: Option<String>,
}

/// What runs under a chaincode's name.
#[derive(Debug)]
pub(crate) enum Runnable {
    /// A system chaincode.
    System,
    /// A package.
    Package {
        /// The definition.
        info: Arc<ChaincodeInfo>,
        /// The package's ID.
        package_id: String,
    },
}

impl Runnable {
    /// The version that is recorded in a transaction.
    pub(crate) fn version(&self) -> &str {
        match self {
            Self::System => SYSTEM_VERSION,
            Self::Package { info, .. } => &info.definition.version,
        }
    }
}

/// The cache of a channel's definitions, by chaincode.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<String, Entry>>);

#[derive(Debug)]
struct Entry {
    made_of: Sources,
    info: Arc<ChaincodeInfo>,
}

/// The values in the state that a [`ChaincodeInfo`] was read from. Holding them keeps their addresses unique.
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

impl ChaincodeInfo {
    /// The principals of a collection's members; `None` if it is undefined.
    pub(crate) fn collection_members(&self, name: &str) -> Option<Vec<MspPrincipal>> {
        let collection = lifecycle::collection(&self.definition, name)?;
        let Payload::SignaturePolicy(policy) = collection.member_orgs_policy?.payload?;
        Some(policy.identities)
    }
}

impl PeerChannel {
    /// A chaincode's definition in this state; `None` if it is undefined.
    pub(crate) fn defined(&self, chaincode: &str, state: &StateView) -> Option<Arc<ChaincodeInfo>> {
        let sequence = state.get(NAMESPACE, &sequence_key(chaincode))?.value.clone();
        let lock = || self.definitions.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(chaincode).map(|entry| (entry.made_of.clone(), Arc::clone(&entry.info)));
        if let Some((sources, info)) = &known {
            let package = self.package_hash(chaincode, info.definition.sequence, state);
            // The package may have been installed since.
            let is_whole = info.package_id.is_some() || package.is_none();
            if is_whole && sources.are(&Sources { sequence: Some(sequence.clone()), package, config: None }) {
                return Some(Arc::clone(info));
            }
        }
        let installed = self.packages.list();
        let ids = installed.iter().map(|installed| installed.package_id.as_str());
        let local = lifecycle::local_definition(state, chaincode, &self.msp_id, ids)?;
        let info =
            ChaincodeInfo { package_id: local.package_id.filter(|_| local.approved), definition: local.definition };
        let package = self.package_hash(chaincode, info.definition.sequence, state);
        let made_of = Sources { sequence: Some(sequence), package, config: None };
        let is_known =
            |known: &Arc<ChaincodeInfo>| known.definition == info.definition && known.package_id == info.package_id;
        // An equal value keeps its address, by which other caches compare it.
        let known = known.map(|(_, known)| known).filter(is_known);
        Some(self.cache(chaincode, made_of, known.unwrap_or_else(|| Arc::new(info))))
    }

    /// The hash of the package ID that the peer's organization has approved.
    fn package_hash(&self, chaincode: &str, sequence: i64, state: &StateView) -> Option<Bytes> {
        let key = format!("chaincode-sources/fields/{chaincode}#{sequence}/PackageID");
        let collection = implicit_collection(&self.msp_id);
        state.private_hash(NAMESPACE, &collection, &Sha256::digest(key)).map(|found| found.value.clone())
    }

    fn cache(&self, chaincode: &str, made_of: Sources, info: Arc<ChaincodeInfo>) -> Arc<ChaincodeInfo> {
        let mut cache = self.definitions.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE_LIMIT {
            cache.clear();
        }
        cache.insert(chaincode.to_owned(), Entry { made_of, info: Arc::clone(&info) });
        info
    }

    /// A chaincode's definition in the newest state. The channel's configuration defines `_lifecycle`.
    pub(crate) fn definition(&self, chaincode: &str) -> Option<Arc<ChaincodeInfo>> {
        if chaincode != NAMESPACE {
            return self.defined(chaincode, &self.ledger.state());
        }
        let config = self.config();
        let made_of = Sources { sequence: None, package: None, config: Some(config.clone()) };
        let cache = self.definitions.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = cache.get(chaincode).filter(|entry| entry.made_of.are(&made_of)) {
            return Some(Arc::clone(&entry.info));
        }
        drop(cache);
        let validation_parameter = lifecycle::endorsement_policy(&config);
        let definition = Definition { sequence: 1, validation_parameter, ..Definition::default() };
        Some(self.cache(chaincode, made_of, Arc::new(ChaincodeInfo { definition, package_id: None })))
    }

    /// A chaincode's definition in the newest state, if the peer can run it.
    pub(crate) fn runnable(&self, chaincode: &str) -> Option<Arc<ChaincodeInfo>> {
        let info = self.definition(chaincode)?;
        (chaincode == NAMESPACE || info.package_id.is_some()).then_some(info)
    }

    /// All chaincodes that the peer can run, with `_lifecycle`.
    pub(crate) fn all_runnable(&self) -> BTreeMap<String, Arc<ChaincodeInfo>> {
        let definitions = lifecycle::definitions(&self.ledger.state());
        let names = definitions.into_iter().map(|(name, _)| name).chain([NAMESPACE.to_owned()]);
        names.filter_map(|name| Some((self.runnable(&name)?, name))).map(|(info, name)| (name, info)).collect()
    }

    /// What to run for a transaction. The simulation records the read of the definition.
    ///
    /// # Errors
    ///
    /// Fabric's text: the chaincode is not defined, not approved or not installed.
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
