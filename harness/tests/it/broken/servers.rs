//! Chaincode servers that are broken, and the certificates that they show; an engine that has nothing.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fabric_protos::prost::Message as _;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::chaincode_server::{Chaincode, ChaincodeServer};
use fabric_protos::protos::{ChaincodeId, ChaincodeMessage, GetQueryResult, GetState, Response as ChaincodeResponse};
use futures::Stream;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use crate::fake::PATIENCE;

/// An authority that did not exist before.
pub(super) struct Authority {
    pub(super) certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    /// One of this name, with a key of its own.
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// Issues a certificate with these SANs, or one that has ended.
    pub(super) fn issue(&self, names: &[&str], has_ended: bool) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if has_ended {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
            params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

/// A place that nothing else has at the moment.
pub(super) fn free() -> SocketAddr {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// The sample, in a process of its own. It ends when dropped.
pub(super) struct Sample {
    child: Child,
    scratch: tempfile::TempDir,
}

impl Sample {
    /// Starts it, with TLS when there is a certificate, demanding another from clients when their CA is
    /// given; returns when it listens.
    pub(super) fn begin(address: SocketAddr, id: &str, tls: Option<&Pair>, client_ca: Option<&str>) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            fs::write(scratch.path().join(name), text).unwrap();
            scratch.path().join(name)
        };
        let mut command = Command::new(std::env::var_os("CHAINCODE_SAMPLE").expect("CHAINCODE_SAMPLE is not set"));
        command.env("CHAINCODE_ID", id).env("CHAINCODE_SERVER_ADDRESS", address.to_string());
        command.env("CHAINCODE_TLS_DISABLED", if tls.is_some() { "false" } else { "true" });
        if let Some(Pair { certificate, key }) = tls {
            command.env("CHAINCODE_TLS_CERT", file("cert.pem", certificate));
            command.env("CHAINCODE_TLS_KEY", file("key.pem", key));
        }
        if let Some(client_ca) = client_ca {
            command.env("CHAINCODE_CLIENT_CA_CERT", file("ca.pem", client_ca));
        }
        let log = fs::File::create(scratch.path().join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let this = Self { child, scratch };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begin.elapsed() < PATIENCE, "the sample does not listen: {}", this.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        this
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap()
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an odd chaincode does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// Says nothing, not even its name.
    NotRegister,
    /// Breaks its stream when it is called.
    Break,
    /// Never answers.
    NotAnswer,
    /// Asks for the ledger when it has answered.
    AskTooLate,
    /// Makes a rich query, and answers with what came of it.
    QueryRichly,
    /// Answers each call with another number.
    Count,
}

struct Odd {
    does: Does,
    id: String,
}

static COUNT: AtomicU64 = AtomicU64::new(0);

#[tonic::async_trait]
impl Chaincode for Odd {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ChaincodeMessage, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (outgoing, answers) = mpsc::unbounded_channel();
        if self.does != Does::NotRegister {
            let id = ChaincodeId { name: self.id.clone(), ..ChaincodeId::default() };
            outgoing.send(Ok(message(Type::Register, id.encode_to_vec()))).unwrap();
        }
        let (mut incoming, does) = (request.into_inner(), self.does);
        tokio::spawn(async move {
            while let Ok(Some(request)) = incoming.message().await {
                let Some(answers) = answers_to(does, &request) else { return };
                for answer in answers {
                    let of_call = ChaincodeMessage {
                        txid: request.txid.clone(),
                        channel_id: request.channel_id.clone(),
                        ..answer
                    };
                    let _ = outgoing.send(Ok(of_call));
                }
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(answers))))
    }
}

fn message(kind: Type, payload: Vec<u8>) -> ChaincodeMessage {
    ChaincodeMessage { r#type: kind.into(), payload: payload.into(), ..ChaincodeMessage::default() }
}

fn completed(status: i32, text: &str) -> ChaincodeMessage {
    let response = ChaincodeResponse { status, message: text.to_owned(), payload: text.to_owned().into() };
    message(Type::Completed, response.encode_to_vec())
}

/// Nothing when it breaks the stream.
fn answers_to(does: Does, request: &ChaincodeMessage) -> Option<Vec<ChaincodeMessage>> {
    Some(match (request.r#type(), does) {
        (Type::Transaction, Does::Break) => return None,
        (Type::Transaction, Does::AskTooLate) => {
            let ask = GetState { key: "a".to_owned(), ..GetState::default() };
            vec![completed(200, "done"), message(Type::GetState, ask.encode_to_vec())]
        }
        (Type::Transaction, Does::QueryRichly) => {
            let query = GetQueryResult { query: r#"{"selector":{}}"#.to_owned(), ..GetQueryResult::default() };
            vec![message(Type::GetQueryResult, query.encode_to_vec())]
        }
        (Type::Transaction, Does::Count) => {
            vec![completed(200, &COUNT.fetch_add(1, Ordering::Relaxed).to_string())]
        }
        (Type::Error, Does::QueryRichly) => vec![completed(500, &String::from_utf8_lossy(&request.payload))],
        _ => Vec::new(),
    })
}

/// A server of this process. It ends when dropped.
pub(super) struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves an odd chaincode, with TLS when there is a certificate.
pub(super) async fn serve(address: SocketAddr, id: &str, does: Does, tls: Option<&Pair>) -> Task {
    let listener = TcpListener::bind(address).await.unwrap();
    let mut server = Server::builder();
    if let Some(Pair { certificate, key }) = tls {
        server = server.tls_config(ServerTlsConfig::new().identity(Identity::from_pem(certificate, key))).unwrap();
    }
    let server = server.add_service(ChaincodeServer::new(Odd { does, id: id.to_owned() }));
    Task(tokio::spawn(async move { server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap() }))
}

/// Accepts connections and says nothing.
pub(super) async fn keep_silent(address: SocketAddr) -> Task {
    let listener = TcpListener::bind(address).await.unwrap();
    Task(tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    }))
}

/// A Docker engine that knows no image, and can do nothing.
pub(super) struct Engine {
    pub(super) address: SocketAddr,
    _task: Task,
}

impl Engine {
    pub(super) async fn begin() -> Self {
        const ANSWER: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\
            Connection: close\r\n\r\n{\"message\":\"No such image\"}\n";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(ANSWER).await;
            }
        });
        Self { address, _task: Task(task) }
    }
}
