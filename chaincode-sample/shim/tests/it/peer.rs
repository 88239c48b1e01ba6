//! A peer for tests: connects to a chaincode server, registers it, runs transactions on an in-memory
//! ledger, and records every message.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fabric_protos::common::{ChannelHeader, Header, HeaderType, SignatureHeader};
use fabric_protos::protos::chaincode_client::ChaincodeClient;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{
    ChaincodeEvent, ChaincodeId, ChaincodeInput, ChaincodeMessage, ChaincodeProposalPayload, DelState, GetState,
    GetStateByRange, GetStateMultiple, GetStateMultipleResult, Proposal, PutState, QueryMetadata, QueryResponse,
    QueryResponseMetadata, QueryResultBytes, QueryStateClose, QueryStateNext, Response, SignedProposal,
    WriteBatchState,
};
use fabric_protos::queryresult::Kv;
use hyper_util::rt::TokioIo;
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use super::certificates::Pair;

/// The time limit of every wait.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The number of results in one batch of a range.
const BATCH_SIZE: usize = 3;

/// How to connect to a chaincode server.
#[derive(Clone, Default)]
pub struct Dial<'a> {
    /// The trusted CA; `None` disables TLS.
    pub ca: Option<&'a str>,
    /// The client certificate.
    pub client: Option<&'a Pair>,
    /// The TLS versions to offer; `None` is 1.3 and 1.2.
    pub versions: Option<&'static [&'static SupportedProtocolVersion]>,
}

/// A peer with one stream to a chaincode.
pub struct Peer {
    to: mpsc::UnboundedSender<ChaincodeMessage>,
    from: Streaming<ChaincodeMessage>,
    _channel: Channel,
    /// The package ID with which the chaincode registered.
    pub chaincode_id: String,
    /// The committed state.
    pub state: BTreeMap<String, Vec<u8>>,
    /// The remaining results of each open cursor.
    pub cursors: BTreeMap<String, Vec<Kv>>,
    /// Every message, one line each.
    pub log: Vec<String>,
    transactions: u32,
}

/// The outcome of a transaction.
#[derive(Debug)]
pub struct Outcome {
    /// The response; an ERROR message has status 0.
    pub response: Response,
    /// The event.
    pub event: Option<ChaincodeEvent>,
}

impl Outcome {
    /// The payload of a successful transaction.
    pub fn text(&self) -> String {
        assert_eq!(self.response.status, 200, "{}", self.response.message);
        String::from_utf8(self.response.payload.clone()).unwrap()
    }

    /// Status and message of a failed transaction.
    pub fn failure(&self) -> (i32, &str) {
        (self.response.status, &self.response.message)
    }
}

/// Opens a connection; the error is the client's.
pub async fn dial(address: SocketAddr, dial: Dial<'_>) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let tls = dial.ca.map(|ca| connector(ca, &dial));
    let connect = tower::service_fn(move |_| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let Some(tls) = tls else {
                return Ok(TokioIo::new(Either::Plain(stream)));
            };
            let name = ServerName::IpAddress(address.ip().into());
            let stream = tls.connect(name, stream).await?;
            Ok::<_, std::io::Error>(TokioIo::new(Either::Tls(Box::new(stream))))
        }
    });
    let connected = endpoint.connect_with_connector(connect);
    let connected = tokio::time::timeout(TIMEOUT, connected).await;
    connected.map_err(|_| "timed out connecting".to_owned())?.map_err(|error| format!("{error:?}"))
}

fn connector(ca: &str, dial: &Dial<'_>) -> tokio_rustls::TlsConnector {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let versions = dial.versions.unwrap_or(rustls::DEFAULT_VERSIONS);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match dial.client {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![chain], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config).into()
}

impl Peer {
    /// Connects and registers the chaincode, like a peer of Fabric 2.5.
    pub async fn connect(address: SocketAddr, how: Dial<'_>) -> Result<Self, String> {
        Self::connect_offering(address, how, b"").await
    }

    /// Connects and registers the chaincode with this payload of READY.
    pub async fn connect_offering(address: SocketAddr, how: Dial<'_>, ready: &[u8]) -> Result<Self, String> {
        let mut peer = Self::open(dial(address, how).await?).await?;
        let register = peer.receive().await.ok_or("no REGISTER was sent")?;
        assert_eq!(register.r#type(), Type::Register);
        peer.chaincode_id = ChaincodeId::decode(register.payload).unwrap().name;
        peer.send(Type::Registered, "", b"");
        peer.send(Type::Ready, "", ready);
        peer.log.clear();
        Ok(peer)
    }

    /// Opens a stream without sending a message.
    pub async fn open(channel: Channel) -> Result<Self, String> {
        let (to, outgoing) = mpsc::unbounded_channel();
        let mut client = ChaincodeClient::new(channel.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        let answer = client.connect(UnboundedReceiverStream::new(outgoing));
        let answer = tokio::time::timeout(TIMEOUT, answer).await;
        let answer = answer.map_err(|_| "timed out opening a stream".to_owned())?;
        Ok(Self {
            to,
            from: answer.map_err(|status| format!("{status:?}"))?.into_inner(),
            _channel: channel,
            chaincode_id: String::new(),
            state: BTreeMap::new(),
            cursors: BTreeMap::new(),
            log: Vec::new(),
            transactions: 0,
        })
    }

    /// Sends a message on channel `mychannel`.
    pub fn send(&mut self, kind: Type, txid: &str, payload: &[u8]) {
        self.send_message(ChaincodeMessage {
            r#type: kind.into(),
            txid: txid.to_owned(),
            channel_id: "mychannel".to_owned(),
            payload: payload.to_vec().into(),
            ..ChaincodeMessage::default()
        });
    }

    /// Sends this message.
    pub fn send_message(&mut self, message: ChaincodeMessage) {
        self.log.push(format!("P>C {}", message.r#type().as_str_name()));
        self.to.send(message).expect("the stream is closed");
    }

    /// The next message, or `None` at the end of the stream.
    pub async fn receive(&mut self) -> Option<ChaincodeMessage> {
        let message = tokio::time::timeout(TIMEOUT, self.from.message()).await;
        let message = message.expect("timed out waiting for a message").ok().flatten()?;
        self.log.push(format!("C>P {}", message.r#type().as_str_name()));
        Some(message)
    }

    /// Waits for the end of the stream. Panics if there is another message.
    pub async fn end(&mut self) -> Result<(), tonic::Status> {
        let message = tokio::time::timeout(TIMEOUT, self.from.message()).await;
        match message.expect("timed out waiting for the end of the stream")? {
            None => Ok(()),
            Some(message) => panic!("expected the end, got {message:?}"),
        }
    }

    /// Sends a transaction and returns its ID.
    pub fn begin(&mut self, kind: Type, args: &[&str]) -> String {
        self.transactions += 1;
        let txid = format!("{:064}", self.transactions);
        let input = ChaincodeInput {
            args: args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
            ..ChaincodeInput::default()
        };
        self.send_message(ChaincodeMessage {
            r#type: kind.into(),
            txid: txid.clone(),
            channel_id: "mychannel".to_owned(),
            payload: input.encode_to_vec().into(),
            proposal: Some(proposal()),
            ..ChaincodeMessage::default()
        });
        txid
    }

    /// Runs a transaction and, if it succeeds, commits its writes.
    pub async fn invoke(&mut self, args: &[&str]) -> Outcome {
        let txid = self.begin(Type::Transaction, args);
        let outcomes = self.serve(1).await;
        let (ended, outcome) = outcomes.into_iter().next().unwrap();
        assert_eq!(ended, txid);
        outcome
    }

    /// Answers requests until this many transactions have ended.
    pub async fn serve(&mut self, transactions: usize) -> Vec<(String, Outcome)> {
        let mut writes: BTreeMap<String, Vec<PutState>> = BTreeMap::new();
        let mut ended = Vec::new();
        while ended.len() < transactions {
            let message = self.receive().await.expect("the stream ended");
            let txid = message.txid.clone();
            let payload = message.payload.clone();
            match message.r#type() {
                Type::Completed | Type::Error => {
                    let outcome = outcome(message);
                    let written = writes.remove(&txid).unwrap_or_default();
                    if outcome.response.status < 400 {
                        self.commit(written);
                    }
                    ended.push((txid, outcome));
                }
                Type::PutState => {
                    let put = PutState::decode(payload).unwrap();
                    writes.entry(txid.clone()).or_default().push(put);
                    self.send(Type::Response, &txid, b"");
                }
                Type::DelState => {
                    let delete = DelState::decode(payload).unwrap();
                    let put = PutState { key: delete.key, ..PutState::default() };
                    writes.entry(txid.clone()).or_default().push(put);
                    self.send(Type::Response, &txid, b"");
                }
                Type::WriteBatchState => {
                    let batch = WriteBatchState::decode(payload).unwrap();
                    let puts = batch.rec.into_iter().map(|record| PutState {
                        key: record.key,
                        value: record.value,
                        collection: record.collection,
                    });
                    writes.entry(txid.clone()).or_default().extend(puts);
                    self.send(Type::Response, &txid, b"");
                }
                kind => match self.read(kind, &payload) {
                    Ok(answer) => self.send(Type::Response, &txid, &answer),
                    Err(text) => self.send(Type::Error, &txid, text.as_bytes()),
                },
            }
        }
        ended
    }

    fn commit(&mut self, writes: Vec<PutState>) {
        for put in writes {
            let key = format!("{}{}", put.collection, put.key);
            if put.value.is_empty() {
                self.state.remove(&key);
            } else {
                self.state.insert(key, put.value.to_vec());
            }
        }
    }

    fn read(&mut self, kind: Type, payload: &[u8]) -> Result<Vec<u8>, String> {
        Ok(match kind {
            Type::GetState => {
                let get = GetState::decode(payload).unwrap();
                if get.key == "refused" {
                    return Err("GET_STATE failed: no ledger context".to_owned());
                }
                let key = format!("{}{}", get.collection, get.key);
                self.state.get(&key).cloned().unwrap_or_default()
            }
            Type::GetStateMultiple => {
                let get = GetStateMultiple::decode(payload).unwrap();
                let values = get.keys.iter().map(|key| self.state.get(key).cloned());
                GetStateMultipleResult { values: values.map(|value| value.unwrap_or_default().into()).collect() }
                    .encode_to_vec()
            }
            Type::GetStateByRange => {
                let range = GetStateByRange::decode(payload).unwrap();
                self.range(&range).encode_to_vec()
            }
            Type::QueryStateNext => {
                let next = QueryStateNext::decode(payload).unwrap();
                let left = self.cursors.remove(&next.id);
                let left = left.ok_or("query iterator not found")?;
                self.batch(next.id, left).encode_to_vec()
            }
            Type::QueryStateClose => {
                let close = QueryStateClose::decode(payload).unwrap();
                self.cursors.remove(&close.id);
                QueryResponse { id: close.id, ..QueryResponse::default() }.encode_to_vec()
            }
            other => return Err(format!("unsupported message {}", other.as_str_name())),
        })
    }

    fn range(&mut self, range: &GetStateByRange) -> QueryResponse {
        let page = QueryMetadata::decode(range.metadata.as_slice()).unwrap();
        let paged = page.page_size > 0;
        let start = if page.bookmark.is_empty() { &range.start_key } else { &page.bookmark };
        let found = self.state.range(start.clone()..);
        let mut found: Vec<Kv> = found
            .take_while(|(key, _)| range.end_key.is_empty() || **key < range.end_key)
            .map(|(key, value)| Kv { namespace: "basic".to_owned(), key: key.clone(), value: value.clone().into() })
            .collect();
        let id = format!("cursor{}", self.log.len());
        if !paged {
            return self.batch(id, found);
        }
        let rest = found.split_off(found.len().min(usize::try_from(page.page_size).unwrap()));
        let metadata = QueryResponseMetadata {
            fetched_records_count: i32::try_from(found.len()).unwrap(),
            bookmark: rest.first().map(|next| next.key.clone()).unwrap_or_default(),
        };
        QueryResponse { results: encoded(found), metadata: metadata.encode_to_vec(), id, has_more: false }
    }

    fn batch(&mut self, id: String, mut left: Vec<Kv>) -> QueryResponse {
        let rest = left.split_off(left.len().min(BATCH_SIZE));
        let has_more = !rest.is_empty();
        if has_more {
            self.cursors.insert(id.clone(), rest);
        }
        QueryResponse { results: encoded(left), has_more, id, metadata: Vec::new() }
    }
}

fn encoded(found: Vec<Kv>) -> Vec<QueryResultBytes> {
    let results = found.into_iter().map(|kv| QueryResultBytes { result_bytes: kv.encode_to_vec().into() });
    results.collect()
}

fn outcome(message: ChaincodeMessage) -> Outcome {
    let response = match message.r#type() {
        Type::Completed => Response::decode(message.payload).unwrap(),
        _ => Response { status: 0, message: String::from_utf8(message.payload.to_vec()).unwrap(), payload: Vec::new() },
    };
    Outcome { response, event: message.chaincode_event }
}

/// A proposal of the creator `creator` at second 1000, with transient data.
pub fn proposal() -> SignedProposal {
    let channel_header = ChannelHeader {
        r#type: HeaderType::EndorserTransaction.into(),
        epoch: 1,
        timestamp: Some(prost_types::Timestamp { seconds: 1000, nanos: 0 }),
        ..ChannelHeader::default()
    };
    let signature_header = SignatureHeader { creator: b"creator".to_vec(), nonce: b"nonce".to_vec() };
    let header =
        Header { channel_header: channel_header.encode_to_vec(), signature_header: signature_header.encode_to_vec() };
    let payload = ChaincodeProposalPayload {
        transient_map: BTreeMap::from([("secret".to_owned(), b"42".to_vec())]),
        ..ChaincodeProposalPayload::default()
    };
    let proposal = Proposal { header: header.encode_to_vec(), payload: payload.encode_to_vec(), extension: Vec::new() };
    SignedProposal { proposal_bytes: proposal.encode_to_vec(), signature: b"signature".to_vec() }
}

/// A connection with or without TLS.
enum Either {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

mod either {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Either;

    trait Io: AsyncRead + AsyncWrite + Unpin {}
    impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

    impl Either {
        fn io(self: Pin<&mut Self>) -> Pin<&mut dyn Io> {
            match self.get_mut() {
                Self::Plain(stream) => Pin::new(stream),
                Self::Tls(stream) => Pin::new(stream),
            }
        }
    }

    impl AsyncRead for Either {
        fn poll_read(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.io().poll_read(context, buffer)
        }
    }

    impl AsyncWrite for Either {
        fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.io().poll_write(context, bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.io().poll_flush(context)
        }

        fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.io().poll_shutdown(context)
        }
    }
}
