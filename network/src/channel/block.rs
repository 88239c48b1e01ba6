//! The genesis block of a channel's configuration.

use std::time::SystemTime;

use fabric_primitives::block::data_hash;
use fabric_primitives::limits::NONCE_BYTES;
use fabric_primitives::transaction::transaction_id;
use fabric_protos::common::{
    Block, BlockData, BlockHeader, BlockMetadata, ChannelHeader, Config, ConfigEnvelope, ConfigGroup, Envelope, Header,
    HeaderType, LastConfig, Metadata, OrdererBlockMetadata, Payload, SignatureHeader,
};
use prost::Message;
use prost_types::Timestamp;
use sha2::{Digest, Sha256};

use super::error::ChannelError;

/// What Fabric writes into the header of a genesis block (`common/genesis/genesis.go`).
const HEADER_VERSION: i32 = 1;

/// The encoded genesis block.
///
/// Fabric uses a random nonce. Here it is a digest of the configuration, so that the same input gives the
/// same block. It protects nothing in a block that is not signed.
pub(super) fn genesis(channel: &str, created: SystemTime, configuration: ConfigGroup) -> Result<Vec<u8>, ChannelError> {
    let timestamp = timestamp(created)?;
    let config = Config { sequence: 0, channel_group: Some(configuration) };
    let data = ConfigEnvelope { config: Some(config), last_update: None }.encode_to_vec();
    let nonce = Sha256::digest(&data)[..NONCE_BYTES].to_vec();
    let channel_header = ChannelHeader {
        r#type: HeaderType::Config.into(),
        version: HEADER_VERSION,
        timestamp: Some(timestamp),
        channel_id: channel.to_owned(),
        tx_id: transaction_id(&nonce, &[]),
        ..ChannelHeader::default()
    };
    let header = Header {
        channel_header: channel_header.encode_to_vec(),
        signature_header: SignatureHeader { creator: Vec::new(), nonce }.encode_to_vec(),
    };
    let payload = Payload { header: Some(header), data }.encode_to_vec();
    let envelope = Envelope { payload, signature: Vec::new() }.encode_to_vec();
    let block = Block {
        header: Some(BlockHeader { number: 0, previous_hash: Vec::new(), data_hash: data_hash([&envelope]).to_vec() }),
        data: Some(BlockData { data: vec![envelope] }),
        metadata: Some(BlockMetadata { metadata: metadata() }),
    };
    Ok(block.encode_to_vec())
}

/// One entry for each `BlockMetadataIndex`: no signatures over "block 0 is the last configuration", the last
/// configuration again, and three empty entries.
fn metadata() -> Vec<Vec<u8>> {
    let last_config = LastConfig { index: 0 };
    let signatures = OrdererBlockMetadata { last_config: Some(last_config), consenter_metadata: Vec::new() };
    let entry = |value: Vec<u8>| Metadata { value, signatures: Vec::new() }.encode_to_vec();
    vec![entry(signatures.encode_to_vec()), entry(last_config.encode_to_vec()), Vec::new(), Vec::new(), Vec::new()]
}

fn timestamp(created: SystemTime) -> Result<Timestamp, ChannelError> {
    let error = ChannelError::Created { given: created };
    let since = created.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| error.clone())?;
    let seconds = i64::try_from(since.as_secs()).map_err(|_| error)?;
    Ok(Timestamp { seconds, nanos: 0 })
}
