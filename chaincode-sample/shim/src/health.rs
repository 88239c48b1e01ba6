//! The health service (`grpc.health.v1.Health`), on the port of the chaincode service.
//!
//! It reports SERVING from the start until the server stops; contracts have no influence on it.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures::future::Either;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Two services, selected by the path of the request.
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

/// Sets the status of the whole server and of this service.
pub(crate) async fn set_status(reporter: &HealthReporter, service: &str, status: ServingStatus) {
    for name in ["", service] {
        reporter.set_service_status(name, status).await;
    }
}
