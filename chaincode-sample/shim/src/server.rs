//! The server that peers connect to: gRPC service `protos.Chaincode`, and
//! beside it `grpc.health.v1.Health`.
//!
//! Binds, serves any number of peers and streams, and stops without cutting
//! off transactions. What a stream says is not known here.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fabric_protos::protos::ChaincodeMessage;
use fabric_protos::protos::chaincode_server::{self, ChaincodeServer, SERVICE_NAME};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tonic::{Request, Status, Streaming};
use tonic_health::ServingStatus;
use tracing::{info, warn};

use crate::chaincode::Runnable;
use crate::health::{self, WithHealth};
use crate::listener;
use crate::outbox::{Outbound, outbox};
use crate::protocol::Limits;
use crate::reload::ReloadingTls;
use crate::session::{Ending, Session};
use crate::tls::TlsError;
use crate::{Chaincode, Config, MAX_MESSAGE_BYTES};

/// How often, and for how long, an idle connection is asked whether it is
/// there, as in fabric-chaincode-go (`shim/internal/server.go`). Peers ping
/// as well; how often they may is not limited here.
const KEEPALIVE_INTERVAL: Duration = Duration::from_mins(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long connections may take to close once their streams have ended.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// What HTTP/2 lets a peer send before it is read, so that large values do
/// not go in small steps.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// Why a server cannot start or go on.
#[derive(Debug, thiserror::Error)]
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
    /// TLS is not possible.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The signals that stop a server cannot be received.
    #[error("cannot wait for SIGTERM and SIGINT")]
    Signals(#[source] io::Error),
    /// Serving failed.
    #[error("the server failed")]
    Serve(#[source] tonic::transport::Error),
}

/// A server to be started.
#[must_use = "a server does nothing until it is bound and serves"]
pub struct ServerBuilder {
    chaincode: Arc<dyn Runnable>,
    config: Config,
    shutdown: Option<BoxFuture<'static, ()>>,
}

/// A server that is bound to its address.
#[must_use = "a server answers nobody until it serves"]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<ReloadingTls>>,
    service: Service,
    stop_timeout: Duration,
    shutdown: BoxFuture<'static, ()>,
}

impl Server {
    /// A server for this chaincode.
    pub fn builder(chaincode: impl Chaincode, config: Config) -> ServerBuilder {
        ServerBuilder { chaincode: Arc::new(chaincode), config, shutdown: None }
    }

    /// Where it listens, with the port that it got.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until told to stop, then lets running transactions finish, for
    /// at most [`Config::stop_timeout`].
    ///
    /// # Errors
    ///
    /// When serving fails; being stopped is no error.
    pub async fn serve(self) -> Result<(), ServerError> {
        let ending = self.service.ending.clone();
        let streams = self.service.streams.clone();
        let stop = ending.stop.clone();
        let incoming = listener::connections(self.listener, self.tls, stop.clone());
        let service = ChaincodeServer::new(self.service)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (reporter, health) = tonic_health::server::health_reporter();
        health::report(&reporter, SERVICE_NAME, ServingStatus::Serving).await;
        let service = WithHealth::new(service, health);
        let serving = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .serve_with_incoming_shutdown(service, incoming, stop.cancelled_owned());
        let stopping = async {
            self.shutdown.await;
            info!("stopping");
            health::report(&reporter, SERVICE_NAME, ServingStatus::NotServing).await;
            ending.stop.cancel();
            streams.close();
            let ended = tokio::time::timeout(self.stop_timeout, streams.wait()).await;
            if ended.is_err() {
                warn!("transactions still run after {:?}", self.stop_timeout);
                ending.abort.cancel();
            }
            tokio::time::sleep(CLOSE_TIMEOUT).await;
        };
        let served = tokio::select! {
            served = serving => served.map_err(ServerError::Serve),
            () = stopping => Ok(()),
        };
        // Whatever the reason, nothing goes on behind the caller's back.
        ending.stop.cancel();
        ending.abort.cancel();
        served
    }
}

impl ServerBuilder {
    /// What tells the server to stop. Default: SIGTERM or SIGINT.
    pub fn shutdown(mut self, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
        self.shutdown = Some(Box::pin(shutdown));
        self
    }

    /// Reads the files and binds the address.
    ///
    /// # Errors
    ///
    /// When a file or the address cannot be used; the error names it.
    pub async fn bind(self) -> Result<Server, ServerError> {
        let Self { chaincode, config, shutdown } = self;
        let tls = config.tls.clone().map(ReloadingTls::load).transpose()?.map(Arc::new);
        let failed =
            |source: io::Error| ServerError::Bind { address: config.address.to_string(), source: in_words(source) };
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
                ending: Ending::default(),
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
    chaincode: Arc<dyn Runnable>,
    chaincode_id: Arc<str>,
    limits: Limits,
    ending: Ending,
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
        let conversation = session.converse(request.into_inner(), self.ending.clone());
        self.streams.spawn(conversation);
        Ok(tonic::Response::new(outbound))
    }
}

/// Resolves at the first SIGTERM or SIGINT. Received from now on, so that a
/// signal between binding and serving counts.
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

/// The usual causes of a failed bind, in words that are the same everywhere.
fn in_words(error: io::Error) -> io::Error {
    let words = match error.kind() {
        io::ErrorKind::AddrInUse => "address already in use",
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has this address",
        io::ErrorKind::PermissionDenied => "no permission to listen on this port",
        _ => return error,
    };
    io::Error::new(error.kind(), words)
}
