//! Distributes private data to the peers of a collection's members before endorsement
//! (`gossip/privdata/distributor.go`), from one transient store to another.
//!
//! In Fabric `maxPeerCount` peers receive the data, and the others fetch it at commit. Here all members' peers
//! receive it, with the same result.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric_protos::protos::{StaticCollectionConfig, TxValidationCode};
use fabric_protos::rwset::{CollectionPvtReadWriteSet, NsPvtReadWriteSet, TxPvtReadWriteSet};

use super::{Member, Peer, members};
use crate::channel::{CollectionMembers, PeerChannel};
use crate::ledger::{CheckedTransaction, ReadWriteSets, StateView, TransientEntry};

/// The private data for each peer, by its number.
type Parcels = BTreeMap<usize, BTreeMap<String, Vec<CollectionPvtReadWriteSet>>>;

/// Stores a transaction's private data, and distributes it to the members' peers.
///
/// # Errors
///
/// Fabric's text: a collection is undefined, or has too few eligible peers.
pub(crate) fn distribute(
    peer: &Arc<Peer>,
    channel: &PeerChannel,
    transaction: &str,
    state: &StateView,
    private: TxPvtReadWriteSet,
) -> Result<(), String> {
    let others: Vec<Member> =
        members(peer, channel.ledger.channel()).into_iter().filter(|member| !Arc::ptr_eq(&member.peer, peer)).collect();
    let height = channel.ledger.height();
    let mut parcels = Parcels::new();
    for namespace in &private.ns_pvt_rwset {
        for written in &namespace.collection_pvt_rwset {
            let (chaincode, name) = (&namespace.namespace, &written.collection_name);
            let config = channel.collection(state, chaincode, name).ok_or_else(|| {
                format!("failed to obtain collections config: no collection config for chaincode {chaincode:?}")
            })?;
            let distributed = |error| {
                let channel = channel.ledger.channel();
                format!("failed to distribute private collection, txID {transaction}, channel {channel}: {error}")
            };
            for number in recipients(channel, &config, &others, chaincode).map_err(distributed)? {
                let parcel = parcels.entry(number).or_default().entry(namespace.namespace.clone()).or_default();
                parcel.push(written.clone());
            }
        }
    }
    for member in &others {
        let Some(parcel) = parcels.remove(&member.number) else { continue };
        let set = TxPvtReadWriteSet {
            data_model: private.data_model,
            ns_pvt_rwset: parcel
                .into_iter()
                .map(|(namespace, collection_pvt_rwset)| NsPvtReadWriteSet { namespace, collection_pvt_rwset })
                .collect(),
        };
        member.channel.ledger.transient().put(transaction, height, set);
    }
    channel.ledger.transient().put(transaction, height, private);
    Ok(())
}

/// The peers that receive a collection's data.
fn recipients(
    channel: &PeerChannel,
    config: &StaticCollectionConfig,
    others: &[Member],
    chaincode: &str,
) -> Result<Vec<usize>, String> {
    let holders = CollectionMembers::new(config)?;
    let channel_config = channel.config();
    let eligible: Vec<usize> = others
        .iter()
        .filter(|member| holders.include(&channel_config, member.peer.signer.identity()))
        .map(|member| member.number)
        .collect();
    let required = usize::try_from(config.required_peer_count).unwrap_or_default();
    if eligible.len() < required {
        return Err(format!(
            "could not build private data dissemination plan for chaincode {chaincode} and collection {}: required to disseminate to at least {required} peers, but know of only {} eligible peers",
            config.name,
            eligible.len()
        ));
    }
    Ok(eligible)
}

/// Fetches missing private data of a block before its commit from other peers: from their transient stores, or
/// from their ledgers if this peer is behind (`gossip/privdata/pull.go`).
pub(crate) fn gather(peer: &Peer, channel: &PeerChannel, number: u64, transactions: &[CheckedTransaction]) {
    let writes_private = |transaction: &CheckedTransaction| {
        let sets = transaction.writes.as_ref().filter(|_| transaction.code == TxValidationCode::Valid);
        sets.is_some_and(|sets| sets.writes_private_data())
    };
    let mut others = None;
    for (index, transaction) in (0..).zip(transactions).filter(|(_, transaction)| writes_private(transaction)) {
        let transient = channel.ledger.transient();
        if transaction.writes.as_ref().is_some_and(|sets| is_whole(sets, &transient.get(&transaction.id))) {
            continue;
        }
        let others = others.get_or_insert_with(|| members(peer, &channel.name));
        for member in others.iter().filter(|member| member.peer.name != peer.name) {
            let ledger = &member.channel.ledger;
            for entry in ledger.transient().get(&transaction.id) {
                transient.put(&transaction.id, entry.height, entry.set);
            }
            if let Some(set) = ledger.block(number).and_then(|block| block.private.get(&index).cloned()) {
                transient.put(&transaction.id, number, set);
            }
        }
    }
}

/// Whether there is private data for every collection that a transaction writes.
fn is_whole(sets: &ReadWriteSets, entries: &[TransientEntry]) -> bool {
    let is_there = |namespace: &str, name: &str| {
        let namespaces = entries.iter().flat_map(|entry| &entry.set.ns_pvt_rwset);
        let mut collections =
            namespaces.filter(|set| set.namespace == namespace).flat_map(|set| &set.collection_pvt_rwset);
        collections.any(|set| set.collection_name == name)
    };
    sets.namespaces.iter().all(|set| {
        let mut written = set.collections.iter().filter(|collection| !collection.private_hash.is_empty());
        written.all(|collection| is_there(&set.namespace, &collection.name))
    })
}
