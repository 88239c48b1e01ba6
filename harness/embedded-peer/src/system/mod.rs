//! System chaincodes: cscc, qscc, the lscc of 2.5, and the entry to `_lifecycle`.
//!
//! They run in the peer and respond as in Fabric. Chaincode definitions are in `lifecycle`.

pub(crate) mod cscc;
pub(crate) mod go;
mod lifecycle;
mod lscc;
pub(crate) mod qscc;

use std::sync::Arc;

use fabric_protos::protos::Response;

use crate::channel::{PeerChannel, SYSTEM_VERSION};
use crate::ledger::SharedSimulation;
use crate::peer::{Peer, access};
use crate::policy::SignedData;

/// The caller of a system chaincode.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The chaincode that the proposal calls.
    pub(crate) called: String,
    /// The proposal and its signature.
    pub(crate) signed: SignedData,
}

impl Caller {
    /// Checks the proposal's creator against a resource's ACL; an empty channel means the peer
    /// itself.
    pub(crate) fn check(&self, peer: &Peer, resource: &str, channel: &str) -> Result<(), String> {
        access::check(peer, resource, channel, &self.signed)
    }
}

/// Runs a system chaincode.
///
/// # Errors
///
/// The chaincode is not deployed, or timed out.
pub(crate) async fn invoke(
    peer: &Arc<Peer>,
    channel: Option<&Arc<PeerChannel>>,
    chaincode: &str,
    caller: &Caller,
    arguments: &[Vec<u8>],
    simulation: Option<&SharedSimulation>,
) -> Result<Response, String> {
    match chaincode {
        cscc::NAME => Ok(cscc::invoke(peer, caller, arguments)),
        qscc::NAME => Ok(qscc::invoke(peer, caller, arguments)),
        lifecycle::NAME => lifecycle::invoke(peer, channel, caller, arguments, simulation).await,
        lscc::NAME if peer.release.has_lscc() => {
            Ok(lscc::invoke(peer, channel.map(Arc::as_ref), caller, arguments, simulation))
        }
        // Fabric 3 does not deploy lscc, and treats it as a packaged chaincode.
        _ => {
            let id = format!("{chaincode}.{SYSTEM_VERSION}");
            let path = peer.support.legacy_package(&id);
            Err(format!(
                "could not launch chaincode {id}: error building chaincode: error building image: failed to get chaincode package for external build: could not get legacy chaincode package '{id}': open {}: no such file or directory",
                path.display()
            ))
        }
    }
}

pub(crate) fn success(payload: Vec<u8>) -> Response {
    Response { status: 200, payload, ..Response::default() }
}

pub(crate) fn failure(message: String) -> Response {
    Response { status: 500, message, ..Response::default() }
}
