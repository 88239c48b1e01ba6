//! A scripted chaincode server: the test receives every message and sends every answer.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use fabric_protos::prost::Message;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::chaincode_server::{Chaincode, ChaincodeServer};
use fabric_protos::protos::{ChaincodeId, ChaincodeMessage, Response as ChaincodeResponse};
use futures::Stream as FuturesStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use super::certificates::Pair;

/// How long a test waits for an expected message.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The server's TLS identity, and its requirements for clients.
pub(super) struct Tls {
    pub(super) pair: Pair,
    pub(super) client_ca: Option<String>,
}

/// The server. Dropping it closes all connections.
pub(super) struct ChaincodeProgram {
    pub(super) address: SocketAddr,
    streams: mpsc::UnboundedReceiver<Stream>,
    task: JoinHandle<()>,
}

/// One stream of a peer.
pub(super) struct Stream {
    incoming: Streaming<ChaincodeMessage>,
    outgoing: mpsc::UnboundedSender<Result<ChaincodeMessage, Status>>,
}

struct Acceptor(mpsc::UnboundedSender<Stream>);

#[tonic::async_trait]
impl Chaincode for Acceptor {
    type ConnectStream = Pin<Box<dyn FuturesStream<Item = Result<ChaincodeMessage, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (outgoing, answers) = mpsc::unbounded_channel();
        let _ = self.0.send(Stream { incoming: request.into_inner(), outgoing });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(answers))))
    }
}

impl ChaincodeProgram {
    pub(super) async fn plain() -> Self {
        Self::start("127.0.0.1:0".parse().unwrap(), None).await
    }

    pub(super) async fn start(address: SocketAddr, tls: Option<Tls>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, streams) = mpsc::unbounded_channel();
        let mut server = Server::builder();
        if let Some(tls) = tls {
            let mut config = ServerTlsConfig::new().identity(Identity::from_pem(&tls.pair.certificate, &tls.pair.key));
            if let Some(client_ca) = tls.client_ca {
                config = config.client_ca_root(Certificate::from_pem(client_ca));
            }
            server = server.tls_config(config).unwrap();
        }
        let service = ChaincodeServer::new(Acceptor(accepted)).max_decoding_message_size(usize::MAX);
        let serving = server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, streams, task }
    }

    /// Accepts the next stream.
    pub(super) async fn accept(&mut self) -> Stream {
        let accepted = tokio::time::timeout(TIMEOUT, self.streams.recv()).await;
        accepted.expect("no peer opened a stream").unwrap()
    }

    /// Accepts and registers the next stream; also returns READY's payload.
    pub(super) async fn register(&mut self, package_id: &str) -> Stream {
        let mut stream = self.accept().await;
        stream.register(package_id);
        assert_eq!(stream.next_but_keepalive().await.r#type(), Type::Registered);
        assert_eq!(stream.next_but_keepalive().await.r#type(), Type::Ready);
        stream
    }

    /// Stops the server and closes its connections immediately.
    pub(super) async fn kill(mut self) -> SocketAddr {
        self.task.abort();
        let _ = (&mut self.task).await;
        self.address
    }
}

impl Drop for ChaincodeProgram {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stream {
    pub(super) fn register(&self, package_id: &str) {
        let id = ChaincodeId { name: package_id.to_owned(), ..ChaincodeId::default() };
        self.send(ChaincodeMessage {
            r#type: Type::Register.into(),
            payload: id.encode_to_vec().into(),
            ..ChaincodeMessage::default()
        });
    }

    pub(super) fn send(&self, message: ChaincodeMessage) {
        self.outgoing.send(Ok(message)).expect("the stream is over");
    }

    pub(super) fn fail(&self, status: Status) {
        self.outgoing.send(Err(status)).expect("the stream is over");
    }

    /// The next message, which is expected to arrive.
    pub(super) async fn next(&mut self) -> ChaincodeMessage {
        let message = tokio::time::timeout(TIMEOUT, self.incoming.message()).await;
        message.expect("the peer sent nothing").unwrap().expect("the peer ended the stream")
    }

    /// The next message other than KEEPALIVE, which can arrive at any time.
    async fn next_but_keepalive(&mut self) -> ChaincodeMessage {
        loop {
            let message = self.next().await;
            if message.r#type() != Type::Keepalive {
                return message;
            }
        }
    }

    /// The next message, or `None` after this time.
    pub(super) async fn next_within(&mut self, time: Duration) -> Option<ChaincodeMessage> {
        tokio::time::timeout(time, self.incoming.message()).await.ok()?.unwrap()
    }

    /// Waits until the peer has ended the stream.
    pub(super) async fn ended(&mut self) {
        let end = tokio::time::timeout(TIMEOUT, async { while let Ok(Some(_)) = self.incoming.message().await {} });
        end.await.expect("the peer did not end the stream");
    }

    /// Sends a request for a transaction and waits for the answer.
    pub(super) async fn ask(&mut self, of: &ChaincodeMessage, kind: Type, payload: impl Message) -> ChaincodeMessage {
        self.send(request(of, kind, payload.encode_to_vec()));
        self.next().await
    }

    /// Completes a transaction.
    pub(super) fn complete(&self, of: &ChaincodeMessage, status: i32, payload: &[u8]) {
        let response = ChaincodeResponse { status, payload: payload.to_vec(), ..ChaincodeResponse::default() };
        self.send(request(of, Type::Completed, response.encode_to_vec()));
    }
}

/// A message for the same transaction as another.
pub(super) fn request(of: &ChaincodeMessage, kind: Type, payload: Vec<u8>) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: kind.into(),
        payload: payload.into(),
        txid: of.txid.clone(),
        channel_id: of.channel_id.clone(),
        ..ChaincodeMessage::default()
    }
}

/// A message's payload as text.
pub(super) fn text(message: &ChaincodeMessage) -> String {
    String::from_utf8_lossy(&message.payload).into_owned()
}
