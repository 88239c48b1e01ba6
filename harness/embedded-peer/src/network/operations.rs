//! A node's operations service (`core/operations`): health, version, and the metrics of version and ledger
//! height. It cannot change the log level.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use fabric_network::release::Release;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, header};
use serde::Serialize;

use crate::node::Client;
use crate::orderer::Orderer;
use crate::peer::Peer;

/// The only metrics provider that is served.
const PROMETHEUS: &str = "prometheus";
const JSON: &str = "application/json";

/// The node of an operations service.
#[derive(Clone, Debug)]
pub(super) enum Operated {
    /// A peer.
    Peer(Arc<Peer>),
    /// An orderer.
    Orderer(Arc<Orderer>),
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    time: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    #[serde(rename = "CommitSHA")]
    commit_sha: &'static str,
    version: String,
}

impl Operated {
    fn release(&self) -> Release {
        match self {
            Self::Peer(peer) => peer.release,
            Self::Orderer(orderer) => orderer.release,
        }
    }

    fn metrics(&self) -> &str {
        match self {
            Self::Peer(peer) => &peer.configuration.metrics.provider,
            Self::Orderer(orderer) => &orderer.configuration.metrics.provider,
        }
    }

    fn now(&self) -> SystemTime {
        match self {
            Self::Peer(peer) => peer.clock.now(),
            Self::Orderer(orderer) => orderer.clock.now(),
        }
    }

    /// The ledger height of each channel.
    fn heights(&self) -> Vec<(String, u64)> {
        match self {
            Self::Peer(peer) => {
                peer.joined().into_iter().map(|(name, channel)| (name, channel.ledger.height())).collect()
            }
            Self::Orderer(orderer) => {
                let channels = orderer.channels().into_iter();
                channels
                    .filter_map(|name| Some((orderer.channel(&name)?.height, name)))
                    .map(|(h, name)| (name, h))
                    .collect()
            }
        }
    }

    /// Responds to a request.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let has_metrics = self.metrics() == PROMETHEUS;
        if !(["/healthz", "/version"].contains(&path) || (path == "/metrics" && has_metrics)) {
            return plain(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n".to_owned());
        }
        if request.method() != Method::GET {
            return plain(StatusCode::METHOD_NOT_ALLOWED, JSON, String::new());
        }
        match path {
            "/healthz" => {
                let time = prost_types::Timestamp::from(self.now()).to_string();
                json(&Health { status: "OK", time })
            }
            "/version" => json(&Version { commit_sha: "", version: format!("v{}", self.release()) }),
            // Metrics require a client certificate.
            _ if request.extensions().get::<Client>().is_none_or(|client| client.certificate.is_none()) => {
                plain(StatusCode::UNAUTHORIZED, "text/plain; charset=utf-8", String::new())
            }
            _ => plain(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.exposition()),
        }
    }

    /// The metrics, in Prometheus' text format.
    fn exposition(&self) -> String {
        let mut text = format!("# TYPE fabric_version gauge\nfabric_version{{version=\"v{}\"}} 1\n", self.release());
        text.push_str("# TYPE ledger_blockchain_height gauge\n");
        for (channel, height) in self.heights() {
            // No character of a channel's name needs escaping.
            let _ = writeln!(text, "ledger_blockchain_height{{channel=\"{channel}\"}} {height}");
        }
        text
    }
}

fn json(body: &impl Serialize) -> Response<Full<Bytes>> {
    // Strings always serialize.
    plain(StatusCode::OK, JSON, serde_json::to_string(body).unwrap_or_default())
}

fn plain(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
