//! The peer's side of the protocol: keeps a number of transactions in flight and answers the requests
//! of the chaincode.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{ChaincodeInput, ChaincodeMessage, QueryResponse, QueryResultBytes};
use fabric_protos::queryresult::Kv;
use prost::Message;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::Result;
use crate::http2::Call;

/// The number of keys in the range and in one batch of it.
const KEYS: usize = 1000;
const BATCH_SIZE: usize = 100;

/// When to start no more transactions.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    Time(Duration),
    Count(usize),
}

pub(crate) struct Peer {
    call: Call,
    batches: Vec<Bytes>,
    next: u64,
}

/// The transactions in flight.
#[derive(Default)]
struct Flight {
    begun: HashMap<String, Instant>,
    cursors: HashMap<String, usize>,
    answers: Vec<ChaincodeMessage>,
    took: Vec<Duration>,
}

impl Peer {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let mut call = Call::begin(address, Arc::new(config), "/protos.Chaincode/Connect")?;
        while call.received().is_none() {
            call.wait()?;
        }
        for kind in [Type::Registered, Type::Ready] {
            let message = ChaincodeMessage { r#type: kind.into(), ..ChaincodeMessage::default() };
            call.send(&message)?;
        }
        call.flush()?;
        Ok(Self { call, batches: batches(), next: 0 })
    }

    /// Keeps `in_flight` transactions in flight and returns the duration of each one.
    pub(crate) fn run(&mut self, function: &str, in_flight: usize, until: Until) -> Result<Vec<Duration>> {
        let mut args = vec![function.into()];
        if function == "GetPut" {
            args.push(b"key".to_vec());
        }
        let input = Bytes::from(ChaincodeInput { args, ..ChaincodeInput::default() }.encode_to_vec());
        let started = Instant::now();
        let mut flight = Flight::default();
        for _ in 0..in_flight {
            self.begin(&input, &mut flight)?;
        }
        while !flight.begun.is_empty() {
            self.call.flush()?;
            self.call.wait()?;
            let now = Instant::now();
            let before = flight.took.len();
            while let Some(message) = self.call.received() {
                flight.take(ChaincodeMessage::decode(message)?, now, &self.batches)?;
            }
            for answer in flight.answers.drain(..) {
                self.call.send(&answer)?;
            }
            for ended in before..flight.took.len() {
                let goes_on = match until {
                    Until::Time(time) => now - started < time,
                    Until::Count(count) => ended + in_flight < count,
                };
                if goes_on {
                    self.begin(&input, &mut flight)?;
                }
            }
        }
        Ok(flight.took)
    }

    fn begin(&mut self, input: &Bytes, flight: &mut Flight) -> Result<()> {
        self.next += 1;
        let message = ChaincodeMessage {
            r#type: Type::Transaction.into(),
            payload: input.clone(),
            txid: format!("{:064x}", self.next),
            channel_id: "mychannel".to_owned(),
            ..ChaincodeMessage::default()
        };
        self.call.send(&message)?;
        flight.begun.insert(message.txid, Instant::now());
        Ok(())
    }
}

impl Flight {
    fn take(&mut self, message: ChaincodeMessage, now: Instant, batches: &[Bytes]) -> Result<()> {
        let payload = match message.r#type() {
            Type::Completed => {
                let start = self.begun.remove(&message.txid).ok_or("unknown transaction")?;
                self.cursors.remove(&message.txid);
                self.took.push(now - start);
                return Ok(());
            }
            Type::GetState => Bytes::from_static(b"a value of the usual kind, not long"),
            Type::PutState | Type::QueryStateClose => Bytes::new(),
            Type::GetStateByRange => {
                self.cursors.insert(message.txid.clone(), 0);
                batches[0].clone()
            }
            Type::QueryStateNext => {
                let position = self.cursors.get_mut(&message.txid).ok_or("no cursor")?;
                *position += 1;
                batches.get(*position).ok_or("no further batch")?.clone()
            }
            other => return Err(format!("unexpected {}: {:?}", other.as_str_name(), message.payload).into()),
        };
        self.answers.push(ChaincodeMessage {
            r#type: Type::Response.into(),
            payload,
            txid: message.txid,
            channel_id: message.channel_id,
            ..ChaincodeMessage::default()
        });
        Ok(())
    }
}

/// The batches of the range, encoded once.
fn batches() -> Vec<Bytes> {
    let result = |number: usize| {
        let key = format!("asset{number:06}");
        let kv = Kv { namespace: "bench".to_owned(), key, value: vec![b'v'; 100].into() };
        QueryResultBytes { result_bytes: kv.encode_to_vec().into() }
    };
    let batch = |first: usize| {
        let results = (first..first + BATCH_SIZE).map(result).collect();
        let has_more = first + BATCH_SIZE < KEYS;
        QueryResponse { results, has_more, id: "1".to_owned(), metadata: Vec::new() }.encode_to_vec().into()
    };
    (0..KEYS).step_by(BATCH_SIZE).map(batch).collect()
}

/// Accepts every certificate.
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
