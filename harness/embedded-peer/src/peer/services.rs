//! The services of a peer's gRPC port, put together.

use std::sync::Arc;

use tonic::service::Routes;
use tonic::service::RoutesBuilder;

use super::Peer;

/// The largest message that a node takes or gives, in bytes (`internal/pkg/comm/config.go`).
pub const MAX_MESSAGE: usize = 100 * 1024 * 1024;

/// Every service of a peer.
pub(crate) fn routes(peer: &Arc<Peer>) -> Routes {
    let mut routes = RoutesBuilder::default();
    routes.add_service(crate::deliver::peer::service(peer));
    routes.routes()
}
