//! The gRPC services of each kind of node.

use std::sync::Arc;

use fabric_primitives::limits::MAX_MESSAGE_BYTES;
use fabric_protos::discovery::discovery_server::DiscoveryServer;
use fabric_protos::gateway::gateway_server::GatewayServer;
use fabric_protos::protos::endorser_server::EndorserServer;
use tonic::service::{Routes, RoutesBuilder};

use crate::orderer::{self, Orderer};
use crate::peer::{self, Peer};
use crate::{discovery, endorser, gateway};

/// The services of a peer.
pub(crate) fn of_peer(peer: &Arc<Peer>) -> Routes {
    let mut routes = RoutesBuilder::default();
    routes.add_service(peer::deliver::service(peer));
    let endorser = EndorserServer::new(endorser::Service(Arc::clone(peer)));
    routes.add_service(
        endorser.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES),
    );
    routes.add_service(peer::snapshots::service(peer));
    let peer_section = &peer.configuration.peer;
    if peer_section.discovery.enabled {
        let discovery = DiscoveryServer::new(discovery::Service(Arc::clone(peer)));
        routes.add_service(discovery.max_encoding_message_size(MAX_MESSAGE_BYTES));
        // Fabric's gateway needs discovery, and is not served without it.
        if peer_section.gateway.enabled {
            let gateway = GatewayServer::new(gateway::Service(Arc::clone(peer)));
            routes.add_service(
                gateway.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES),
            );
        }
    }
    routes.routes()
}

/// The services of an orderer.
pub(crate) fn of_orderer(orderer: &Arc<Orderer>) -> Routes {
    let mut routes = RoutesBuilder::default();
    routes.add_service(orderer::service::service(orderer));
    routes.routes()
}
