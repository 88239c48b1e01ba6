//! The channels of an orderer: join, leave, query (`orderer/common/multichannel/registrar.go`).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use fabric_primitives::block;
use fabric_protos::common::{Block, Envelope, HeaderType};
use prost::Message as _;
use tokio::sync::watch;

use super::Orderer;
use super::chain::{Chain, ChainState, Submission};
use super::resources::{Consenters, Resources};
use super::signatures::Signatures;
use crate::block_store::BlockStore;
use crate::clock::Clock;
use crate::envelope;
use crate::ledger::header_hash;
use crate::node::Lifetime;
use crate::trace::EventKind;

/// Fabric's text for an unknown channel.
pub(crate) const NO_CHANNEL: &str = "channel does not exist";

/// Identifies a channel: its name and the hash of its genesis block's header.
pub(crate) type Key = (String, Vec<u8>);

/// The ordering services of a network, by channel. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Ordering {
    chains: Arc<watch::Sender<BTreeMap<Key, Chain>>>,
    clock: Clock,
    life: Lifetime,
    store: BlockStore,
}

impl Ordering {
    pub(crate) fn new(clock: Clock, life: Lifetime, store: BlockStore) -> Self {
        Self { chains: Arc::default(), clock, life, store }
    }

    /// The store of the blocks of all nodes.
    pub(crate) fn store(&self) -> &BlockStore {
        &self.store
    }

    /// The ordering service of this genesis block, which is started if necessary.
    fn begin(&self, genesis: &Block, resources: &Resources) -> Chain {
        let key = (
            resources.channel().to_owned(),
            genesis.header.as_ref().map(|header| header_hash(header).to_vec()).unwrap_or_default(),
        );
        let mut found = None;
        self.chains.send_if_modified(|chains| {
            let is_new = !chains.contains_key(&key);
            let chain = chains.entry(key.clone()).or_insert_with(|| {
                let (chain, work) = self.chain(&key.0, genesis, resources);
                self.life.spawn(work);
                chain
            });
            found = Some(chain.clone());
            is_new
        });
        found.unwrap_or_else(|| self.chain(&key.0, genesis, resources).0)
    }

    fn chain(
        &self,
        channel: &str,
        genesis: &Block,
        resources: &Resources,
    ) -> (Chain, impl Future<Output = ()> + Send + use<>) {
        Chain::new(channel, self.clock.clone(), genesis.clone(), resources.clone(), self.store.clone())
    }

    /// The ordering service whose chain contains this configuration block.
    fn with_block(&self, channel: &str, block: &Block) -> Option<Chain> {
        let header = block.header.as_ref()?;
        let chains = self.chains.borrow();
        let mut named = chains.iter().filter(|((name, _), _)| name == channel);
        named
            .find(|(_, chain)| {
                let own = chain.blocks().block(header.number);
                own.and_then(|own| own.header.clone()).as_ref() == Some(header)
            })
            .map(|(_, chain)| chain.clone())
    }

    /// Waits for the ordering service whose genesis block's header has this hash.
    pub(crate) async fn wait_for(&self, channel: &str, genesis: &[u8]) -> Option<Chain> {
        let key = (channel.to_owned(), genesis.to_vec());
        let mut chains = self.chains.subscribe();
        let chains = chains.wait_for(|chains| chains.contains_key(&key)).await.ok()?;
        chains.get(&key).cloned()
    }

    /// Saves the state of every ordering service.
    pub(crate) fn state(&self) -> OrderingState {
        self.chains.borrow().iter().map(|(key, chain)| (key.clone(), chain.state())).collect()
    }

    /// Restores a saved state. Ordering services that are not in it are stopped.
    pub(crate) async fn restore(&self, state: &OrderingState) {
        let chains = self.chains.borrow().clone();
        for (key, chain) in &chains {
            match state.get(key) {
                Some(state) => chain.restore(state).await,
                None => chain.end().await,
            }
        }
        self.chains.send_modify(|chains| chains.retain(|key, _| state.contains_key(key)));
    }
}

/// A saved state of the ordering services.
pub(crate) type OrderingState = BTreeMap<Key, ChainState>;

/// An orderer's membership in a channel.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) chain: Chain,
    /// Its consenter ID; `None` for a follower.
    pub(crate) number: Option<u32>,
    /// Its signatures of raft blocks.
    pub(crate) signatures: Signatures,
}

/// A channel in the channel participation API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelInfo {
    pub(crate) name: String,
    pub(crate) relation: &'static str,
    pub(crate) status: &'static str,
    pub(crate) height: u64,
}

/// An orderer cannot join a channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JoinError {
    /// It has already joined.
    AlreadyExists,
    /// The join block is invalid.
    Invalid(String),
    /// Another reason.
    Refused(String),
}

impl Orderer {
    /// The names of the joined channels.
    pub(crate) fn channels(&self) -> Vec<String> {
        self.memberships.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// A joined channel.
    pub(crate) fn channel(&self, name: &str) -> Option<ChannelInfo> {
        Some(info(name, &self.membership(name)?))
    }

    pub(crate) fn membership(&self, name: &str) -> Option<Membership> {
        self.memberships.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The ordering service of a channel, if the orderer is a consenter.
    pub(crate) fn chain(&self, name: &str) -> Option<Chain> {
        self.membership(name).filter(|membership| membership.number.is_some()).map(|membership| membership.chain)
    }

    /// Joins the channel of a configuration block.
    pub(crate) fn join(&self, block: &Block) -> Result<ChannelInfo, JoinError> {
        let resources = check_join_block(block).map_err(JoinError::Invalid)?;
        let name = resources.channel().to_owned();
        let mut memberships = self.memberships.write().unwrap_or_else(PoisonError::into_inner);
        if memberships.contains_key(&name) {
            return Err(JoinError::AlreadyExists);
        }
        let number = self.number_in(&resources);
        let chain = if block.header.as_ref().is_some_and(|header| header.number == 0) {
            self.ordering.begin(block, &resources)
        } else {
            let missing = || {
                JoinError::Refused(format!(
                    "failed to create follower: no orderer of this process has the channel {name}"
                ))
            };
            self.ordering.with_block(&name, block).ok_or_else(missing)?
        };
        if let Some(number) = number {
            chain.join(number, self.signer.clone());
        }
        let signatures = Signatures::new(chain.blocks().height(), chain.blocks().store().clone());
        let membership = Membership { chain, number, signatures };
        let info = info(&name, &membership);
        self.trace(|| EventKind::Note(format!("joined the channel {name} as {}", info.relation)));
        memberships.insert(name, membership);
        Ok(info)
    }

    /// Its memberships, by channel.
    pub(crate) fn memberships(&self) -> BTreeMap<String, Membership> {
        self.memberships.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Restores its memberships.
    pub(crate) fn restore(&self, memberships: BTreeMap<String, Membership>) {
        *self.memberships.write().unwrap_or_else(PoisonError::into_inner) = memberships;
    }

    /// Leaves a channel; `false` if it had not joined.
    pub(crate) fn leave(&self, name: &str) -> bool {
        let removed = self.memberships.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        let Some(Membership { chain, number, .. }) = removed else { return false };
        if let Some(number) = number {
            chain.leave(number);
        }
        true
    }

    /// A block of a channel: `newest`, `oldest`, `config` or a number.
    pub(crate) fn fetch(&self, name: &str, id: &str) -> Result<Block, String> {
        let membership = self.membership(name).ok_or(NO_CHANNEL)?;
        if membership.number.is_none() {
            return Err("channel is not ready, he is a follower".to_owned());
        }
        let blocks = membership.chain.blocks();
        let number = match id {
            "oldest" => 0,
            "newest" => blocks.height().saturating_sub(1),
            "config" => membership.chain.last_config(),
            number => number.parse().map_err(|_| format!("no such block number [{number}] in index"))?,
        };
        let block = blocks.block(number).ok_or_else(|| format!("no such block number [{number}] in index"))?;
        Ok(membership.signatures.on(Block::clone(&block), &self.signer))
    }

    /// Orders a configuration update.
    pub(crate) async fn update(&self, envelope: Envelope) -> Result<ChannelInfo, String> {
        let header = envelope::channel_header(&envelope)
            .map_err(|reason| format!("invalid config update envelope: {reason}"))?;
        if header.r#type != HeaderType::ConfigUpdate as i32 {
            return Err("invalid config update envelope: bad type".to_owned());
        }
        let name = header.channel_id;
        let chain = self.chain(&name).ok_or(NO_CHANNEL)?;
        let failed = |reason: String| format!("failed update config of channel {name}: {reason}");
        let resources = chain.resources();
        let now = self.clock.now();
        resources.check(&envelope, now).map_err(|refused| failed(refused.to_string()))?;
        let config =
            resources.configure(&envelope, &self.signer, now).map_err(|refused| failed(refused.to_string()))?;
        let submission = Submission { envelope: config, sequence: resources.sequence(), is_config: true };
        chain.order(submission).await.map_err(|reason| failed(reason.to_owned()))?;
        self.channel(&name).ok_or_else(|| NO_CHANNEL.to_owned())
    }

    /// Its consenter ID.
    fn number_in(&self, resources: &Resources) -> Option<u32> {
        match resources.consenters() {
            Consenters::Raft(consenters) => {
                let own = public_key(&self.tls_certificate)?;
                let at = consenters.iter().position(|certificates| {
                    certificates.iter().any(|certificate| public_key(certificate).as_ref() == Some(&own))
                });
                at.and_then(|at| u32::try_from(at + 1).ok())
            }
            Consenters::Bft(consenters) => {
                let own = public_key(self.signer.certificate_pem().as_bytes())?;
                let own = consenters.iter().find(|(_, identity)| public_key(identity).as_ref() == Some(&own));
                own.map(|(number, _)| *number)
            }
        }
    }
}

fn info(name: &str, membership: &Membership) -> ChannelInfo {
    let relation = if membership.number.is_some() { "consenter" } else { "follower" };
    ChannelInfo { name: name.to_owned(), relation, status: "active", height: membership.chain.blocks().height() }
}

/// Validates a join block (`orderer/common/channelparticipation/validator.go`).
fn check_join_block(block: &Block) -> Result<Resources, String> {
    let data = block.data.as_ref().map(|data| &*data.data).unwrap_or_default();
    let header = block.header.as_ref().ok_or("block is not a config block")?;
    let [envelope] = data else { return Err("block is not a config block".to_owned()) };
    let envelope = Envelope::decode(&**envelope).map_err(|_| "block is not a config block")?;
    let channel_header = envelope::channel_header(&envelope).map_err(|_| "block is not a config block")?;
    if channel_header.r#type != HeaderType::Config as i32 {
        return Err("block is not a config block".to_owned());
    }
    if block.metadata.as_ref().is_none_or(|metadata| metadata.metadata.is_empty()) {
        return Err("invalid block: does not have metadata".to_owned());
    }
    if block::data_hash(data) != *header.data_hash {
        return Err("invalid block: Header.DataHash is different from Hash(block.Data)".to_owned());
    }
    Resources::from_block(block)
}

/// The public key of a certificate in PEM.
fn public_key(pem: &[u8]) -> Option<Vec<u8>> {
    use x509_parser::prelude::FromDer as _;
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(&pem.contents).ok()?;
    Some(certificate.public_key().raw.to_vec())
}
