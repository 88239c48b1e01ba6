//! Endorsement policies of chaincodes, collections and keys
//! (`core/handlers/validation/builtin/v20`, `core/common/validation/statebased`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fabric_protos::common::SignaturePolicyEnvelope;
use fabric_protos::protos::TxValidationCode as Code;
use prost::Message;

use super::envelope::{Action, Content, Opened};
use crate::config::ChannelConfig;
use crate::ledger::StateView;
use crate::lifecycle::{self, Definition, collection_endorsement};
use crate::policy::{Endorsement, PolicyError, SignaturePolicy};

/// The metadata entry for a key-level endorsement policy.
const VALIDATION_PARAMETER: &str = "VALIDATION_PARAMETER";
/// The only supported plugin.
const PLUGIN: &str = "vscc";

/// A key: chaincode, collection (empty for public data), and the key or its hash.
type Key = (String, String, Vec<u8>);

/// A chaincode during the validation of one block.
struct Chaincode {
    definition: Definition,
    policy: Result<Arc<Endorsement>, PolicyError>,
}

/// The state and the results so far during the validation of one block.
pub(super) struct BlockContext<'a> {
    number: u64,
    config: &'a ChannelConfig,
    state: StateView,
    chaincodes: HashMap<String, Option<Chaincode>>,
    /// The transactions of the block that change a key's metadata.
    changes: HashMap<Key, Vec<usize>>,
    /// Which of these transactions passed the policy of which chaincode.
    passed: HashSet<(usize, String)>,
}

impl<'a> BlockContext<'a> {
    pub(super) fn new(number: u64, config: &'a ChannelConfig, state: StateView, opened: &[Opened]) -> Self {
        let mut changes: HashMap<Key, Vec<usize>> = HashMap::new();
        for (index, one) in opened.iter().enumerate() {
            let Ok(Content::Endorser(Ok(action))) = &one.content else { continue };
            for key in changed_metadata(action) {
                changes.entry(key).or_default().push(index);
            }
        }
        Self { number, config, state, chaincodes: HashMap::new(), changes, passed: HashSet::new() }
    }

    /// The code of a transaction. All previous ones must have theirs.
    pub(super) fn code(&mut self, index: usize, action: &Action) -> Code {
        for namespace in action.namespaces() {
            if let Err(code) = self.check_namespace(index, namespace, action) {
                return code;
            }
            if !self.changes.is_empty() {
                self.passed.insert((index, namespace.to_owned()));
            }
        }
        Code::Valid
    }

    fn check_namespace(&mut self, index: usize, namespace: &str, action: &Action) -> Result<(), Code> {
        if !self.chaincodes.contains_key(namespace) {
            let chaincode = self.look_up(namespace);
            self.chaincodes.insert(namespace.to_owned(), chaincode);
        }
        let chaincode = self.chaincodes.get(namespace).and_then(Option::as_ref).ok_or(Code::InvalidChaincode)?;
        if chaincode.definition.validation_plugin != PLUGIN {
            return Err(Code::InvalidOtherReason);
        }
        let check = Check { context: self, index, namespace, chaincode, action };
        check.run().map_err(|cause| {
            let (channel, number) = (self.config.channel(), self.number);
            tracing::warn!(channel, number, index, namespace, cause, "endorsement policy failure");
            Code::EndorsementPolicyFailure
        })
    }

    fn look_up(&self, namespace: &str) -> Option<Chaincode> {
        let mut definition = lifecycle::definition(&self.state, namespace)?;
        if namespace == lifecycle::NAMESPACE {
            PLUGIN.clone_into(&mut definition.validation_plugin);
            definition.validation_parameter = lifecycle::endorsement_policy(self.config);
        }
        if definition.validation_plugin.is_empty() || definition.validation_parameter.is_empty() {
            return None;
        }
        let policy = self.config.endorsement(&definition.validation_parameter);
        Some(Chaincode { definition, policy })
    }
}

/// The writes of one transaction to one chaincode.
struct Check<'a> {
    context: &'a BlockContext<'a>,
    index: usize,
    namespace: &'a str,
    chaincode: &'a Chaincode,
    action: &'a Action,
}

/// The policies evaluated so far: of the chaincode (empty name) and of collections.
#[derive(Default)]
struct Evaluated {
    names: HashSet<String>,
    any: bool,
}

impl Check<'_> {
    fn run(&self) -> Result<(), String> {
        let mut evaluated = Evaluated::default();
        for set in self.action.sets.namespaces.iter().filter(|set| set.namespace == self.namespace) {
            for write in &set.set.writes {
                self.key("", write.key.as_bytes(), &mut evaluated)?;
            }
            for write in &set.set.metadata_writes {
                self.key("", write.key.as_bytes(), &mut evaluated)?;
            }
            for collection in &set.collections {
                for write in &collection.hashed.hashed_writes {
                    self.key(&collection.name, &write.key_hash, &mut evaluated)?;
                }
            }
            for collection in &set.collections {
                for write in &collection.hashed.metadata_writes {
                    self.key(&collection.name, &write.key_hash, &mut evaluated)?;
                }
            }
        }
        // A transaction without writes, or only with writes to keys whose policy was not evaluated.
        if evaluated.any { Ok(()) } else { self.chaincode_policy() }
    }

    /// Checks a written key: its own policy applies, else the collection's or the chaincode's.
    fn key(&self, collection: &str, key: &[u8], evaluated: &mut Evaluated) -> Result<(), String> {
        if let Some(policy) = self.key_policy(collection, key)? {
            policy.evaluate(&self.action.endorsers).map_err(|error| {
                let key = String::from_utf8_lossy(key);
                format!("validation of key {key} (coll'{collection}':ns'{}') failed: {error}", self.namespace)
            })?;
            evaluated.any = true;
            return Ok(());
        }
        if !collection.is_empty() {
            if evaluated.names.contains(collection) {
                return Ok(());
            }
            let policy = collection_endorsement(&self.chaincode.definition, collection, self.context.config)?;
            if !policy.is_empty() {
                let policy = self.context.config.endorsement(&policy).map_err(|error| error.to_string())?;
                self.evaluate(&policy).map_err(|error| {
                    format!("validation of endorsement policy for collection {collection} failed: {error}")
                })?;
                evaluated.names.insert(collection.to_owned());
                evaluated.any = true;
                return Ok(());
            }
        }
        if !evaluated.names.contains("") {
            self.chaincode_policy()?;
            evaluated.names.insert(String::new());
            evaluated.any = true;
        }
        Ok(())
    }

    fn chaincode_policy(&self) -> Result<(), String> {
        let namespace = self.namespace;
        let policy = self.chaincode.policy.as_ref();
        policy
            .map_err(Clone::clone)
            .and_then(|policy| self.evaluate(policy))
            .map_err(|error| format!("validation of endorsement policy for chaincode {namespace} failed: {error}"))
    }

    fn evaluate(&self, policy: &Endorsement) -> Result<(), PolicyError> {
        policy.evaluate(&self.action.endorsers, self.context.config.policies())
    }

    /// The policy of a key in the state before the block. Fails if a valid transaction earlier in
    /// the block changed it.
    fn key_policy(&self, collection: &str, key: &[u8]) -> Result<Option<SignaturePolicy>, String> {
        let (context, namespace) = (self.context, self.namespace);
        if !context.changes.is_empty() {
            let place = (namespace.to_owned(), collection.to_owned(), key.to_vec());
            let before = context.changes.get(&place).into_iter().flatten().filter(|index| **index < self.index);
            let mut valid = before.filter(|index| context.passed.contains(&(**index, namespace.to_owned())));
            if valid.next().is_some() {
                let key = String::from_utf8_lossy(key);
                return Err(format!(
                    "validation parameters for key [{key}] in namespace [{namespace}:{collection}] have been changed in transaction {} of block {}",
                    self.index, context.number
                ));
            }
        }
        let value = if collection.is_empty() {
            std::str::from_utf8(key).ok().and_then(|key| context.state.get(namespace, key))
        } else {
            context.state.private_hash(namespace, collection, key)
        };
        let Some(value) = value.filter(|value| value.metadata.is_some()) else { return Ok(None) };
        let policy = value.metadata().remove(VALIDATION_PARAMETER).filter(|policy| !policy.is_empty());
        let Some(policy) = policy else { return Ok(None) };
        let policy = SignaturePolicyEnvelope::decode(policy)
            .map_err(|error| format!("could not translate policy for {namespace}: {error}"))?;
        SignaturePolicy::new(policy).map(Some).map_err(|error| error.to_string())
    }
}

/// The keys whose metadata a transaction writes.
fn changed_metadata(action: &Action) -> impl Iterator<Item = Key> {
    action.sets.namespaces.iter().flat_map(|set| {
        let public = set.set.metadata_writes.iter().map(|write| (String::new(), write.key.clone().into_bytes()));
        let hashed = set.collections.iter().flat_map(|collection| {
            let writes = collection.hashed.metadata_writes.iter();
            writes.map(|write| (collection.name.clone(), write.key_hash.clone()))
        });
        public.chain(hashed).map(|(collection, key)| (set.namespace.clone(), collection, key))
    })
}
