//! A request for blocks: a signed envelope with a `SeekInfo`, decoded and checked without the
//! channel (`common/deliver/deliver.go`).

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fabric_protos::common::{ChannelHeader, Envelope, Payload, SignatureHeader};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::msp::expires_at;
use crate::node::Client;
use crate::policy::SignedData;

/// A decoded request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) channel: String,
    /// The encoded `SeekInfo`.
    pub(crate) seek: Vec<u8>,
    pub(crate) signed: SignedData,
    /// The expiry of the client's certificate.
    pub(crate) expires: Option<SystemTime>,
}

/// A node's requirements for a request's header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demands {
    pub(crate) now: SystemTime,
    /// The accepted deviation of the client's clock.
    pub(crate) window: Duration,
    /// Whether the header must contain the hash of the client's TLS certificate.
    pub(crate) mutual_tls: bool,
}

impl Request {
    /// Decodes an envelope. The error text is for logs; the client only gets a bad request status.
    pub(crate) fn open(envelope: Envelope, client: &Client, demands: Demands) -> Result<Self, String> {
        let message = Bytes::from(envelope.payload);
        let payload = Payload::decode(message.clone()).map_err(|error| error.to_string())?;
        let header = payload.header.ok_or("envelope has no header")?;
        let channel_header = ChannelHeader::decode(&*header.channel_header).map_err(|error| error.to_string())?;
        let signature_header = SignatureHeader::decode(&*header.signature_header).map_err(|error| error.to_string())?;
        check(&channel_header, client, demands)?;
        let identity = Bytes::from(signature_header.creator);
        Ok(Self {
            channel: channel_header.channel_id,
            seek: payload.data,
            expires: expires_at(&identity),
            signed: SignedData { message, identity, signature: envelope.signature.into() },
        })
    }
}

fn check(header: &ChannelHeader, client: &Client, demands: Demands) -> Result<(), String> {
    let timestamp = header.timestamp.ok_or("channel header in envelope must contain timestamp")?;
    let time = SystemTime::try_from(timestamp).map_err(|error| error.to_string())?;
    let apart = time.duration_since(demands.now).unwrap_or_else(|earlier| earlier.duration());
    if apart > demands.window {
        return Err(format!("envelope timestamp is {apart:?} apart from the time of this node"));
    }
    if demands.mutual_tls {
        let certificate = client.certificate.as_ref().ok_or("client didn't send a TLS certificate")?;
        if header.tls_cert_hash.is_empty() {
            return Err("client didn't include its TLS cert hash".to_owned());
        }
        if header.tls_cert_hash != Sha256::digest(certificate).as_slice() {
            return Err("the claimed TLS cert hash is not that of the TLS certificate".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fabric_protos::common::Header;
    use prost_types::Timestamp;

    fn client(certificate: Option<&'static [u8]>) -> Client {
        Client { address: ([127, 0, 0, 1], 1).into(), certificate: certificate.map(Bytes::from_static) }
    }

    fn envelope(channel_header: &ChannelHeader) -> Envelope {
        let header = Header { channel_header: channel_header.encode_to_vec(), signature_header: Vec::new() };
        let payload = Payload { header: Some(header), data: vec![1] };
        Envelope { payload: payload.encode_to_vec(), signature: vec![2] }
    }

    fn demands(mutual_tls: bool) -> Demands {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        Demands { now, window: Duration::from_secs(10), mutual_tls }
    }

    fn header(seconds: i64) -> ChannelHeader {
        ChannelHeader {
            channel_id: "c".into(),
            timestamp: Some(Timestamp { seconds, nanos: 0 }),
            ..ChannelHeader::default()
        }
    }

    #[test]
    fn client_clock_must_be_within_the_window() {
        for (seconds, good) in [(1000, true), (990, true), (1010, true), (989, false), (1011, false), (-1, false)] {
            let opened = Request::open(envelope(&header(seconds)), &client(None), demands(false));
            assert_eq!(opened.is_ok(), good, "{seconds}: {opened:?}");
        }
        let none = ChannelHeader { timestamp: None, ..header(0) };
        Request::open(envelope(&none), &client(None), demands(false)).unwrap_err();
        Request::open(Envelope::default(), &client(None), demands(false)).unwrap_err();
        Request::open(Envelope { payload: vec![0xff], signature: vec![] }, &client(None), demands(false)).unwrap_err();
    }

    #[test]
    fn mutual_tls_requires_the_certificate_hash_in_the_header() {
        let hash = |bytes: &[u8]| ChannelHeader { tls_cert_hash: Sha256::digest(bytes).to_vec(), ..header(1000) };
        for (header, shown, good) in [
            (hash(b"x"), Some(&b"x"[..]), true),
            (hash(b"y"), Some(b"x"), false),
            (header(1000), Some(b"x"), false),
            (hash(b"x"), None, false),
        ] {
            let opened = Request::open(envelope(&header), &client(shown), demands(true));
            assert_eq!(opened.is_ok(), good, "{opened:?}");
        }
    }
}
