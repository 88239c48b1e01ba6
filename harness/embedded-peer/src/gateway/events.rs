//! Chaincode events from the next block, from a given block, or after a given transaction
//! (`internal/pkg/gateway/chaincodeevents.go`).

use std::sync::Arc;

use fabric_protos::gateway::{ChaincodeEventsRequest, ChaincodeEventsResponse, SignedChaincodeEventsRequest};
use fabric_protos::orderer::{SeekPosition, seek_position};
use fabric_protos::protos::{ChaincodeEvent, TxValidationCode};
use futures::Stream;
use prost::Message as _;
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::ledger::{Ledger, StoredBlock};
use crate::peer::{Peer, access};
use crate::policy::SignedData;

pub(super) fn events(
    peer: &Arc<Peer>,
    signed: &SignedChaincodeEventsRequest,
) -> Result<impl Stream<Item = Result<ChaincodeEventsResponse, Status>> + Send + use<>, Status> {
    let invalid = |message: &str| Status::new(Code::InvalidArgument, message);
    if signed.request.is_empty() {
        return Err(invalid("a chaincode events request is required"));
    }
    let request = ChaincodeEventsRequest::decode(signed.request.as_slice())
        .map_err(|_| invalid("invalid chaincode events request: proto: cannot parse invalid wire-format data"))?;
    let data = SignedData {
        message: signed.request.clone().into(),
        identity: request.identity.clone().into(),
        signature: signed.signature.clone().into(),
    };
    let channel = &request.channel_id;
    if channel.is_empty() {
        let text = "Invalid channel ID name during check policy on signed data. Name must be different from nil.";
        return Err(Status::new(Code::PermissionDenied, text));
    }
    access::check(peer, "gateway/ChaincodeEvents", channel, &data)
        .map_err(|error| Status::new(Code::PermissionDenied, error))?;
    let joined = peer
        .channel(channel)
        .ok_or_else(|| Status::new(Code::NotFound, format!("channel does not exist: {channel}")))?;
    let next = start(&joined.ledger, &request)?;
    let filter = Filter::new(request.chaincode_id, request.after_transaction_id);
    let follower = Follower { heights: joined.ledger.heights(), ledger: joined.ledger.clone(), next, filter };
    Ok(futures::stream::unfold(follower, async |mut follower| {
        let response = follower.next().await?;
        Some((Ok(response), follower))
    }))
}

/// The number of the first block to read.
fn start(ledger: &Ledger, request: &ChaincodeEventsRequest) -> Result<u64, Status> {
    if !request.after_transaction_id.is_empty()
        && let Some(location) = ledger.transaction(&request.after_transaction_id)
    {
        return Ok(location.block);
    }
    position(request.start_position.as_ref(), ledger.height())
}

fn position(position: Option<&SeekPosition>, height: u64) -> Result<u64, Status> {
    let kind = match position.and_then(|position| position.r#type.as_ref()) {
        None | Some(seek_position::Type::NextCommit(_)) => return Ok(height),
        Some(seek_position::Type::Specified(specified)) => return Ok(specified.number),
        Some(seek_position::Type::Oldest(_)) => "Oldest",
        Some(seek_position::Type::Newest(_)) => "Newest",
    };
    let message = format!("invalid start position type: *orderer.SeekPosition_{kind}");
    Err(Status::new(Code::InvalidArgument, message))
}

/// Selects the requested events.
struct Filter {
    chaincode: String,
    /// Skip events up to and including this transaction.
    after: Option<String>,
}

impl Filter {
    fn new(chaincode: String, after: String) -> Self {
        Self { chaincode, after: Some(after).filter(|after| !after.is_empty()) }
    }

    fn matches(&mut self, event: &ChaincodeEvent) -> bool {
        if let Some(after) = &self.after {
            if *after == event.tx_id {
                self.after = None;
            }
            return false;
        }
        event.chaincode_id == self.chaincode
    }

    fn events(&mut self, block: &StoredBlock) -> Vec<ChaincodeEvent> {
        let valid = block.transactions.iter().filter(|transaction| transaction.code == TxValidationCode::Valid);
        let events = valid.filter_map(|transaction| transaction.event.as_ref()).filter(|event| is_complete(event));
        events.filter(|event| self.matches(event)).cloned().collect()
    }
}

/// Fabric skips events without a name.
fn is_complete(event: &ChaincodeEvent) -> bool {
    !event.chaincode_id.is_empty() && !event.event_name.is_empty() && !event.tx_id.is_empty()
}

struct Follower {
    ledger: Ledger,
    heights: watch::Receiver<u64>,
    next: u64,
    filter: Filter,
}

impl Follower {
    /// The next block with requested events; `None` if the channel is gone.
    async fn next(&mut self) -> Option<ChaincodeEventsResponse> {
        loop {
            let number = self.next;
            self.heights.wait_for(|height| *height > number).await.ok()?;
            let block = self.ledger.block(number)?;
            self.next += 1;
            let events = self.filter.events(&block);
            if !events.is_empty() {
                return Some(ChaincodeEventsResponse { events, block_number: number });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fabric_protos::orderer::{SeekNewest, SeekNextCommit, SeekSpecified};

    fn event(chaincode: &str, transaction: &str) -> ChaincodeEvent {
        ChaincodeEvent {
            chaincode_id: chaincode.to_owned(),
            tx_id: transaction.to_owned(),
            event_name: "e".to_owned(),
            payload: Vec::new(),
        }
    }

    #[test]
    fn events_are_filtered_by_chaincode_and_transaction() {
        let mut all = Filter::new("c".to_owned(), String::new());
        assert!(all.matches(&event("c", "1")) && !all.matches(&event("d", "2")));
        let mut after = Filter::new("c".to_owned(), "2".to_owned());
        let taken: Vec<_> = ["1", "2", "3"].map(|transaction| after.matches(&event("c", transaction))).into();
        assert_eq!(taken, [false, false, true]);
        // The transaction may be of another chaincode.
        let mut other = Filter::new("c".to_owned(), "2".to_owned());
        assert!(!other.matches(&event("d", "2")) && other.matches(&event("c", "3")));
        assert!(!is_complete(&event("c", "")) && is_complete(&event("c", "1")));
    }

    #[test]
    fn a_stream_starts_at_a_block_or_the_next_one() {
        let at = |kind| position(Some(&SeekPosition { r#type: Some(kind) }), 7);
        assert_eq!(position(None, 7).unwrap(), 7);
        assert_eq!(at(seek_position::Type::NextCommit(SeekNextCommit {})).unwrap(), 7);
        assert_eq!(at(seek_position::Type::Specified(SeekSpecified { number: 9 })).unwrap(), 9);
        let status = at(seek_position::Type::Newest(SeekNewest {})).unwrap_err();
        assert_eq!(status.message(), "invalid start position type: *orderer.SeekPosition_Newest");
    }
}
