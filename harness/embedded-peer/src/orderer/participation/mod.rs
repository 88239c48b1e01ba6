//! The channel participation API of an orderer's admin port
//! (`orderer/common/channelparticipation/restapi.go`).
//!
//! Paths, JSON and errors are here; `registrar` joins and leaves channels.

mod form;

use std::sync::Arc;

use bytes::Bytes;
use fabric_protos::common::Block;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, header};
use prost::Message as _;
use serde::Serialize;

use super::Orderer;
use super::registrar::{ChannelInfo, JoinError};
use crate::config::check_channel_name;

const BASE: &str = "/participation/v1/";
const CHANNELS: &str = "/participation/v1/channels";
const CONFIG_BLOCK: &str = "config-block";
const JSON: &str = "application/json";

type Answer = Response<Full<Bytes>>;

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListBody {
    system_channel: Option<()>,
    channels: Option<Vec<ShortBody>>,
}

#[derive(Serialize)]
struct ShortBody {
    name: String,
    url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InfoBody {
    name: String,
    url: String,
    consensus_relation: &'static str,
    status: &'static str,
    height: u64,
}

impl From<ChannelInfo> for InfoBody {
    fn from(info: ChannelInfo) -> Self {
        let url = format!("{CHANNELS}/{}", info.name);
        Self { name: info.name, url, consensus_relation: info.relation, status: info.status, height: info.height }
    }
}

/// Responds to a request.
pub(crate) async fn answer(orderer: Arc<Orderer>, request: Request<Incoming>) -> Answer {
    if !orderer.configuration.channel_participation.enabled {
        return error(StatusCode::SERVICE_UNAVAILABLE, "channel participation API is disabled");
    }
    let path = request.uri().path().to_owned();
    if path == BASE {
        return base(request.method());
    }
    if path == CHANNELS {
        return channels(&orderer, request).await;
    }
    let Some(below) = path.strip_prefix(CHANNELS).and_then(|rest| rest.strip_prefix('/')) else {
        return not_found();
    };
    match below.split('/').collect::<Vec<_>>()[..] {
        [name] if !name.is_empty() => channel(&orderer, &request, name),
        [name, "blocks", block] if orderer.release.has_participation_updates() && !block.is_empty() => {
            fetch(&orderer, &request, name, block)
        }
        _ => not_found(),
    }
}

async fn channels(orderer: &Arc<Orderer>, request: Request<Incoming>) -> Answer {
    let method = request.method().clone();
    let has_update = orderer.release.has_participation_updates();
    if method == Method::GET {
        return acceptable(&request).unwrap_or_else(|| list(orderer));
    }
    if method != Method::POST && (method != Method::PUT || !has_update) {
        let allowed = if has_update { "GET, POST, PUT" } else { "GET, POST" };
        return not_allowed(&format!("invalid request method: {method}"), allowed);
    }
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let Some(content_type) = content_type.map(str::to_owned).filter(|kind| kind.contains("multipart/form-data")) else {
        let kinds: Vec<_> = request.headers().get_all(header::CONTENT_TYPE).iter().collect();
        let kinds = kinds.iter().map(|kind| String::from_utf8_lossy(kind.as_bytes())).collect::<Vec<_>>().join(" ");
        return error(StatusCode::BAD_REQUEST, &format!("unsupported Content-Type: [{kinds}]"));
    };
    if let Some(refusal) = acceptable(&request) {
        return refusal;
    }
    let limit = orderer.configuration.channel_participation.max_request_body_size;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let Ok(body) = Limited::new(request.into_body(), limit).collect().await else {
        let reason = "cannot read form from request body: http: request body too large";
        return error(StatusCode::BAD_REQUEST, reason);
    };
    let body = body.to_bytes();
    if method == Method::PUT {
        update(orderer, &content_type, body).await
    } else {
        join(orderer, &content_type, body).await
    }
}

fn list(orderer: &Orderer) -> Answer {
    let channels: Vec<ShortBody> =
        orderer.channels().into_iter().map(|name| ShortBody { url: format!("{CHANNELS}/{name}"), name }).collect();
    let channels = (!channels.is_empty()).then_some(channels);
    uncached(json(StatusCode::OK, &ListBody { system_channel: None, channels }))
}

async fn join(orderer: &Arc<Orderer>, content_type: &str, body: Bytes) -> Answer {
    let bytes = match form::file(content_type, body, CONFIG_BLOCK).await {
        Ok(bytes) => bytes,
        Err(refused) => return error(StatusCode::BAD_REQUEST, &refused.to_string()),
    };
    let Ok(block) = Block::decode(bytes) else {
        let reason = format!(
            "cannot unmarshal file part {CONFIG_BLOCK} into a block: proto: cannot parse invalid wire-format data"
        );
        return error(StatusCode::BAD_REQUEST, &reason);
    };
    match orderer.join(&block) {
        Ok(info) => created(info),
        Err(refused) => join_error(&refused),
    }
}

fn join_error(refused: &JoinError) -> Answer {
    match refused {
        JoinError::AlreadyExists => not_allowed("cannot join: channel already exists", "GET, DELETE"),
        JoinError::Invalid(reason) => error(StatusCode::BAD_REQUEST, &format!("invalid join block: {reason}")),
        JoinError::Refused(reason) => error(StatusCode::BAD_REQUEST, &format!("cannot join: {reason}")),
    }
}

async fn update(orderer: &Arc<Orderer>, content_type: &str, body: Bytes) -> Answer {
    const KEY: &str = "config-update-envelope";
    let bytes = match form::file(content_type, body, KEY).await {
        Ok(bytes) => bytes,
        Err(refused) => return error(StatusCode::BAD_REQUEST, &refused.to_string()),
    };
    let Ok(envelope) = fabric_protos::common::Envelope::decode(bytes) else {
        let reason =
            format!("cannot unmarshal file part {KEY} into an envelope: proto: cannot parse invalid wire-format data");
        return error(StatusCode::BAD_REQUEST, &reason);
    };
    match orderer.update(envelope).await {
        Ok(info) => created(info),
        Err(refused) if refused == "channel does not exist" => not_allowed("cannot update: channel does not exist", ""),
        Err(reason) => error(StatusCode::BAD_REQUEST, &format!("cannot update: {reason}")),
    }
}

fn created(info: ChannelInfo) -> Answer {
    let body = InfoBody::from(info);
    let mut answer = json(StatusCode::CREATED, &body);
    if let Ok(location) = body.url.parse() {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    answer
}

fn channel(orderer: &Arc<Orderer>, request: &Request<Incoming>, name: &str) -> Answer {
    if request.method() != Method::GET && request.method() != Method::DELETE {
        return not_allowed(&format!("invalid request method: {}", request.method()), "GET, DELETE");
    }
    if let Some(refusal) = acceptable(request).or_else(|| illegal(name)) {
        return refusal;
    }
    if request.method() == Method::GET {
        return match orderer.channel(name) {
            Some(info) => uncached(json(StatusCode::OK, &InfoBody::from(info))),
            None => error(StatusCode::NOT_FOUND, "channel does not exist"),
        };
    }
    if orderer.leave(name) {
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        return answer;
    }
    error(StatusCode::NOT_FOUND, "cannot remove: channel does not exist")
}

fn fetch(orderer: &Arc<Orderer>, request: &Request<Incoming>, name: &str, id: &str) -> Answer {
    if request.method() != Method::GET {
        return not_allowed(&format!("invalid request method: {}", request.method()), "GET");
    }
    if let Some(refusal) = acceptable(request).or_else(|| illegal(name)) {
        return refusal;
    }
    if !["newest", "oldest", "config"].contains(&id) && id.parse::<u64>().is_err() {
        let reason = format!("invalid block ID: '{id}' not equal <newest|oldest|config|(number)>");
        return error(StatusCode::BAD_REQUEST, &reason);
    }
    match orderer.fetch(name, id) {
        Ok(block) => {
            let mut answer = Response::new(Full::from(block.encode_to_vec()));
            let kind = header::HeaderValue::from_static("application/octet-stream");
            answer.headers_mut().insert(header::CONTENT_TYPE, kind);
            uncached(answer)
        }
        Err(reason) => error(StatusCode::NOT_FOUND, &reason),
    }
}

/// The error for a client that does not accept JSON.
fn acceptable<T>(request: &Request<T>) -> Option<Answer> {
    let accepted = request.headers().get(header::ACCEPT)?.to_str().unwrap_or_default();
    let takes = |kind: &str| accepted.contains(kind);
    if accepted.is_empty() || takes(JSON) || takes("application/*") || takes("*/*") {
        return None;
    }
    Some(error(StatusCode::NOT_ACCEPTABLE, "response Content-Type is application/json only"))
}

/// The error for an invalid channel name (`common/configtx/validator.go`).
fn illegal(name: &str) -> Option<Answer> {
    let reason = check_channel_name(name).err()?;
    Some(error(StatusCode::BAD_REQUEST, &format!("invalid channel ID: {reason}")))
}

fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    // Go's encoder writes a trailing line feed.
    let text = escaped(&serde_json::to_string(body).unwrap_or_default()) + "\n";
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(JSON));
    answer
}

/// Escapes HTML's special characters as Go's encoder does. In JSON they occur only in strings.
fn escaped(json: &str) -> String {
    json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

fn uncached(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    answer
}

fn error(status: StatusCode, reason: &str) -> Answer {
    json(status, &ErrorBody { error: reason })
}

fn not_allowed(reason: &str, allowed: &'static str) -> Answer {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, reason);
    if !allowed.is_empty() {
        answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allowed));
    }
    answer
}

/// Go's response to an unknown path.
fn not_found() -> Answer {
    let mut answer = Response::new(Full::from("404 page not found\n"));
    *answer.status_mut() = StatusCode::NOT_FOUND;
    let kind = header::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    answer
}

/// The base path redirects to the channels.
fn base(method: &Method) -> Answer {
    if method != Method::GET {
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return answer;
    }
    let mut answer = Response::new(Full::from(format!("<a href=\"{CHANNELS}\">Found</a>.\n\n")));
    *answer.status_mut() = StatusCode::FOUND;
    answer.headers_mut().insert(header::LOCATION, header::HeaderValue::from_static(CHANNELS));
    let kind = header::HeaderValue::from_static("text/html; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_paths_are_answered_as_by_gos_router() {
        let header =
            |answer: &Answer, name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let found = base(&Method::GET);
        assert_eq!((found.status(), header(&found, "location").as_deref()), (StatusCode::FOUND, Some(CHANNELS)));
        assert_eq!(header(&found, "content-type").as_deref(), Some("text/html; charset=utf-8"));
        let refused = base(&Method::PUT);
        assert_eq!((refused.status(), refused.headers().len()), (StatusCode::METHOD_NOT_ALLOWED, 0));
        assert_eq!(header(&not_found(), "x-content-type-options").as_deref(), Some("nosniff"));
    }

    #[test]
    fn html_is_escaped() {
        assert_eq!(escaped(r#"{"error":"<a & b>"}"#), r#"{"error":"\u003ca \u0026 b\u003e"}"#);
    }

    #[test]
    fn channel_names_are_checked_as_in_fabric() {
        for name in ["a", "my-channel.0", &"a".repeat(249)] {
            assert_eq!(check_channel_name(name), Ok(()), "{name}");
        }
        for name in ["", "A", "aB", "0a", "-a", "a_b", "ä", &"a".repeat(250)] {
            assert!(check_channel_name(name).is_err(), "{name}");
        }
    }
}
