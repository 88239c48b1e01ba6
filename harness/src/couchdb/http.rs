//! Requests to a CouchDB: HTTP/1.1 in plain text, one short connection for each. What an answer means
//! is not known here.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fabric_network::couchdb::CouchDb;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Unfit;
use crate::console::error_text;

/// More than the names of as many databases as a test leaves; a larger answer is refused.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// What of a stranger's answer is shown.
const EXCERPT: usize = 200;

/// Everything of a database's name that is not plain.
const NOT_PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-');

/// The path of a database, or of a document in one.
pub(super) fn path(names: &[&str]) -> String {
    names.iter().flat_map(|name| ["/".to_owned(), utf8_percent_encode(name, NOT_PLAIN).to_string()]).collect()
}

/// Asks one CouchDB.
#[derive(Debug)]
pub(super) struct Client<'a> {
    couchdb: &'a CouchDb,
    bound: Duration,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    request: String,
    /// The address that answered.
    pub(super) from: IpAddr,
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

#[derive(Deserialize)]
struct Reason {
    reason: String,
}

impl<'a> Client<'a> {
    /// No request takes longer than `bound`.
    pub(super) fn new(couchdb: &'a CouchDb, bound: Duration) -> Self {
        Self { couchdb, bound }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, Unfit> {
        self.ask(Method::GET, path, String::new()).await
    }

    pub(super) async fn put(&self, path: &str, json: String) -> Result<Answer, Unfit> {
        self.ask(Method::PUT, path, json).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Answer, Unfit> {
        self.ask(Method::DELETE, path, String::new()).await
    }

    async fn ask(&self, method: Method, path: &str, json: String) -> Result<Answer, Unfit> {
        let exchange = timeout(self.bound, self.exchange(method, path, json)).await;
        exchange.unwrap_or_else(|_| Err(format!("no answer within {:.1?}", self.bound))).map_err(Unfit::Unreachable)
    }

    async fn exchange(&self, method: Method, path: &str, json: String) -> Result<Answer, String> {
        fn text(error: impl std::error::Error) -> String {
            error_text(&error)
        }
        let host = self.couchdb.host();
        let tcp = TcpStream::connect((host.as_str(), self.couchdb.port())).await.map_err(text)?;
        let from = tcp.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip().to_canonical());
        let asked = format!("{method} {path}");
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.couchdb.address())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, self.authorization().map_err(text)?)
            .body(Full::new(Bytes::from(json)))
            .map_err(text)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.map_err(text)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(text)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok(Answer { request: asked, from, status, body })
        };
        // Driven here and not by a task of its own, so that nothing of it outlives the bound.
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            _ = connection => answer.await,
        }
    }

    fn authorization(&self) -> Result<HeaderValue, header::InvalidHeaderValue> {
        let credentials = format!("{}:{}", self.couchdb.username(), self.couchdb.password().reveal());
        let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials)))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Answer {
    /// Whether user or password are the matter.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }

    /// Nothing, if the request was done.
    pub(super) fn check(&self) -> Result<(), Unfit> {
        if self.status.is_success() {
            return Ok(());
        }
        if self.is_refusal() {
            return Err(Unfit::Refused(self.reason()));
        }
        Err(Unfit::Answer { request: self.request.clone(), status: self.status.as_u16(), reason: self.reason() })
    }

    /// The content of the answer.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Unfit> {
        serde_json::from_slice(&self.body).map_err(|_| self.stranger())
    }

    /// The error of an answer that no CouchDB gives.
    pub(super) fn stranger(&self) -> Unfit {
        Unfit::Stranger(format!("{} {}", self.status, self.excerpt()))
    }

    /// What CouchDB gives as its reason, or else the beginning of the answer.
    pub(super) fn reason(&self) -> String {
        serde_json::from_slice::<Reason>(&self.body).map_or_else(|_| self.excerpt(), |answer| answer.reason)
    }

    /// The beginning of the answer, on one line.
    pub(super) fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(EXCERPT).collect();
        if line.is_empty() { "(an empty answer)".to_owned() } else { line }
    }
}
