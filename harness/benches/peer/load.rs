//! The client: one connection to the peer's gateway, many transactions at the same time.

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fabric_harness::client::Endpoint;
use fabric_harness::client::{Invocation, Node, PeerClient, Signer};

use crate::network::{CHAINCODE, View};
use crate::{IN_FLIGHT, Result};

const BOUND: Duration = Duration::from_mins(1);
/// How many keys a transaction writes that fills the ledger.
const KEYS_OF_ONE: usize = 1000;
/// How many different keys are read.
const READ: usize = 100;

enum Work {
    /// Writes a key for each number, modulo this one.
    Put(String, usize),
    Get(String),
}

#[derive(Clone)]
pub(crate) struct Client {
    peer: PeerClient,
    channel: String,
    msp_id: String,
}

impl Client {
    pub(crate) async fn connect(view: &View) -> Result<Self> {
        let signer = Signer::new(&view.msp_id, &view.certificate_pem, &view.private_key_pem)?;
        let endpoint = Endpoint {
            uri: view.uri.clone(),
            server_name: view.server_name.clone(),
            tls_ca_pem: view.tls_ca_pem.clone(),
        };
        let node = Node::connect("peer", &endpoint, None).await?;
        let peer = PeerClient::new(node, Arc::new(signer));
        let client = Self { peer, channel: view.channel.clone(), msp_id: view.msp_id.clone() };
        // A gateway of Fabric's takes a moment until it knows who endorses.
        let proposal = client.invocation("GetState").argument("none").propose(client.peer.signer())?;
        let deadline = deadline();
        while let Err(unknown) = client.peer.endorse(&proposal, &[], deadline).await {
            if tokio::time::Instant::now() > deadline || unknown.chaincode_error().is_some() {
                return Err(unknown.into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(client)
    }

    fn invocation(&self, function: &str) -> Invocation {
        Invocation::new(&self.channel, CHAINCODE, function)
    }

    /// Each writes a key of its own, and is waited for until it is committed. The time of all.
    pub(crate) async fn submit_many(&self, prefix: &str, count: usize) -> Result<Duration> {
        self.rewrite_many(prefix, count, usize::MAX).await
    }

    /// [`Self::submit_many`], to this many keys.
    pub(crate) async fn rewrite_many(&self, prefix: &str, count: usize, keys: usize) -> Result<Duration> {
        self.many(count, Work::Put(prefix.to_owned(), keys)).await
    }

    /// Each reads a key that was written before under this prefix. The time of all.
    pub(crate) async fn evaluate_many(&self, prefix: &str, count: usize) -> Result<Duration> {
        self.many(count, Work::Get(prefix.to_owned())).await
    }

    /// Writes keys of these numbers, a thousand in a transaction.
    pub(crate) async fn fill(&self, keys: Range<usize>) -> Result<()> {
        for first in keys.step_by(KEYS_OF_ONE) {
            let count = KEYS_OF_ONE.to_string();
            let prefix = format!("filled{:04}-", first / KEYS_OF_ONE);
            let write = self.invocation("WriteBatch").arguments([prefix, count, self.msp_id.clone()]);
            self.peer.submit_transaction(&write, &[], deadline()).await?;
        }
        Ok(())
    }

    async fn one(&self, work: &Work, number: usize) -> Result<()> {
        match work {
            Work::Put(prefix, keys) => {
                let value = "a value of some thirty characters";
                let put = self.invocation("PutState").argument(format!("{prefix}{}", number % keys)).argument(value);
                self.peer.submit_transaction(&put, &[], deadline()).await?;
            }
            Work::Get(prefix) => {
                let get = self.invocation("GetState").argument(format!("{prefix}{}", number % READ));
                if self.peer.evaluate(&get, &[], deadline()).await?.len() < 10 {
                    return Err("nothing was read".into());
                }
            }
        }
        Ok(())
    }

    async fn many(&self, count: usize, work: Work) -> Result<Duration> {
        let (next, work) = (Arc::new(AtomicUsize::new(0)), Arc::new(work));
        let begin = Instant::now();
        let tasks: Vec<_> = (0..IN_FLIGHT)
            .map(|_| {
                let (client, next, work) = (self.clone(), Arc::clone(&next), Arc::clone(&work));
                tokio::spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return Ok::<_, Box<dyn Error + Send + Sync>>(());
                        }
                        client.one(&work, number).await?;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok(begin.elapsed())
    }
}

fn deadline() -> tokio::time::Instant {
    tokio::time::Instant::now() + BOUND
}
