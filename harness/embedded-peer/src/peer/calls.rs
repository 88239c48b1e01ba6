//! Calls of a peer's services: events, and injected faults.

use fabric_protos::protos::SignedProposal;
use tonic::Status;

use super::Peer;
use crate::faults::Action;
use crate::proposal::UnpackedProposal;
use crate::trace::{Direction, EventKind};

/// The maximum length of an argument in an event.
const MAX_ARGUMENT: usize = 64;

/// Performs a call, emits events for request and response, and applies faults. A dropped call is never answered,
/// so the client's timeout ends it.
pub(crate) async fn call<T>(
    peer: &Peer,
    method: &'static str,
    asked: impl FnOnce() -> String,
    work: impl Future<Output = Result<T, Status>>,
    answered: impl FnOnce(&T) -> String,
) -> Result<T, Status> {
    peer.trace(|| EventKind::ClientCall { direction: Direction::ClientToNode, method, detail: asked() });
    let answer = match meet_fault(peer, Direction::ClientToNode, method).await {
        Ok(()) => work.await,
        Err(status) => Err(status),
    };
    peer.trace(|| EventKind::ClientCall {
        direction: Direction::NodeToClient,
        method,
        detail: match &answer {
            Ok(answer) => answered(answer),
            Err(status) => format!("{:?}: {}", status.code(), status.message()),
        },
    });
    meet_fault(peer, Direction::NodeToClient, method).await?;
    answer
}

async fn meet_fault(peer: &Peer, direction: Direction, method: &str) -> Result<(), Status> {
    match peer.faults.check(&peer.name, direction, method) {
        None => Ok(()),
        Some(Action::Fail(text)) => Err(Status::unavailable(text)),
        Some(Action::Delay(span)) => {
            tokio::time::sleep(span).await;
            Ok(())
        }
        Some(Action::Drop) => std::future::pending().await,
    }
}

/// A summary of a proposal: transaction, channel, chaincode, function and arguments.
pub(crate) fn proposal(signed: Option<&SignedProposal>) -> String {
    let Some(Ok(proposal)) = signed.cloned().map(UnpackedProposal::for_gateway) else {
        return "no proposal".to_owned();
    };
    let argument = |argument: &Vec<u8>| {
        let text = String::from_utf8_lossy(argument);
        match text.char_indices().nth(MAX_ARGUMENT) {
            Some((end, _)) => format!("{:?}…", &text[..end]),
            None => format!("{text:?}"),
        }
    };
    let arguments: Vec<String> = proposal.input.args.iter().map(argument).collect();
    let id = proposal.transaction_id().get(..8).unwrap_or_default();
    format!("[{id}] {:?} {}({})", proposal.channel(), proposal.chaincode, arguments.join(", "))
}
