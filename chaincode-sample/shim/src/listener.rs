//! Connections of peers: accepted, and with TLS their handshake done, side by
//! side, so that a slow one holds up nobody.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::reload::ReloadingTls;

/// How long a handshake may take, as in fabric-chaincode-go
/// (`shim/internal/server.go`).
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes at a time; further connections wait in the system's queue.
const MAX_HANDSHAKES: usize = 256;

/// What is read of a socket at a time. Left alone, rustls reads 4 KiB, and a
/// portion of a range comes in four pieces.
const READ_BYTES: usize = 32 * 1024;

/// How long to wait when the system has no file descriptor left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// A connection that is ready for HTTP/2.
pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<BufReader<TcpStream>>>),
}

/// Accepts until `stop`; then the port is free again.
pub(crate) fn connections(
    listener: TcpListener,
    tls: Option<Arc<ReloadingTls>>,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(16);
    tokio::spawn(async move {
        let accepting = accept_all(listener, tls, ready);
        tokio::select! {
            () = stop.cancelled() => {}
            () = accepting => {}
        }
    });
    ReceiverStream::new(connections)
}

async fn accept_all(
    listener: TcpListener,
    tls: Option<Arc<ReloadingTls>>,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    while let Ok(handshake) = Arc::clone(&handshakes).acquire_owned().await {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // A connection may be gone before it is accepted; without
                // file descriptors every further attempt fails at once.
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
                continue;
            }
        };
        let tls = tls.clone();
        let ready = ready.clone();
        tokio::spawn(async move {
            if let Some(connection) = shake_hands(stream, peer, tls).await {
                // The server has ended when nobody takes connections.
                let _ = ready.send(Ok(connection)).await;
            }
            drop(handshake);
        });
    }
}

async fn shake_hands(stream: TcpStream, peer: SocketAddr, tls: Option<Arc<ReloadingTls>>) -> Option<Connection> {
    // Messages are small and each waits for the one before.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "TCP_NODELAY could not be set");
    }
    let Some(tls) = tls else {
        debug!(%peer, "connected without TLS");
        return Some(Connection::Plain(stream));
    };
    let config = tokio::task::spawn_blocking(move || tls.current()).await.ok()?;
    let stream = BufReader::with_capacity(READ_BYTES, stream);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => {
            debug!(%peer, "connected with TLS");
            Some(Connection::Tls(Box::new(stream)))
        }
        // The peer's log does not say why its certificate was refused.
        Ok(Err(error)) => {
            warn!(%peer, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            warn!(%peer, "TLS handshake not done in {HANDSHAKE_TIMEOUT:?}");
            None
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
