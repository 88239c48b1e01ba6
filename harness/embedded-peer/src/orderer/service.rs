//! The services of an orderer's gRPC port, put together.

use std::sync::Arc;

use tonic::service::{Routes, RoutesBuilder};

use super::Orderer;

/// Every service of an orderer.
pub(crate) fn routes(_orderer: &Arc<Orderer>) -> Routes {
    RoutesBuilder::default().routes()
}
