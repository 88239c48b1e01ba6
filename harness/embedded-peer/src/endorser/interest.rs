//! The chaincode interest of a transaction, from which the gateway chooses endorsers
//! (`buildChaincodeInterest` in `core/endorser/endorser.go`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use fabric_protos::common::SignaturePolicyEnvelope;
use fabric_protos::protos::{ChaincodeCall, ChaincodeInterest};
use fabric_protos::rwset::TxReadWriteSet;
use prost::Message as _;

use crate::channel::is_system;
use crate::envelope::decode;
use crate::ledger::Simulated;

/// The metadata entry for a key-level endorsement policy.
const VALIDATION_PARAMETER: &str = "VALIDATION_PARAMETER";

/// The policies that one chaincode requires.
#[derive(Default)]
struct Required {
    /// By collection (empty for public data): whether its own policy is required.
    whole: BTreeMap<String, bool>,
    /// The policies of written keys.
    keys: Vec<SignaturePolicyEnvelope>,
}

/// The interest of a simulation, sorted by chaincode and collection. Fabric's order is random.
///
/// # Errors
///
/// Fabric's text if a key's policy cannot be decoded.
pub(crate) fn interest(simulated: &Simulated) -> Result<ChaincodeInterest, String> {
    let mut required = written(simulated)?;
    for namespace in namespaces(&simulated.public)? {
        // Without writes the chaincode's policy applies.
        required
            .entry(namespace)
            .or_insert_with(|| Required { whole: [(String::new(), true)].into(), keys: Vec::new() });
    }
    for (chaincode, collections) in &simulated.private_reads {
        let whole = &mut required.entry(chaincode.clone()).or_default().whole;
        whole.extend(collections.iter().map(|collection| (collection.clone(), true)));
    }
    let calls = required.into_iter().filter(|(chaincode, _)| !is_system(chaincode));
    let read = |chaincode: &str| simulated.private_reads.get(chaincode);
    Ok(ChaincodeInterest {
        chaincodes: calls.flat_map(|(chaincode, required)| required.calls(&chaincode, read(&chaincode))).collect(),
    })
}

/// Checks that a simulation has a valid interest.
///
/// # Errors
///
/// See [`interest`].
pub(crate) fn check(simulated: &Simulated) -> Result<(), String> {
    written(simulated).map(drop)
}

fn written(simulated: &Simulated) -> Result<BTreeMap<String, Required>, String> {
    let mut required = BTreeMap::<String, Required>::new();
    for (chaincode, collections) in &simulated.write_metadata {
        let required = required.entry(chaincode.clone()).or_default();
        required.whole.insert(String::new(), false);
        for (collection, keys) in collections {
            for metadata in keys.values() {
                match metadata.get(VALIDATION_PARAMETER) {
                    Some(policy) => required.keys.push(decode("SignaturePolicyEnvelope", policy)?),
                    None => {
                        required.whole.insert(collection.clone(), true);
                    }
                }
            }
        }
    }
    Ok(required)
}

fn namespaces(results: &Bytes) -> Result<Vec<String>, String> {
    let set = TxReadWriteSet::decode(results.clone()).map_err(|error| error.to_string())?;
    Ok(set.ns_rwset.into_iter().map(|namespace| namespace.namespace).collect())
}

impl Required {
    fn calls(self, chaincode: &str, reads: Option<&BTreeSet<String>>) -> Vec<ChaincodeCall> {
        let Self { whole, keys } = self;
        let is_asked = whole.get("").copied().unwrap_or_default();
        let named = ChaincodeCall { name: chaincode.to_owned(), ..ChaincodeCall::default() };
        let mut calls = Vec::new();
        for collection in whole.into_keys() {
            if !collection.is_empty() {
                let no_private_reads = !reads.is_some_and(|reads| reads.contains(&collection));
                calls.push(ChaincodeCall { collection_names: vec![collection], no_private_reads, ..named.clone() });
            } else if is_asked || !keys.is_empty() {
                let disregard_namespace_policy = !is_asked;
                calls.push(ChaincodeCall { key_policies: keys.clone(), disregard_namespace_policy, ..named.clone() });
            }
        }
        calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fabric_protos::rwset::NsReadWriteSet;

    type Metadata<'a> = &'a [(&'a str, &'a str, &'a str, Option<&'a SignaturePolicyEnvelope>)];

    fn simulated(namespaces: &[&str], metadata: Metadata<'_>, reads: &[(&str, &str)]) -> Simulated {
        let set = |name: &&str| NsReadWriteSet { namespace: (*name).to_owned(), ..NsReadWriteSet::default() };
        let public = TxReadWriteSet { ns_rwset: namespaces.iter().map(set).collect(), ..TxReadWriteSet::default() };
        let mut simulated = Simulated {
            public: public.encode_to_vec().into(),
            private: None,
            private_reads: BTreeMap::new(),
            write_metadata: BTreeMap::new(),
        };
        for (chaincode, collection, key, policy) in metadata {
            let collections = simulated.write_metadata.entry((*chaincode).to_owned()).or_default();
            let keys = collections.entry((*collection).to_owned()).or_default();
            let entries = policy.map(|policy| (VALIDATION_PARAMETER.to_owned(), policy.encode_to_vec().into()));
            keys.insert((*key).to_owned(), entries.into_iter().collect());
        }
        for (chaincode, collection) in reads {
            let collections = simulated.private_reads.entry((*chaincode).to_owned()).or_default();
            collections.insert((*collection).to_owned());
        }
        simulated
    }

    fn call(name: &str) -> ChaincodeCall {
        ChaincodeCall { name: name.to_owned(), ..ChaincodeCall::default() }
    }

    #[test]
    fn interest_includes_used_chaincodes_except_system_chaincodes() {
        let simulated = simulated(&["_lifecycle", "a", "b"], &[("a", "", "k", None)], &[]);
        assert_eq!(interest(&simulated).unwrap().chaincodes, [call("a"), call("b")]);
    }

    #[test]
    fn key_policies_replace_the_chaincode_policy() {
        let policy = SignaturePolicyEnvelope { version: 7, ..SignaturePolicyEnvelope::default() };
        let keyed = ChaincodeCall { key_policies: vec![policy.clone()], ..call("a") };
        let only = simulated(&["a"], &[("a", "", "k", Some(&policy))], &[]);
        let disregarding = ChaincodeCall { disregard_namespace_policy: true, ..keyed.clone() };
        assert_eq!(interest(&only).unwrap().chaincodes, [disregarding]);
        let both = simulated(&["a"], &[("a", "", "k", Some(&policy)), ("a", "", "l", None)], &[]);
        assert_eq!(interest(&both).unwrap().chaincodes, [keyed]);
    }

    #[test]
    fn collections_are_separate_calls_with_private_read_flag() {
        let simulated = simulated(&["a"], &[("a", "secret", "k", None)], &[("a", "other")]);
        let collection = |name: &str, no_private_reads| ChaincodeCall {
            collection_names: vec![name.to_owned()],
            no_private_reads,
            ..call("a")
        };
        assert_eq!(interest(&simulated).unwrap().chaincodes, [collection("other", false), collection("secret", true)]);
    }
}
