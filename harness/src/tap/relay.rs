//! One connection: from the peer's TLS to the chaincode server's, and everything in between both ways.

use super::Keys;
use super::http2::{Seen, Watcher};
use crate::journal::{Content, Journal, Party, decode};
use embedded_peer::trace::Direction;
use fabric_protos::protos::ChaincodeMessage;
use prost::Message as _;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// How long TCP and TLS may take on each side.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How much is passed on at a time, in bytes.
const PIECE: usize = 32 * 1024;

/// The first byte of TLS.
const TLS_HANDSHAKE: u8 = 22;

/// What a tap passes on, and how.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) keys: Keys,
    pub(super) chaincode: Party,
    pub(super) server: SocketAddr,
    pub(super) server_name: ServerName<'static>,
    pub(super) journal: Journal,
}

impl Relay {
    /// Passes on one connection until either side ends it.
    pub(super) async fn pass(&self, stream: TcpStream) {
        if let Err((peer, error)) = self.try_pass(stream).await {
            self.note(&self.chaincode, &peer, "connection failed", error, true);
        }
    }

    async fn try_pass(&self, stream: TcpStream) -> Result<(), (Party, String)> {
        let unknown = &self.keys.some_peer;
        let failed = |peer: &Party, what: &str, error: io::Error| (peer.clone(), format!("{what}: {error}"));
        let _ = stream.set_nodelay(true);
        let mut first = [0];
        let peeked = bounded(stream.peek(&mut first)).await.map_err(|error| failed(unknown, "the peer", error))?;
        let server = bounded(TcpStream::connect(self.server)).await;
        let server = server.map_err(|error| {
            // The nearest to a refusal of one who has accepted already.
            let _ = stream.set_zero_linger();
            failed(unknown, "the chaincode server", error)
        })?;
        let _ = server.set_nodelay(true);
        if peeked == 0 {
            return Ok(());
        }
        if first != [TLS_HANDSHAKE] {
            self.note(unknown, &self.chaincode, "connect", "without TLS".to_owned(), false);
            self.relay(unknown, stream, server).await;
            return Ok(());
        }
        let acceptor = TlsAcceptor::from(self.keys.server.clone());
        let accepted = bounded(acceptor.accept(stream)).await;
        let accepted = accepted.map_err(|error| failed(unknown, "TLS with the peer", error))?;
        let shown =
            accepted.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|first| first.to_vec());
        let (peer, client, with) = match shown {
            None => (unknown, &self.keys.anonymous, "no client certificate".to_owned()),
            Some(certificate) => {
                let Some((peer, client)) = self.keys.clients.get(&certificate) else {
                    let error = io::Error::other("the client certificate is not of a peer of this network");
                    return Err(failed(unknown, "the peer", error));
                };
                (peer, client, format!("client certificate of {}", peer.name))
            }
        };
        let connector = TlsConnector::from(client.clone());
        let connected = bounded(connector.connect(self.server_name.clone(), server)).await;
        let connected = connected.map_err(|error| failed(peer, "TLS with the chaincode server", error))?;
        self.note(peer, &self.chaincode, "connect", format!("with TLS, {with}"), false);
        self.relay(peer, accepted, connected).await;
        Ok(())
    }

    async fn relay(&self, peer: &Party, of_peer: impl AsyncRead + AsyncWrite, of_server: impl AsyncRead + AsyncWrite) {
        let (from_peer, to_peer) = tokio::io::split(of_peer);
        let (from_server, to_server) = tokio::io::split(of_server);
        let there = |seen| self.seen(peer, Direction::PeerToChaincode, seen);
        let back = |seen| self.seen(peer, Direction::ChaincodeToPeer, seen);
        let passed = tokio::try_join!(
            pump(from_peer, to_server, Watcher::of_client(), there),
            pump(from_server, to_peer, Watcher::of_server(), back),
        );
        let how = passed.map_or_else(|error| error.to_string(), |_| String::new());
        self.note(peer, &self.chaincode, "disconnected", how, false);
    }

    fn seen(&self, peer: &Party, direction: Direction, seen: Seen) {
        let to_chaincode = direction == Direction::PeerToChaincode;
        let (from, to) = if to_chaincode { (peer, &self.chaincode) } else { (&self.chaincode, peer) };
        match seen {
            Seen::Message(bytes) => self.journal.note(from, to, || message(bytes, direction)),
            Seen::Opaque(size) => {
                self.note(from, to, "message", format!("{size} bytes, too long or compressed, and not decoded"), false);
            }
            // The peer ends its stream with its last message; the chaincode only when it closes the stream.
            Seen::End => self.note(from, to, "stream ended", String::new(), !to_chaincode),
            // After its end, which has been noted.
            Seen::Reset(0) => {}
            Seen::Reset(code) => self.note(from, to, "stream ended", format!("HTTP/2 error {code}"), true),
            Seen::GoAway(code) => self.note(from, to, "connection ends", format!("HTTP/2 error {code}"), code != 0),
            Seen::Lost => self.note(from, to, "bytes", "not HTTP/2, and not decoded".to_owned(), true),
        }
    }

    fn note(&self, from: &Party, to: &Party, kind: &str, text: String, failed: bool) {
        let kind = kind.to_owned();
        self.journal.note(from, to, || Content { kind, text, failed, ..Content::default() });
    }
}

fn message(bytes: Vec<u8>, direction: Direction) -> Content {
    let size = bytes.len();
    if let Ok(message) = ChaincodeMessage::decode(bytes::Bytes::from(bytes)) {
        return decode::chaincode(&message, direction);
    }
    let text = format!("{size} bytes that are no ChaincodeMessage");
    Content { kind: "message".to_owned(), text, failed: true, ..Content::default() }
}

/// Passes on until the end, and that as well.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut watcher: Watcher,
    mut report: impl FnMut(Seen),
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = match from.read(&mut piece).await {
            // Without TLS's own farewell: the connection is gone all the same.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            read => read?,
        };
        if length == 0 {
            return to.shutdown().await;
        }
        // Before it is on its way, so that a question is noted before its answer.
        watcher.read(&piece[..length], &mut report);
        to.write_all(&piece[..length]).await?;
        to.flush().await?;
    }
}

async fn bounded<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let bound = tokio::time::timeout(HANDSHAKE, work).await;
    bound.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within 10 s")))
}
