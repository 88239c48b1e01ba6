//! A node's listeners: gRPC or HTTP/1.1 over TLS.

use std::time::Duration;

use bytes::Bytes;
use fabric_primitives::handshakes::Handshakes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::service::Routes;
use tower::Service as _;

use crate::grpc_go;
use crate::node::{Client, Lifetime};

/// The timeout of a TLS handshake (`comm.GRPCServer`'s connection timeout).
const HANDSHAKE_BOUND: Duration = Duration::from_secs(5);

/// The maximum of concurrent handshakes.
const MAX_HANDSHAKES: usize = 256;

/// How many streams a connection may have open at a time; a client waits with further calls.
const MAX_STREAMS: u32 = 4096;

/// How many reset streams a connection may have: clients that cancel many calls are not attackers here.
const RESET_STREAMS: usize = 10_000;

const WINDOW: u32 = 1024 * 1024;

/// Serves gRPC on a listener until the node stops.
pub(crate) fn serve_grpc(listener: TcpListener, tls: TlsAcceptor, routes: Routes, life: &Lifetime) {
    let life_of_connections = life.clone();
    let routes = routes.prepare();
    accept(listener, tls, life, move |stream, client| {
        let (routes, life) = (routes.clone(), life_of_connections.clone());
        async move {
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(client.clone());
                let answer = routes.clone().call(request);
                async move { answer.await.map(grpc_go::response) }
            });
            let mut http = hyper::server::conn::http2::Builder::new(life);
            http.initial_stream_window_size(WINDOW)
                .initial_connection_window_size(4 * WINDOW)
                .max_concurrent_streams(MAX_STREAMS)
                .max_pending_accept_reset_streams(RESET_STREAMS)
                .max_local_error_reset_streams(RESET_STREAMS);
            http.serve_connection(TokioIo::new(stream), service).await
        }
    });
}

/// Serves HTTP/1.1 on a listener until the node stops. Each request has its [`Client`].
pub(crate) fn serve_http<F, R, B>(listener: TcpListener, tls: TlsAcceptor, answer: F, life: &Lifetime)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: hyper::body::Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    accept(listener, tls, life, move |stream, client| {
        let answer = answer.clone();
        async move {
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(client.clone());
                let answer = answer(request);
                async move { Ok::<_, std::convert::Infallible>(answer.await) }
            });
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
        }
    });
}

fn accept<C, F>(listener: TcpListener, tls: TlsAcceptor, life: &Lifetime, connection: C)
where
    C: Fn(TlsStream<TcpStream>, Client) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), hyper::Error>> + Send + 'static,
{
    let connections = life.clone();
    life.spawn(async move {
        let mut handshakes: Handshakes<oneshot::Sender<()>> = Handshakes::at_most(MAX_HANDSHAKES);
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, for example: some may be closed meanwhile.
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            };
            drop(handshakes.make_room(|handshake| !handshake.is_closed()));
            let (handshake, given_up) = oneshot::channel();
            handshakes.add(address.ip(), handshake);
            let (tls, connection) = (tls.clone(), connection.clone());
            connections.spawn(async move {
                let _ = stream.set_nodelay(true);
                let accepted = tokio::select! {
                    accepted = tokio::time::timeout(HANDSHAKE_BOUND, tls.accept(stream)) => accepted,
                    _ = given_up => {
                        tracing::debug!("TLS handshake with {address} gave way to another one");
                        return;
                    }
                };
                match accepted {
                    Ok(Ok(stream)) => {
                        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                        let certificate = certificate.map(|shown| Bytes::copy_from_slice(shown));
                        if let Err(error) = connection(stream, Client { address, certificate }).await {
                            tracing::debug!("connection from {address} failed: {error}");
                        }
                    }
                    Ok(Err(error)) => tracing::debug!("TLS handshake with {address} failed: {error}"),
                    Err(_) => tracing::debug!("TLS handshake with {address} timed out"),
                }
            });
        }
    });
}
