//! A peer's channels: joining one by its genesis block, listing them, the height of a ledger.
//!
//! Functions of the system chaincodes `cscc` and `qscc` (`core/scc`). An orderer joins through
//! `participation`.

use fabric_protos::common::BlockchainInfo;
use fabric_protos::protos::ChannelQueryResponse;
use tokio::time::Instant;

use super::endorser::PeerClient;
use super::error::ClientError;
use super::proposal::Invocation;

impl PeerClient {
    /// Joins the peer to the channel of a genesis block. The identity must be an administrator of
    /// the peer's organization.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] with the peer's reason, such as `ledger [mychannel] already exists
    /// with state [ACTIVE]`; and as any call.
    pub async fn join(&self, genesis_block: &[u8], deadline: Instant) -> Result<(), ClientError> {
        let invocation = Invocation::new("", "cscc", "JoinChain").argument(genesis_block);
        self.query("join the peer to the channel", &invocation, deadline).await.map(drop)
    }

    /// Names of the channels that the peer has joined.
    ///
    /// # Errors
    /// As any call.
    pub async fn channels(&self, deadline: Instant) -> Result<Vec<String>, ClientError> {
        let operation = "list the peer's channels";
        let invocation = Invocation::new("", "cscc", "GetChannels");
        let answer = self.query(operation, &invocation, deadline).await?;
        let answer: ChannelQueryResponse = self.decode(operation, &answer)?;
        Ok(answer.channels.into_iter().map(|channel| channel.channel_id).collect())
    }

    /// Height and last hashes of a channel's ledger on this peer.
    ///
    /// # Errors
    /// As any call; [`ClientError::Rejected`] when the peer has not joined the channel.
    pub async fn chain_info(&self, channel: &str, deadline: Instant) -> Result<BlockchainInfo, ClientError> {
        let operation = "read the ledger's height";
        let invocation = Invocation::new("", "qscc", "GetChainInfo").argument(channel);
        let answer = self.query(operation, &invocation, deadline).await?;
        self.decode(operation, &answer)
    }

    pub(super) fn decode<M: prost::Message + Default>(
        &self,
        operation: &'static str,
        bytes: &[u8],
    ) -> Result<M, ClientError> {
        M::decode(bytes).map_err(|bad| ClientError::malformed(operation, self.name(), bad))
    }
}
