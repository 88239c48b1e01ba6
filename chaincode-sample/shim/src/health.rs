//! The health service (`grpc.health.v1.Health`) beside the chaincode's own,
//! on the same port and with the same TLS.
//!
//! Healthy from the first connection on until the server is told to stop; what
//! a contract thinks of itself is not asked.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures::future::Either;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Two services, told apart by the path of a request.
#[derive(Clone)]
pub(crate) struct WithHealth<C, H> {
    chaincode: C,
    health: H,
}

impl<C, H> WithHealth<C, H> {
    pub(crate) fn new(chaincode: C, health: H) -> Self {
        Self { chaincode, health }
    }
}

impl<C, H> Service<http::Request<Body>> for WithHealth<C, H>
where
    C: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    H: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + NamedService,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Either<H::Future, C::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Services that tonic generates are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path().strip_prefix('/');
        let is_health = path.and_then(|path| path.strip_prefix(H::NAME)).is_some_and(|rest| rest.starts_with('/'));
        if is_health { Either::Left(self.health.call(request)) } else { Either::Right(self.chaincode.call(request)) }
    }
}

/// Tells everybody who asks, or watches, about the whole server and about
/// this service of it.
pub(crate) async fn report(reporter: &HealthReporter, service: &str, status: ServingStatus) {
    for name in ["", service] {
        reporter.set_service_status(name, status).await;
    }
}
