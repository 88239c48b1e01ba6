//! A channel's configuration in its ordering service: limits, message checks and updates
//! (`orderer/common/msgprocessor`).

use std::time::{Duration, SystemTime};

use fabric_protos::common::{
    Block, ChannelHeader, ConfigEnvelope, Envelope, Header, HeaderType, Payload, SignatureHeader,
};
use fabric_protos::etcdraft::ConfigMetadata;
use prost::Message as _;

use super::cutter::BatchSize;
use crate::config::{ChannelConfig, ConfigError};
use crate::msp::expires_at;
use crate::policy::{PolicyError, SignedData};
use crate::signer::{Signer, SignerError};

const WRITERS: &str = "/Channel/Writers";
const READERS: &str = "/Channel/Readers";

/// A message is rejected. The texts are Fabric's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Message was empty")]
    Empty,
    #[error("message payload is {size} bytes and exceeds maximum allowed {most} bytes")]
    Size { size: usize, most: usize },
    #[error("could not convert message to signedData: {0}")]
    Unreadable(&'static str),
    #[error("broadcast client identity expired")]
    Expired,
    #[error("{0}: permission denied")]
    Forbidden(PolicyError),
    #[error("error applying config update to existing channel '{channel}': {source}")]
    Update { channel: String, source: ConfigError },
    #[error(transparent)]
    Signer(#[from] SignerError),
    #[error("{what}: {refusal}")]
    Within { what: &'static str, refusal: Box<Refusal> },
}

impl Refusal {
    pub(crate) fn within(self, what: &'static str) -> Self {
        Self::Within { what, refusal: Box::new(self) }
    }

    /// Whether the client lacks permission.
    pub(crate) fn is_forbidden(&self) -> bool {
        match self {
            Self::Forbidden(_) => true,
            Self::Within { refusal, .. } => refusal.is_forbidden(),
            _ => false,
        }
    }
}

/// The consenters of a channel, in the order of the configuration.
#[derive(Clone, Debug)]
pub(crate) enum Consenters {
    /// The server and client TLS certificate of each, PEM.
    Raft(Vec<[Vec<u8>; 2]>),
    /// The ID and the identity's certificate of each, PEM.
    Bft(Vec<(u32, Vec<u8>)>),
}

/// A channel's configuration. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Resources {
    config: ChannelConfig,
    consenters: std::sync::Arc<Consenters>,
}

impl Resources {
    /// The configuration in a configuration block.
    pub(crate) fn from_block(block: &Block) -> Result<Self, String> {
        Self::new(ChannelConfig::from_block(block).map_err(|error| error.to_string())?)
    }

    fn new(config: ChannelConfig) -> Result<Self, String> {
        let consensus = config.consensus();
        let consenters = match consensus.kind.as_str() {
            "etcdraft" => {
                let metadata = ConfigMetadata::decode(&*consensus.metadata).map_err(|error| error.to_string())?;
                let consenters = metadata.consenters.into_iter();
                Consenters::Raft(consenters.map(|one| [one.server_tls_cert, one.client_tls_cert]).collect())
            }
            "BFT" => Consenters::Bft(config.consenters().iter().map(|one| (one.id, one.identity.clone())).collect()),
            kind => return Err(format!("failed to find a consenter for consensus type: {kind}")),
        };
        Ok(Self { config, consenters: std::sync::Arc::new(consenters) })
    }

    pub(crate) fn channel(&self) -> &str {
        self.config.channel()
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.config.sequence()
    }

    pub(crate) fn consenters(&self) -> &Consenters {
        &self.consenters
    }

    pub(crate) fn batch_size(&self) -> BatchSize {
        let batch = self.config.batch();
        BatchSize { max_message_count: batch.max_message_count, preferred_max_bytes: batch.preferred_max_bytes }
    }

    pub(crate) fn batch_timeout(&self) -> Duration {
        self.config.batch().timeout
    }

    /// Checks that a message may be ordered.
    pub(crate) fn check(&self, envelope: &Envelope, now: SystemTime) -> Result<(), Refusal> {
        if envelope.payload.is_empty() {
            return Err(Refusal::Empty);
        }
        let size = envelope.payload.len() + envelope.signature.len();
        let most = self.config.batch().absolute_max_bytes as usize;
        if size > most {
            return Err(Refusal::Size { size, most });
        }
        let signed = signed_data(envelope).map_err(Refusal::Unreadable)?;
        if expires_at(&signed.identity).is_some_and(|expires| now >= expires) {
            return Err(Refusal::Expired);
        }
        self.config.evaluate(WRITERS, &[signed]).map_err(Refusal::Forbidden)
    }

    /// Checks that a client may read the channel's blocks.
    pub(crate) fn may_read(&self, signed: &SignedData) -> Result<(), String> {
        self.config
            .evaluate(READERS, std::slice::from_ref(signed))
            .map_err(|error| format!("{error}: permission denied"))
    }

    /// The configuration message that results from an update, signed by the orderer.
    pub(crate) fn configure(&self, update: &Envelope, signer: &Signer, now: SystemTime) -> Result<Envelope, Refusal> {
        let failed = |source| Refusal::Update { channel: self.channel().to_owned(), source };
        let config = self.config.apply_update(update).map_err(failed)?;
        let envelope = self.signed_config(&config, signer, now)?;
        let last = |refusal: Refusal| refusal.within("config update for existing channel did not pass final checks");
        self.check(&envelope, now).map_err(last)?;
        Ok(envelope)
    }

    fn signed_config(
        &self,
        config: &ConfigEnvelope,
        signer: &Signer,
        now: SystemTime,
    ) -> Result<Envelope, SignerError> {
        let data = config.encode_to_vec();
        let channel_header = ChannelHeader {
            r#type: HeaderType::Config.into(),
            timestamp: Some(now.into()),
            channel_id: self.channel().to_owned(),
            ..ChannelHeader::default()
        };
        let header = Header {
            channel_header: channel_header.encode_to_vec(),
            signature_header: signer.signature_header(&data)?.encode_to_vec(),
        };
        let payload = Payload { header: Some(header), data }.encode_to_vec();
        let signature = signer.sign(&payload)?;
        Ok(Envelope { payload, signature })
    }

    /// The configuration after a configuration message.
    pub(crate) fn configured(&self, envelope: &Envelope) -> Result<Self, String> {
        let payload = Payload::decode(&*envelope.payload).map_err(|error| error.to_string())?;
        let config = ConfigEnvelope::decode(&*payload.data).map_err(|error| error.to_string())?;
        Self::new(self.config.next(&config).map_err(|error| error.to_string())?)
    }
}

fn signed_data(envelope: &Envelope) -> Result<SignedData, &'static str> {
    const MALFORMED: &str = "proto: cannot parse invalid wire-format data";
    let message = bytes::Bytes::copy_from_slice(&envelope.payload);
    let payload = Payload::decode(message.clone()).map_err(|_| MALFORMED)?;
    let header = payload.header.ok_or("Missing Header")?;
    let creator = SignatureHeader::decode(&*header.signature_header)
        .map_err(|_| "GetSignatureHeaderFromBytes failed, err proto: cannot parse invalid wire-format data")?
        .creator;
    Ok(SignedData { message, identity: creator.into(), signature: envelope.signature.clone().into() })
}
