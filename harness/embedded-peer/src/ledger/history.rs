//! The history of a key, read from the blocks that wrote it.

use fabric_protos::common::{ChannelHeader, Envelope, Payload};
use fabric_protos::prost::Message as _;
use fabric_protos::protos::{ChaincodeAction, ChaincodeActionPayload, ProposalResponsePayload, Transaction};
use fabric_protos::queryresult::KeyModification;

use super::chain::{Chain, StoredBlock};
use super::error::LedgerError;
use super::index::Index;
use super::sets::{ReadWriteSets, deletes};

/// All writes and deletions of a public key by the transactions of a chain, newest first.
pub(crate) fn of(
    index: &Index,
    chain: &Chain,
    namespace: &str,
    key: &str,
) -> Result<Vec<KeyModification>, LedgerError> {
    index
        .writes(chain, namespace, key)
        .into_iter()
        .map(|(block, place)| modification(&block, place, namespace, key))
        .collect()
}

fn modification(block: &StoredBlock, place: usize, namespace: &str, key: &str) -> Result<KeyModification, LedgerError> {
    let envelope = block.block.data.as_ref().and_then(|data| data.data.get(place));
    let (header, sets) = open(envelope.map_or(&[], Vec::as_slice))?;
    let written = sets
        .namespaces
        .into_iter()
        .find(|set| set.namespace == namespace)
        .and_then(|set| set.set.writes.into_iter().find(|write| write.key == key));
    let Some(write) = written else {
        return Err(LedgerError::History {
            namespace: namespace.to_owned(),
            key: key.to_owned(),
            block: block.number(),
            transaction: place as u64,
        });
    };
    Ok(KeyModification {
        tx_id: header.tx_id,
        is_delete: deletes(&write),
        value: write.value.into(),
        timestamp: header.timestamp,
    })
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
