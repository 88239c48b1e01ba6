//! The history of a key, read from the blocks that wrote it.

use fabric_protos::common::{ChannelHeader, Envelope, Payload};
use fabric_protos::kvrwset::KvWrite;
use fabric_protos::prost::Message as _;
use fabric_protos::protos::{ChaincodeAction, ChaincodeActionPayload, ProposalResponsePayload, Transaction};
use fabric_protos::queryresult::KeyModification;

use super::chain::Chain;
use super::error::LedgerError;
use super::index;
use super::sets::{ReadWriteSets, deletes};

/// All writes and deletions of a public key by the transactions of a chain, newest first.
pub(crate) fn of(chain: &Chain, namespace: &str, key: &str) -> Result<Vec<KeyModification>, LedgerError> {
    let mut modifications = Vec::new();
    for (block, transaction) in chain.index.writes(namespace, key) {
        let envelope = chain.envelope(block, transaction).ok_or(LedgerError::Unreadable { block })?;
        let (header, sets) = open(&envelope)?;
        match found(&sets, namespace, key) {
            Found::Write(write) => modifications.push(KeyModification {
                tx_id: header.tx_id,
                is_delete: deletes(write),
                value: write.value.clone().into(),
                timestamp: header.timestamp,
            }),
            Found::Collision => {}
            Found::Nothing => {
                let (namespace, key, transaction) = (namespace.to_owned(), key.to_owned(), transaction as u64);
                return Err(LedgerError::History { namespace, key, block, transaction });
            }
        }
    }
    Ok(modifications)
}

/// What the index has found in a transaction.
enum Found<'set> {
    Write(&'set KvWrite),
    /// A write of another key with the same fingerprint.
    Collision,
    Nothing,
}

fn found<'set>(sets: &'set ReadWriteSets, namespace: &str, key: &str) -> Found<'set> {
    let mut writes = sets.namespaces.iter().flat_map(|set| set.set.writes.iter().map(move |write| (set, write)));
    if let Some((_, write)) = writes.clone().find(|(set, write)| set.namespace == namespace && write.key == key) {
        return Found::Write(write);
    }
    let wanted = index::of_write(namespace, key);
    let collides = writes.any(|(set, write)| index::of_write(&set.namespace, &write.key) == wanted);
    if collides { Found::Collision } else { Found::Nothing }
}

/// Decodes the channel header and the read-write sets of an endorser transaction.
pub(crate) fn open(envelope: &[u8]) -> Result<(ChannelHeader, ReadWriteSets), LedgerError> {
    let malformed = LedgerError::malformed;
    let envelope = Envelope::decode(envelope).map_err(malformed("transaction's envelope"))?;
    let payload = Payload::decode(envelope.payload.as_slice()).map_err(malformed("transaction's payload"))?;
    let header = payload.header.unwrap_or_default().channel_header;
    let header = ChannelHeader::decode(header.as_slice()).map_err(malformed("transaction's channel header"))?;
    let transaction = Transaction::decode(payload.data.as_slice()).map_err(malformed("transaction"))?;
    let action = transaction.actions.into_iter().next().unwrap_or_default().payload;
    let action = ChaincodeActionPayload::decode(action.as_slice()).map_err(malformed("chaincode action payload"))?;
    let response = action.action.unwrap_or_default().proposal_response_payload;
    let response =
        ProposalResponsePayload::decode(response.as_slice()).map_err(malformed("proposal response payload"))?;
    let action = ChaincodeAction::decode(response.extension.as_slice()).map_err(malformed("chaincode action"))?;
    Ok((header, ReadWriteSets::parse(&action.results)?))
}
