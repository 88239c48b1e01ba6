//! Runs the transactions of one stream.
//!
//! Knows tasks, not sockets: incoming messages are any [`Stream`], outgoing ones go to an
//! [`Outbox`].

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use fabric_protos::protos::ChaincodeMessage;
use futures::FutureExt;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::field::Empty;
use tracing::{Instrument, Span, debug, error, info_span};

use crate::chaincode::DynChaincode;
use crate::outbox::Outbox;
use crate::peer_stream::PeerStream;
use crate::protocol::{Call, CallKind, Limits, Outcome, Protocol, short};
use crate::response::Response;
use crate::stub::Stub;

/// Stops the sessions of a server.
#[derive(Clone, Default)]
pub(crate) struct Shutdown {
    /// Refuse new transactions and close each stream after its last running one.
    pub(crate) stop: CancellationToken,
    /// Close the streams immediately.
    pub(crate) abort: CancellationToken,
}

/// One stream and the chaincode that serves it.
pub(crate) struct Session {
    stream: Arc<PeerStream>,
    chaincode: Arc<dyn DynChaincode>,
}

impl Session {
    pub(crate) fn new(
        chaincode: Arc<dyn DynChaincode>,
        chaincode_id: &str,
        limits: Limits,
        outbox: Outbox,
    ) -> Arc<Self> {
        Arc::new(Self { stream: Arc::new(PeerStream::new(chaincode_id, limits, outbox)), chaincode })
    }

    /// Serves the peer until either side closes the stream.
    pub(crate) async fn serve<S>(self: Arc<Self>, incoming: S, shutdown: Shutdown)
    where
        S: Stream<Item = Result<ChaincodeMessage, Status>>,
    {
        let mut incoming = pin!(incoming);
        let mut closed = pin!(self.stream.closed());
        let mut abort = pin!(shutdown.abort.cancelled());
        let mut stop = pin!(shutdown.stop.cancelled().fuse());
        // Sends REGISTER.
        self.step(|_| ());
        let status = loop {
            let message = tokio::select! {
                biased;
                () = &mut closed => break None,
                () = &mut abort => break Some(Status::unavailable("the chaincode server has stopped")),
                () = &mut stop => {
                    self.step(Protocol::stop);
                    continue;
                }
                message = incoming.next() => message,
            };
            match message {
                Some(Ok(message)) => self.step(|protocol| protocol.receive(message)),
                Some(Err(status)) => {
                    // An undecodable message or a lost connection.
                    debug!(%status, "the stream from the peer failed");
                    break Some(status);
                }
                None => break None,
            }
            tokio::select! {
                biased;
                () = self.stream.ready_to_receive() => {}
                () = &mut abort => {}
            }
        };
        self.step(Protocol::disconnect);
        self.stream.close(status);
    }

    /// Changes the protocol state and starts the transactions that follow from it.
    fn step(self: &Arc<Self>, change: impl FnOnce(&mut Protocol<crate::peer_stream::Reply>)) {
        for call in self.stream.step(change) {
            tokio::spawn(Arc::clone(self).execute(call));
        }
    }

    /// Runs a transaction and reports its outcome. It is dropped if the stream closes first, since
    /// nobody could receive its response.
    async fn execute(self: Arc<Self>, call: Call) {
        let id = call.id;
        let span = info_span!("transaction", txid = short(&call.txid), channel = call.channel_id, function = Empty);
        let run = AssertUnwindSafe(self.run(call).instrument(span.clone())).catch_unwind();
        let outcome = tokio::select! {
            biased;
            outcome = run => outcome,
            () = self.stream.closed() => return,
        };
        let outcome = outcome.unwrap_or_else(|panic| {
            let text = panic_text(panic.as_ref());
            span.in_scope(|| error!(text, "the chaincode panicked"));
            Outcome::Answered { response: Response::error(format!("the chaincode panicked: {text}")), event: None }
        });
        self.step(|protocol| protocol.finish(id, outcome));
    }

    async fn run(&self, call: Call) -> Outcome {
        let kind = call.kind;
        let stub = match Stub::new(call, Arc::clone(&self.stream)) {
            Ok(stub) => stub,
            Err(reason) => return Outcome::Failed(reason),
        };
        let span = Span::current();
        if !span.is_disabled() {
            span.record("function", function_name(&stub));
        }
        let response = Arc::clone(&self.chaincode).run(kind, stub.clone()).await;
        debug!(status = response.status, "transaction done");
        if kind == CallKind::Init && response.status >= Response::ERROR {
            // The peer discards everything that a failed init wrote.
            return Outcome::Answered { response, event: stub.take_event() };
        }
        match stub.finish_write_batch().await {
            Ok(()) => Outcome::Answered { response, event: stub.take_event() },
            Err(error) => Outcome::Failed(format!("the write batch failed: {error}")),
        }
    }
}

/// The function's name, short enough for a log line.
fn function_name(stub: &Stub) -> String {
    stub.function().chars().take(64).collect()
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
