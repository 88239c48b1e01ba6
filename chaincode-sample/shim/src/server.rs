//! The server that peers connect to: the gRPC services `protos.Chaincode` and
//! `grpc.health.v1.Health`.
//!
//! Binds, serves any number of peers and streams, and stops gracefully. A session handles the messages
//! of each stream.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fabric_primitives::limits::MAX_MESSAGE_BYTES;
use fabric_protos::protos::ChaincodeMessage;
use fabric_protos::protos::chaincode_server::{self, ChaincodeServer, SERVICE_NAME};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tonic::{Request, Status, Streaming};
use tonic_health::ServingStatus;
use tracing::{info, warn};

use crate::chaincode::{Chaincode, DynChaincode};
use crate::config::Config;
use crate::health::{self, WithHealth};
use crate::listener;
use crate::outbox::{Outbound, outbox};
use crate::protocol::Limits;
use crate::reload::ReloadingTls;
use crate::session::{Session, Shutdown};
use crate::tls::TlsError;

/// Interval and timeout of HTTP/2 pings on idle connections, as in fabric-chaincode-go
/// (`shim/internal/server.go`). Pings from peers are not limited.
const KEEPALIVE_INTERVAL: Duration = Duration::from_mins(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The maximum of open streams of a connection. A peer opens one.
const MAX_STREAMS: u32 = 64;

/// The time that connections have to close after their streams have ended.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// HTTP/2 receive windows, large enough that large values do not need many window updates.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// Why a server cannot start or has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The TLS files cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The handlers of SIGTERM and SIGINT cannot be installed.
    #[error("cannot handle SIGTERM and SIGINT")]
    Signals(#[source] io::Error),
    /// Serving failed.
    #[error("the server failed")]
    Serve(#[source] tonic::transport::Error),
}

/// A server to start.
#[must_use = "a server does nothing until `bind` or `serve` is called"]
pub struct ServerBuilder {
    chaincode: Arc<dyn DynChaincode>,
    config: Config,
    shutdown: Option<BoxFuture<'static, ()>>,
}

/// A server that is bound to its address.
///
/// ```no_run
/// use chaincode_shim::{Config, Contract, Server};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let contract = Contract::new("Empty");
/// let server = Server::builder(contract, Config::from_env()?).bind().await?;
/// eprintln!("listening on {}", server.local_addr());
/// server.serve().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a server does nothing until `serve` is called"]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<ReloadingTls>>,
    service: Service,
    stop_timeout: Duration,
    shutdown: BoxFuture<'static, ()>,
}

impl Server {
    /// Configures a server for this chaincode.
    pub fn builder(chaincode: impl Chaincode, config: Config) -> ServerBuilder {
        ServerBuilder { chaincode: Arc::new(chaincode), config, shutdown: None }
    }

    /// The address that it is bound to, with the selected port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the shutdown signal, then waits up to [`Config::stop_timeout`] for running
    /// transactions.
    ///
    /// # Errors
    ///
    /// When serving fails. Returns `Ok` after a shutdown.
    pub async fn serve(self) -> Result<(), ServerError> {
        let shutdown = self.service.shutdown.clone();
        let streams = self.service.streams.clone();
        let stop = shutdown.stop.clone();
        let incoming = listener::connections(self.listener, self.tls, stop.clone());
        let service = ChaincodeServer::new(self.service)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (reporter, health) = tonic_health::server::health_reporter();
        health::set_status(&reporter, SERVICE_NAME, ServingStatus::Serving).await;
        let service = WithHealth::new(service, health);
        let serving = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .serve_with_incoming_shutdown(service, incoming, stop.cancelled_owned());
        let stopping = async {
            self.shutdown.await;
            info!("stopping");
            health::set_status(&reporter, SERVICE_NAME, ServingStatus::NotServing).await;
            shutdown.stop.cancel();
            streams.close();
            let ended = tokio::time::timeout(self.stop_timeout, streams.wait()).await;
            if ended.is_err() {
                warn!("transactions are still running after {:?}, aborting them", self.stop_timeout);
                shutdown.abort.cancel();
            }
            tokio::time::sleep(CLOSE_TIMEOUT).await;
        };
        let served = tokio::select! {
            served = serving => served.map_err(ServerError::Serve),
            () = stopping => Ok(()),
        };
        // No session may outlive this call.
        shutdown.stop.cancel();
        shutdown.abort.cancel();
        served
    }
}

impl ServerBuilder {
    /// Stops the server when this future resolves. Default: SIGTERM or SIGINT.
    pub fn shutdown(mut self, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
        self.shutdown = Some(Box::pin(shutdown));
        self
    }

    /// Reads the TLS files and binds the address.
    ///
    /// # Errors
    ///
    /// When a file is invalid or the address is not available; the error names it.
    pub async fn bind(self) -> Result<Server, ServerError> {
        let Self { chaincode, config, shutdown } = self;
        let tls = config.tls.clone().map(ReloadingTls::load).transpose()?.map(Arc::new);
        let failed =
            |source: io::Error| ServerError::Bind { address: config.address.to_string(), source: describe(source) };
        let listener = config.address.bind().await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shutdown = match shutdown {
            Some(shutdown) => shutdown,
            None => signals().map_err(ServerError::Signals)?,
        };
        Ok(Server {
            listener,
            address,
            tls,
            service: Service {
                chaincode,
                chaincode_id: config.chaincode_id.into(),
                limits: config.limits,
                shutdown: Shutdown::default(),
                streams: TaskTracker::new(),
            },
            stop_timeout: config.stop_timeout,
            shutdown,
        })
    }

    /// Binds and serves.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind) and [`Server::serve`].
    pub async fn serve(self) -> Result<(), ServerError> {
        self.bind().await?.serve().await
    }
}

struct Service {
    chaincode: Arc<dyn DynChaincode>,
    chaincode_id: Arc<str>,
    limits: Limits,
    shutdown: Shutdown,
    streams: TaskTracker,
}

#[tonic::async_trait]
impl chaincode_server::Chaincode for Service {
    type ConnectStream = Outbound;

    async fn connect(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<tonic::Response<Outbound>, Status> {
        let (outbox, outbound) = outbox();
        let chaincode = Arc::clone(&self.chaincode);
        let session = Session::new(chaincode, &self.chaincode_id, self.limits, outbox);
        self.streams.spawn(session.serve(request.into_inner(), self.shutdown.clone()));
        Ok(tonic::Response::new(outbound))
    }
}

/// Resolves at the first SIGTERM or SIGINT. The handlers are installed immediately, so that a signal
/// between `bind` and `serve` is not lost.
#[cfg(unix)]
fn signals() -> io::Result<BoxFuture<'static, ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    .boxed())
}

#[cfg(not(unix))]
fn signals() -> io::Result<BoxFuture<'static, ()>> {
    Ok(tokio::signal::ctrl_c().map(drop).boxed())
}

/// Replaces the usual errors of `bind` by texts that are the same on every system.
fn describe(error: io::Error) -> io::Error {
    let text = match error.kind() {
        io::ErrorKind::AddrInUse => "address already in use",
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has this address",
        io::ErrorKind::PermissionDenied => "permission denied",
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}
