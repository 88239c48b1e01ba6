//! Plays the peer towards chaincode servers over TLS, and measures them: no-op,
//! get and put, a range of 1,000 keys, with 1, 16 and 256 transactions in
//! flight on one stream.
//!
//! `cargo bench -p chaincode-shim --bench shim -- [--seconds N] [--server NAME=ADDRESS@PID …]`
//!
//! The servers have the functions `Noop`, `GetPut KEY` and `Range`. Our own is
//! started from this program; others are given by address, with the process
//! whose processor time and memory count. They show any certificate: it is not
//! verified here.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chaincode_shim::{Config, Contract, ListenAddress, Server, Stub, TlsFiles};
use fabric_protos::protos::chaincode_client::ChaincodeClient;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{ChaincodeInput, ChaincodeMessage, QueryResponse, QueryResultBytes};
use fabric_protos::queryresult::Kv;
use futures::StreamExt;
use hyper_util::rt::TokioIo;
use prost::Message;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Makes this program the server that is measured.
const SERVE: &str = "BENCH_SERVE";
const FUNCTIONS: [&str; 3] = ["Noop", "GetPut", "Range"];
const IN_FLIGHT: [usize; 3] = [1, 16, 256];
/// Keys of a range, and of one portion of it.
const KEYS: usize = 1000;
const PORTION: usize = 100;

struct Target {
    name: String,
    address: SocketAddr,
    pid: u32,
    child: Option<Child>,
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    if let Ok(directory) = std::env::var(SERVE) {
        return runtime.block_on(serve(directory.into()));
    }
    let (mut seconds, mut others) = (3, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => seconds = arguments.next().ok_or("--seconds: give a number")?.parse()?,
            "--server" => others.push(other(&arguments.next().ok_or("--server: give NAME=ADDRESS@PID")?)?),
            // Cargo's own.
            "--bench" => {}
            unknown => return Err(format!("unknown option {unknown}").into()),
        }
    }
    let files = tempfile::tempdir()?;
    let mut targets = vec![own(files.path())?];
    targets.append(&mut others);
    println!("| server | function | in flight | transactions/s | p99 ms | CPU µs each | peak MB |");
    println!("|---|---|---|---|---|---|---|");
    for function in FUNCTIONS {
        for in_flight in IN_FLIGHT {
            for target in &targets {
                let line = runtime.block_on(measure(target, function, in_flight, Duration::from_secs(seconds)))?;
                println!("{line}");
            }
        }
    }
    Ok(())
}

/// The server with the functions that every other one needs.
async fn serve(directory: std::path::PathBuf) -> Result<()> {
    let contract = Contract::new("Bench")
        .evaluate("Noop", |_: Stub| async { Ok::<_, chaincode_shim::Error>(()) })
        .submit("GetPut", |stub: Stub, key: String| async move {
            let value = stub.get_state(&key).await?.unwrap_or_default();
            stub.put_state(&key, value).await
        })
        .evaluate("Range", |stub: Stub| async move {
            let mut found = stub.get_state_by_range("", "").await?;
            let mut count = 0;
            while let Some(entry) = found.next().await {
                entry?;
                count += 1;
            }
            Ok::<_, chaincode_shim::Error>(count)
        });
    let address: ListenAddress = "127.0.0.1:0".parse()?;
    let tls = TlsFiles { key: directory.join("key"), certificate: directory.join("crt"), client_ca: None };
    let server = Server::builder(contract, Config::new("bench:1", address).with_tls(tls)).bind().await?;
    std::fs::write(directory.join("address.new"), server.local_addr().to_string())?;
    std::fs::rename(directory.join("address.new"), directory.join("address"))?;
    Ok(server.serve().await?)
}

fn own(directory: &std::path::Path) -> Result<Target> {
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()])?.self_signed(&key)?;
    std::fs::write(directory.join("key"), key.serialize_pem())?;
    std::fs::write(directory.join("crt"), certificate.pem())?;
    let program = std::env::current_exe()?;
    let child = Command::new(program).env(SERVE, directory).stdin(Stdio::null()).spawn()?;
    let started = Instant::now();
    let address = loop {
        match std::fs::read_to_string(directory.join("address")) {
            Ok(text) => break text.parse()?,
            Err(_) if started.elapsed() < Duration::from_secs(10) => std::thread::yield_now(),
            Err(error) => return Err(format!("our server does not start: {error}").into()),
        }
    };
    Ok(Target { name: "ours".to_owned(), address, pid: child.id(), child: Some(child) })
}

fn other(text: &str) -> Result<Target> {
    let parts = text.split_once('=').and_then(|(name, rest)| Some((name, rest.rsplit_once('@')?)));
    let (name, (address, pid)) = parts.ok_or("--server: give NAME=ADDRESS@PID")?;
    Ok(Target { name: name.to_owned(), address: address.parse()?, pid: pid.parse()?, child: None })
}

async fn measure(target: &Target, function: &str, in_flight: usize, time: Duration) -> Result<String> {
    let mut peer = Peer::connect(target.address).await?;
    peer.run(function, in_flight, time / 4).await?;
    let before = processor_time(target.pid)?;
    let started = Instant::now();
    let mut latencies = peer.run(function, in_flight, time).await?;
    let elapsed = started.elapsed();
    let used = processor_time(target.pid)?.saturating_sub(before);
    latencies.sort_unstable();
    let count = latencies.len();
    let p99 = latencies.get(count * 99 / 100).copied().unwrap_or_default();
    #[allow(clippy::cast_precision_loss, reason = "counts of a benchmark")]
    let count = count as f64;
    Ok(format!(
        "| {} | {function} | {in_flight} | {:.0} | {:.2} | {:.1} | {:.1} |",
        target.name,
        count / elapsed.as_secs_f64(),
        p99.as_secs_f64() * 1e3,
        used.as_secs_f64() * 1e6 / count,
        peak_megabytes(target.pid)?,
    ))
}

/// User and system time of a process, in steps of 10 ms (`proc(5)`).
fn processor_time(pid: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<_> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |position: usize| -> Result<u64> { Ok(fields.get(position).ok_or("no such field")?.parse()?) };
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

fn peak_megabytes(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1024.0)
}

struct Peer {
    to: mpsc::UnboundedSender<ChaincodeMessage>,
    from: Streaming<ChaincodeMessage>,
    portions: Vec<Bytes>,
    next: u64,
}

impl Peer {
    async fn connect(address: SocketAddr) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let connect = tower::service_fn(move |_| {
            let connector = connector.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let name = ServerName::IpAddress(address.ip().into());
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
            }
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        let channel = endpoint.connect_with_connector(connect).await?;
        let (to, outgoing) = mpsc::unbounded_channel();
        let mut client = ChaincodeClient::new(channel).max_decoding_message_size(usize::MAX);
        let from = client.connect(UnboundedReceiverStream::new(outgoing)).await?.into_inner();
        let mut peer = Self { to, from, portions: portions(), next: 0 };
        peer.receive().await?;
        for kind in [Type::Registered, Type::Ready] {
            peer.to.send(ChaincodeMessage { r#type: kind.into(), ..ChaincodeMessage::default() })?;
        }
        Ok(peer)
    }

    async fn receive(&mut self) -> Result<ChaincodeMessage> {
        let message = tokio::time::timeout(Duration::from_secs(30), self.from.message()).await??;
        Ok(message.ok_or("the stream ended")?)
    }

    /// Keeps so many transactions in flight for this time; how long each took.
    async fn run(&mut self, function: &str, in_flight: usize, time: Duration) -> Result<Vec<Duration>> {
        let input = ChaincodeInput { args: vec![function.into()], ..ChaincodeInput::default() };
        let mut input = input;
        if function == "GetPut" {
            input.args.push(b"key".to_vec());
        }
        let input = Bytes::from(input.encode_to_vec());
        let ends = Instant::now() + time;
        let mut begun = HashMap::new();
        let mut cursors: HashMap<String, usize> = HashMap::new();
        let mut took = Vec::new();
        for _ in 0..in_flight {
            self.begin(&input, &mut begun)?;
        }
        while !begun.is_empty() {
            let message = self.receive().await?;
            let answer = match message.r#type() {
                Type::Completed => {
                    let start = begun.remove(&message.txid).ok_or("an unknown transaction")?;
                    took.push(Instant::elapsed(&start));
                    if Instant::now() < ends {
                        self.begin(&input, &mut begun)?;
                    }
                    continue;
                }
                Type::GetState => Bytes::from_static(b"a value of the usual kind, not long"),
                Type::PutState | Type::QueryStateClose => Bytes::new(),
                Type::GetStateByRange => {
                    cursors.insert(message.txid.clone(), 0);
                    self.portions[0].clone()
                }
                Type::QueryStateNext => {
                    let position = cursors.get_mut(&message.txid).ok_or("no cursor")?;
                    *position += 1;
                    self.portions[*position].clone()
                }
                other => return Err(format!("{} came: {:?}", other.as_str_name(), message.payload).into()),
            };
            self.to.send(ChaincodeMessage {
                r#type: Type::Response.into(),
                payload: answer,
                txid: message.txid,
                channel_id: message.channel_id,
                ..ChaincodeMessage::default()
            })?;
        }
        Ok(took)
    }

    fn begin(&mut self, input: &Bytes, begun: &mut HashMap<String, Instant>) -> Result<()> {
        self.next += 1;
        let txid = format!("{:064x}", self.next);
        begun.insert(txid.clone(), Instant::now());
        let message = ChaincodeMessage {
            r#type: Type::Transaction.into(),
            payload: input.clone(),
            txid,
            channel_id: "mychannel".to_owned(),
            ..ChaincodeMessage::default()
        };
        Ok(self.to.send(message)?)
    }
}

/// A range as a peer sends it, encoded once.
fn portions() -> Vec<Bytes> {
    let result = |number: usize| {
        let key = format!("asset{number:06}");
        let kv = Kv { namespace: "bench".to_owned(), key, value: vec![b'v'; 100].into() };
        QueryResultBytes { result_bytes: kv.encode_to_vec().into() }
    };
    let portion = |first: usize| {
        let results = (first..first + PORTION).map(result).collect();
        let has_more = first + PORTION < KEYS;
        QueryResponse { results, has_more, id: "1".to_owned(), metadata: Vec::new() }.encode_to_vec().into()
    };
    (0..KEYS).step_by(PORTION).map(portion).collect()
}

/// Takes every certificate.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
