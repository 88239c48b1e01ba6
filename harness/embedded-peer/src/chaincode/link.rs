//! One gRPC stream over one HTTP/2 connection, driven by its caller's polls.
//!
//! A peer has one stream per connection to a chaincode. Polling both in one task saves wake-ups,
//! and all ready messages leave in one write. This module knows gRPC frames and statuses but not
//! the messages.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture};
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::codegen::http::{HeaderMap, Request, Response, Version};

use super::frame::{FrameError, Frames};
use super::tls;

const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
const SEND_BUFFER: usize = 1024 * 1024;

/// The peer pings a server that was silent for `PING_AFTER`, and closes the connection after
/// `PING_TIMEOUT`.
const PING_AFTER: Duration = Duration::from_mins(1);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The gRPC method of a chaincode server.
const PATH: &str = "/protos.Chaincode/Connect";

/// A byte stream, with or without TLS.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

type Io = Box<dyn Transport>;

/// How a stream ended, with the texts of Go's gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The server ended the stream with status OK.
    Done,
    /// Any other status, from either side.
    Status { code: &'static str, message: String },
}

impl End {
    fn status(code: &'static str, message: impl Into<String>) -> Self {
        Self::Status { code, message: message.into() }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done => formatter.write_str("EOF"),
            Self::Status { code, message } => write!(formatter, "rpc error: code = {code} desc = {message}"),
        }
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        Self::status(error.code(), error.to_string())
    }
}

/// The stream.
pub(super) struct Link {
    connection: Connection<Io, Bytes>,
    ping: Option<PingPong>,
    send: SendStream<Bytes>,
    incoming: Incoming,
    frames: Frames,
    outgoing: VecDeque<Bytes>,
    outgoing_bytes: usize,
    health: Pin<Box<Sleep>>,
    last_received: Instant,
    awaits_pong: bool,
}

enum Incoming {
    Response(ResponseFuture),
    Body(RecvStream),
    /// The stream has ended; kept for later polls.
    Ended(End),
}

impl Link {
    /// Starts HTTP/2, waits for the server's settings and opens the stream. The error describes
    /// what the server did instead.
    pub(super) async fn open(io: Io, is_tls: bool, authority: &str) -> Result<Self, String> {
        let mut builder = Builder::new();
        builder
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .enable_push(false);
        let begun = builder.handshake::<_, Bytes>(io).await;
        let (mut requests, mut connection) = begun.map_err(|error| describe(&error))?;
        let mut ping = connection.ping_pong();
        if let Some(ping) = &mut ping {
            ping.send_ping(Ping::opaque()).map_err(|error| describe(&error))?;
            poll_fn(|context| {
                if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
                    let reason = ended.map_or_else(|error| describe(&error), |()| "the server closed it".to_owned());
                    return Poll::Ready(Err(reason));
                }
                ping.poll_pong(context).map(|pong| pong.map(drop).map_err(|error| describe(&error)))
            })
            .await?;
        }
        let scheme = if is_tls { "https" } else { "http" };
        let request = Request::post(format!("{scheme}://{authority}{PATH}"))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", concat!("embedded-peer/", env!("CARGO_PKG_VERSION")))
            .body(())
            .map_err(|error| error.to_string())?;
        poll_fn(|context| {
            if let Poll::Ready(ready) = requests.poll_ready(context) {
                return Poll::Ready(ready.map_err(|error| describe(&error)));
            }
            match Pin::new(&mut connection).poll(context) {
                Poll::Ready(_) => Poll::Ready(Err("the server closed it".to_owned())),
                Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        let (response, send) = requests.send_request(request, false).map_err(|error| describe(&error))?;
        let last_received = Instant::now();
        Ok(Self {
            connection,
            ping,
            send,
            incoming: Incoming::Response(response),
            frames: Frames::default(),
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            health: Box::pin(sleep_until(last_received + PING_AFTER)),
            last_received,
            awaits_pong: false,
        })
    }

    /// Queues a frame. [`Self::poll_send`] sends it.
    pub(super) fn queue(&mut self, frame: Bytes) {
        self.outgoing_bytes += frame.len();
        self.outgoing.push_back(frame);
    }

    /// The number of bytes waiting to be sent.
    pub(super) fn queued(&self) -> usize {
        self.outgoing_bytes
    }

    /// The decoder of received messages.
    pub(super) fn frames(&mut self) -> &mut Frames {
        &mut self.frames
    }

    /// Drives the connection: reads, writes, pings. Ready only when the stream has ended.
    pub(super) fn poll_drive(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.poll_send(context);
        if let Poll::Ready(ended) = Pin::new(&mut self.connection).poll(context)
            && !matches!(self.incoming, Incoming::Body(_) | Incoming::Ended(_))
        {
            // If there is a body, its remaining data is read first and carries the end.
            let end = ended.err().map_or_else(unavailable, |error| ended_by(&error));
            self.incoming = Incoming::Ended(end);
        }
        self.poll_health(context)
    }

    /// Reads one piece into [`Self::frames`]; `Some` if the stream has ended.
    pub(super) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<End>> {
        loop {
            match &mut self.incoming {
                Incoming::Ended(end) => return Poll::Ready(Some(end.clone())),
                Incoming::Response(response) => {
                    let response = ready!(Pin::new(response).poll(context));
                    self.incoming = match response {
                        Err(error) => Incoming::Ended(ended_by(&error)),
                        Ok(response) => match refused(&response) {
                            Some(end) => Incoming::Ended(end),
                            None => Incoming::Body(response.into_body()),
                        },
                    };
                    self.last_received = Instant::now();
                }
                Incoming::Body(body) => {
                    let end = match ready!(body.poll_data(context)) {
                        Some(Ok(piece)) => {
                            // Reopen the window immediately: decoded messages are answered or
                            // rejected, and waiting answers are limited.
                            let _ = body.flow_control().release_capacity(piece.len());
                            self.frames.push(piece);
                            self.last_received = Instant::now();
                            return Poll::Ready(None);
                        }
                        Some(Err(error)) => ended_by(&error),
                        None => match ready!(body.poll_trailers(context)) {
                            Ok(Some(trailers)) => status(&trailers),
                            Ok(None) => End::status("Internal", "server closed the stream without sending trailers"),
                            Err(error) => ended_by(&error),
                        },
                    };
                    self.incoming = Incoming::Ended(end);
                }
            }
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) {
        while let Some(frame) = self.outgoing.front_mut() {
            self.send.reserve_capacity(self.outgoing_bytes.min(SEND_BUFFER));
            let capacity = self.send.capacity();
            if capacity == 0 {
                match self.send.poll_capacity(context) {
                    Poll::Ready(Some(Ok(_))) => continue,
                    Poll::Pending => return,
                    // The stream has ended; the read side reports why.
                    Poll::Ready(_) => {
                        self.outgoing.clear();
                        self.outgoing_bytes = 0;
                        return;
                    }
                }
            }
            let piece = frame.split_to(capacity.min(frame.len()));
            if frame.is_empty() {
                self.outgoing.pop_front();
            }
            self.outgoing_bytes -= piece.len();
            if self.send.send_data(piece, false).is_err() {
                self.outgoing.clear();
                self.outgoing_bytes = 0;
            }
        }
    }

    /// Pings a silent server and closes the connection if it does not answer.
    fn poll_health(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let Some(ping) = &mut self.ping else { return Poll::Pending };
        if self.awaits_pong && ping.poll_pong(context).is_ready() {
            self.awaits_pong = false;
            self.last_received = Instant::now();
            self.health.as_mut().reset(self.last_received + PING_AFTER);
        }
        while self.health.as_mut().poll(context).is_ready() {
            if self.awaits_pong && self.last_received + PING_AFTER + PING_TIMEOUT <= Instant::now() {
                return Poll::Ready(End::status("Unavailable", "keepalive ping failed to receive ACK within timeout"));
            }
            if self.last_received + PING_AFTER > Instant::now() {
                // Data arrived since; an outstanding ping will be answered.
                self.health.as_mut().reset(self.last_received + PING_AFTER);
                continue;
            }
            if !self.awaits_pong && ping.send_ping(Ping::opaque()).is_ok() {
                self.awaits_pong = true;
            }
            self.health.as_mut().reset(Instant::now() + PING_TIMEOUT);
        }
        Poll::Pending
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.send.send_reset(Reason::CANCEL);
    }
}

fn unavailable() -> End {
    End::status("Unavailable", "error reading from server: EOF")
}

/// The end of the stream for an HTTP/2 error.
fn ended_by(error: &h2::Error) -> End {
    if let Some(io) = error.get_io() {
        let reason = match tls::connection_error(io) {
            // A killed server closes its connection.
            reason if reason.contains("broken pipe") || reason == "unexpected end of file" => "EOF".to_owned(),
            reason => reason,
        };
        return End::status("Unavailable", format!("error reading from server: {reason}"));
    }
    match error.reason() {
        Some(reason) if error.is_reset() => {
            let code = match reason {
                Reason::CANCEL => "Canceled",
                Reason::REFUSED_STREAM => "Unavailable",
                Reason::ENHANCE_YOUR_CALM => "ResourceExhausted",
                Reason::INADEQUATE_SECURITY => "PermissionDenied",
                _ => "Internal",
            };
            End::status(code, format!("stream terminated by RST_STREAM with error code: {}", reason_name(reason)))
        }
        Some(reason) if error.is_go_away() && error.is_remote() && reason != Reason::NO_ERROR => {
            let name = reason_name(reason);
            End::status("Unavailable", format!("closing transport due to: received prior goaway: code: {name}"))
        }
        _ if error.is_go_away() || error.is_io() => unavailable(),
        _ => End::status("Unavailable", format!("error reading from server: {error}")),
    }
}

fn reason_name(reason: Reason) -> String {
    let name = match reason {
        Reason::NO_ERROR => "NO_ERROR",
        Reason::PROTOCOL_ERROR => "PROTOCOL_ERROR",
        Reason::INTERNAL_ERROR => "INTERNAL_ERROR",
        Reason::FLOW_CONTROL_ERROR => "FLOW_CONTROL_ERROR",
        Reason::STREAM_CLOSED => "STREAM_CLOSED",
        Reason::FRAME_SIZE_ERROR => "FRAME_SIZE_ERROR",
        Reason::REFUSED_STREAM => "REFUSED_STREAM",
        Reason::CANCEL => "CANCEL",
        Reason::COMPRESSION_ERROR => "COMPRESSION_ERROR",
        Reason::CONNECT_ERROR => "CONNECT_ERROR",
        Reason::ENHANCE_YOUR_CALM => "ENHANCE_YOUR_CALM",
        Reason::INADEQUATE_SECURITY => "INADEQUATE_SECURITY",
        Reason::HTTP_1_1_REQUIRED => "HTTP_1_1_REQUIRED",
        other => return u32::from(other).to_string(),
    };
    name.to_owned()
}

/// Describes a failed start of HTTP/2.
fn describe(error: &h2::Error) -> String {
    match error.get_io() {
        Some(io) => tls::connection_error(io),
        None => format!("the server does not speak HTTP/2: {error}"),
    }
}

/// The end of a stream that the server rejected.
fn refused(response: &Response<RecvStream>) -> Option<End> {
    let headers = response.headers();
    if headers.contains_key("grpc-status") {
        return Some(status(headers));
    }
    let http = response.status();
    if http != 200 {
        let (code, number) = (if http == 404 { "Unimplemented" } else { "Unknown" }, http.as_u16());
        let text = http.canonical_reason().unwrap_or_default();
        let message = format!("unexpected HTTP status code received from server: {number} ({text})");
        return Some(End::status(code, message));
    }
    let content = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content.starts_with("application/grpc") {
        return None;
    }
    Some(End::status("Unknown", format!("malformed header: missing HTTP content-type: got {content:?}")))
}

/// The gRPC status in trailers.
fn status(trailers: &HeaderMap) -> End {
    let text = |name| trailers.get(name).and_then(|value| value.to_str().ok());
    let number: Option<i32> = text("grpc-status").and_then(|number| number.parse().ok());
    let code = match number {
        Some(0) => return End::Done,
        None => return End::status("Internal", "malformed grpc-status"),
        Some(1) => "Canceled",
        Some(3) => "InvalidArgument",
        Some(4) => "DeadlineExceeded",
        Some(5) => "NotFound",
        Some(6) => "AlreadyExists",
        Some(7) => "PermissionDenied",
        Some(8) => "ResourceExhausted",
        Some(9) => "FailedPrecondition",
        Some(10) => "Aborted",
        Some(11) => "OutOfRange",
        Some(12) => "Unimplemented",
        Some(13) => "Internal",
        Some(14) => "Unavailable",
        Some(15) => "DataLoss",
        Some(16) => "Unauthenticated",
        Some(_) => "Unknown",
    };
    End::status(code, percent_decoded(text("grpc-message").unwrap_or_default()))
}

/// Decodes gRPC's percent-encoded status messages.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let decoded = (*first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
