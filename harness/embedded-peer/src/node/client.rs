//! The client of a request to a node.

use std::net::SocketAddr;

use bytes::Bytes;
use tonic::{Request, Status};

/// The client of a request, in the request's extensions.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address.
    pub address: SocketAddr,
    /// Its TLS certificate, DER. It is verified only if the node requires one.
    pub certificate: Option<Bytes>,
}

impl Client {
    /// The client of a gRPC request.
    ///
    /// # Errors
    ///
    /// The server did not set it.
    pub(crate) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        request.extensions().get().cloned().ok_or_else(|| Status::internal("the connection is not known"))
    }
}
