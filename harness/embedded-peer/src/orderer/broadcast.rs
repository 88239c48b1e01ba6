//! The broadcast service: accepts messages for ordering (`orderer/common/broadcast`).

use std::sync::Arc;

use fabric_protos::common::{Envelope, HeaderType, Status as Code};
use fabric_protos::orderer::BroadcastResponse;
use futures::Stream;
use tonic::{Status, Streaming};

use super::Orderer;
use super::chain::{Chain, Submission};
use super::registrar::NO_CHANNEL;
use super::resources::Refusal;
use crate::envelope::channel_header;
use crate::grpc_go;
use crate::trace::{Direction, EventKind};

/// Responds to the messages of a stream, up to the first rejected one.
pub(super) fn answers(
    orderer: Arc<Orderer>,
    messages: Streaming<Envelope>,
) -> impl Stream<Item = Result<BroadcastResponse, Status>> + Send + 'static {
    futures::stream::unfold(Some((orderer, messages)), async |state| {
        let (orderer, mut messages) = state?;
        match messages.message().await {
            Ok(Some(envelope)) => {
                let response = orderer.broadcast(envelope).await;
                let state = (response.status() == Code::Success).then_some((orderer, messages));
                Some((Ok(response), state))
            }
            Ok(None) => None,
            Err(status) => Some((Err(grpc_go::status(status)), None)),
        }
    })
}

impl Orderer {
    /// Accepts a message for ordering, or rejects it.
    pub async fn broadcast(&self, envelope: Envelope) -> BroadcastResponse {
        let size = envelope.payload.len() + envelope.signature.len();
        let (code, info) = match self.take(envelope).await {
            Ok(()) => (Code::Success, String::new()),
            Err(refused) => refused,
        };
        self.trace(|| EventKind::ClientCall {
            direction: Direction::NodeToClient,
            method: "orderer.AtomicBroadcast/Broadcast",
            detail: format!("{size} bytes: {} {info}", code.as_str_name()).trim_end().to_owned(),
        });
        BroadcastResponse { status: code.into(), info }
    }

    async fn take(&self, envelope: Envelope) -> Result<(), (Code, String)> {
        let (chain, is_config) = self.classify(&envelope).map_err(|reason| (Code::BadRequest, reason))?;
        let resources = chain.resources();
        let now = self.clock.now();
        let refused = |refusal: Refusal| {
            let code = if refusal.is_forbidden() { Code::Forbidden } else { Code::BadRequest };
            (code, refusal.to_string())
        };
        let envelope = if is_config {
            let initial = |refusal: Refusal| {
                refused(refusal.within("config update for existing channel did not pass initial checks"))
            };
            resources.check(&envelope, now).map_err(initial)?;
            resources.configure(&envelope, &self.signer, now).map_err(refused)?
        } else {
            resources.check(&envelope, now).map_err(refused)?;
            envelope
        };
        let submission = Submission { envelope, sequence: resources.sequence(), is_config };
        chain.order(submission).await.map_err(|reason| (Code::ServiceUnavailable, reason.to_owned()))
    }

    fn classify(&self, envelope: &Envelope) -> Result<(Chain, bool), String> {
        let header = channel_header(envelope).map_err(|reason| format!("could not determine channel ID: {reason}"))?;
        let unknown = || {
            let why = "channel creation request not allowed because the orderer system channel is not defined";
            if self.release.has_system_channel() { why.to_owned() } else { NO_CHANNEL.to_owned() }
        };
        let chain = self.chain(&header.channel_id).ok_or_else(unknown)?;
        match HeaderType::try_from(header.r#type) {
            Ok(HeaderType::ConfigUpdate) => Ok((chain, true)),
            Ok(HeaderType::OrdererTransaction) if !self.release.has_system_channel() => {
                Err("message is of type that is no longer supported".to_owned())
            }
            Ok(HeaderType::Config | HeaderType::OrdererTransaction) => {
                Err("message is of type that cannot be processed directly".to_owned())
            }
            _ => Ok((chain, false)),
        }
    }
}
