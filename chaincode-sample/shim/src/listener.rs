//! Accepts connections and performs their TLS handshakes concurrently, so that a slow one does not
//! delay others.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use fabric_primitives::handshakes::Handshakes;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::reload::ReloadingTls;

/// The time limit of a handshake, as in fabric-chaincode-go (`shim/internal/server.go`).
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum of concurrent handshakes.
const MAX_HANDSHAKES: usize = 256;

/// The maximum of connections of one client address. A peer has one for each chaincode.
const MAX_CONNECTIONS: usize = 256;

/// Bytes to read from a socket at a time. With the 4 KiB of rustls, a batch of a range would need
/// four reads.
const READ_BYTES: usize = 32 * 1024;

/// The pause after a failed accept.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The open connections of each client address.
#[derive(Default)]
struct Clients(Mutex<HashMap<IpAddr, OfClient>>);

/// Counts the connections of a client address: one reference each, and one in [`Clients`].
type OfClient = Arc<()>;

impl Clients {
    /// Adds a connection, unless the address has too many.
    fn add(&self, client: IpAddr) -> Option<OfClient> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|_, connections| Arc::strong_count(connections) > 1);
        let connections = clients.entry(client).or_default();
        (Arc::strong_count(connections) <= MAX_CONNECTIONS).then(|| Arc::clone(connections))
    }
}

/// A connection, ready for HTTP/2.
pub(crate) struct Connection {
    transport: Transport,
    _of_client: OfClient,
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<BufReader<TcpStream>>>),
}

/// Accepts connections until `stop`, then frees the port.
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
    let clients = Arc::new(Clients::default());
    let mut handshakes: Handshakes<AbortHandle> = Handshakes::at_most(MAX_HANDSHAKES);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // The connection was reset, or there is no free file descriptor. In the latter case,
                // accepting again without a pause would be a busy loop.
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        if let Some(stalled) = handshakes.make_room(|handshake| !handshake.is_finished()) {
            stalled.abort();
        }
        let (clients, tls, ready) = (Arc::clone(&clients), tls.clone(), ready.clone());
        let handshake = tokio::spawn(async move {
            let Some(transport) = handshake_with(stream, peer, tls).await else { return };
            let Some(of_client) = clients.add(peer.ip()) else {
                warn!(%peer, "refused a connection: this address has {MAX_CONNECTIONS} already");
                return;
            };
            // Fails only when the server has ended.
            let _ = ready.send(Ok(Connection { transport, _of_client: of_client })).await;
        });
        handshakes.add(peer.ip(), handshake.abort_handle());
    }
}

async fn handshake_with(stream: TcpStream, peer: SocketAddr, tls: Option<Arc<ReloadingTls>>) -> Option<Transport> {
    // Messages are small and each one waits for the previous one.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    let Some(tls) = tls else {
        debug!(%peer, "connected without TLS");
        return Some(Transport::Plain(stream));
    };
    let config = tokio::task::spawn_blocking(move || tls.current()).await.ok()?;
    let stream = BufReader::with_capacity(READ_BYTES, stream);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => {
            debug!(%peer, "connected with TLS");
            Some(Transport::Tls(Box::new(stream)))
        }
        // The peer's log does not contain the reason.
        Ok(Err(error)) => {
            warn!(%peer, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            warn!(%peer, "TLS handshake timed out after {HANDSHAKE_TIMEOUT:?}");
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
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
