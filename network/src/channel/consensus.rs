//! The configuration values of the consensus: `ConsensusType`, and for BFT also `Orderers`.

use fabric_primitives::duration::format_std;
use fabric_protos::common::{Consenter, Orderers};
use fabric_protos::etcdraft::{self, ConfigMetadata};
use fabric_protos::orderer::ConsensusType;
use fabric_protos::orderer::consensus_type::State;
use fabric_protos::smartbft;
use prost::Message;

use super::input::{Consensus, OrderingInput};
use crate::topology::Batch;

/// The value `ConsensusType`, with the protocol's options as metadata.
pub(super) fn consensus_type(ordering: &OrderingInput) -> ConsensusType {
    let (name, metadata) = match ordering.consensus {
        Consensus::Etcdraft { tick } => ("etcdraft", raft_metadata(ordering, format_std(tick)).encode_to_vec()),
        Consensus::Bft => ("BFT", bft_options(&ordering.batch).encode_to_vec()),
    };
    ConsensusType { r#type: name.to_owned(), metadata, state: State::Normal.into() }
}

/// The value `Orderers` of a BFT channel. Consenters are numbered from 1.
pub(super) fn orderers(ordering: &OrderingInput) -> Orderers {
    let consenters = (1..).zip(&ordering.consenters).map(|(id, consenter)| Consenter {
        id,
        host: consenter.address.host.clone(),
        port: consenter.address.port.into(),
        msp_id: ordering.msp.msp_id.clone(),
        identity: consenter.identity_certificate_pem.clone().into_bytes(),
        client_tls_cert: consenter.client_tls_certificate_pem.clone().into_bytes(),
        server_tls_cert: consenter.server_tls_certificate_pem.clone().into_bytes(),
    });
    Orderers { consenter_mapping: consenters.collect() }
}

fn raft_metadata(ordering: &OrderingInput, tick_interval: String) -> ConfigMetadata {
    let consenters = ordering.consenters.iter().map(|consenter| etcdraft::Consenter {
        host: consenter.address.host.clone(),
        port: consenter.address.port.into(),
        client_tls_cert: consenter.client_tls_certificate_pem.clone().into_bytes(),
        server_tls_cert: consenter.server_tls_certificate_pem.clone().into_bytes(),
    });
    ConfigMetadata {
        consenters: consenters.collect(),
        options: Some(etcdraft::Options {
            tick_interval,
            election_tick: 10,
            heartbeat_tick: 1,
            max_inflight_blocks: 5,
            snapshot_interval_size: 16 * 1024 * 1024,
        }),
    }
}

/// The options of the test network (fabric-samples, `test-network/bft-config/configtx.yaml`). Except for the
/// pool's size they are the defaults of `SmartBFT`. Leader rotation is unspecified, which means off: Fabric
/// allows nothing else (`orderer/consensus/smartbft/configverifier.go`).
fn bft_options(batch: &Batch) -> smartbft::Options {
    smartbft::Options {
        request_batch_max_count: batch.max_messages.into(),
        request_batch_max_bytes: batch.absolute_max_bytes.into(),
        request_batch_max_interval: format_std(batch.timeout),
        incoming_message_buffer_size: 200,
        request_pool_size: 100_000,
        request_forward_timeout: "2s".to_owned(),
        request_complain_timeout: "20s".to_owned(),
        request_auto_remove_timeout: "3m0s".to_owned(),
        view_change_resend_interval: "5s".to_owned(),
        view_change_timeout: "20s".to_owned(),
        leader_heartbeat_timeout: "1m0s".to_owned(),
        leader_heartbeat_count: 10,
        collect_timeout: "1s".to_owned(),
        ..smartbft::Options::default()
    }
}
