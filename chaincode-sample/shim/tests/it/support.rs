//! An in-process server with a contract for the tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chaincode_shim::{Config, Contract, Error, ListenAddress, Server, ServerError, Stub};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, oneshot};

/// A server that runs until it is stopped or dropped.
pub struct Running {
    pub address: SocketAddr,
    pub gates: Arc<Gates>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<Result<(), ServerError>>,
}

/// Synchronization with the function `Wait` of the contract.
pub struct Gates {
    pub entered: Notify,
    pub leave: Semaphore,
    pub left: Notify,
}

/// Signals the end of a transaction, also when it is dropped.
struct Inside(Arc<Gates>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.left.notify_one();
    }
}

impl Running {
    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub async fn ended(self) -> Result<(), ServerError> {
        let ended = tokio::time::timeout(Duration::from_secs(20), self.task).await;
        ended.expect("timed out waiting for the server to end").unwrap()
    }
}

/// A configuration without TLS, on a free loopback port.
pub fn config() -> Config {
    let address: ListenAddress = "127.0.0.1:0".parse().unwrap();
    Config::new("basic_1.0:abc", address)
}

pub async fn start(config: Config) -> Running {
    let (stop, stopped) = oneshot::channel::<()>();
    let gates = Arc::new(Gates { entered: Notify::new(), leave: Semaphore::new(0), left: Notify::new() });
    let server = Server::builder(contract(Arc::clone(&gates)), config)
        .shutdown(async move {
            // Dropping the server stops it as well.
            let _ = stopped.await;
        })
        .bind()
        .await
        .unwrap();
    Running { address: server.local_addr(), gates, stop: Some(stop), task: tokio::spawn(server.serve()) }
}

fn contract(gates: Arc<Gates>) -> Contract {
    let wait = move |_: Stub| {
        let gates = Arc::clone(&gates);
        async move {
            let inside = Inside(Arc::clone(&gates));
            gates.entered.notify_one();
            let left = gates.leave.acquire().await.map(SemaphorePermit::forget);
            drop(inside);
            left
        }
    };
    Contract::new("Test")
        .submit("Put", |stub: Stub, key: String, value: String| async move { stub.put_state(&key, value).await })
        .evaluate("Get", |stub: Stub, key: String| async move {
            let value = stub.get_state(&key).await?;
            Ok::<_, Error>(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
        })
        .evaluate("Range", |stub: Stub, start: String, end: String| async move {
            let found = stub.get_state_by_range(&start, &end).await?;
            let keys: Vec<_> = found.map_ok(|entry| entry.key).try_collect().await?;
            Ok::<_, Error>(keys)
        })
        .evaluate("First", |stub: Stub| async move {
            let mut found = stub.get_state_by_range("", "").await?;
            let first = found.try_next().await?;
            Ok::<_, Error>(first.map(|entry| entry.key))
        })
        .evaluate("Page", page)
        .evaluate("Many", |stub: Stub| async move {
            let values = stub.get_multiple_states(&["a", "none", "b"]).await?;
            let texts = values.into_iter().map(|value| value.map(|value| String::from_utf8_lossy(&value).into_owned()));
            Ok::<_, Error>(texts.collect::<Vec<_>>())
        })
        .evaluate("Together", |stub: Stub| async move {
            let values = futures::try_join!(stub.get_state("a"), stub.get_state("b"))?;
            Ok::<_, Error>([values.0, values.1].map(|value| value.map(|value| value.to_vec())))
        })
        .submit("Batch", batch)
        .submit("BatchThenFail", |stub: Stub| async move {
            stub.start_write_batch();
            stub.put_state("k", "v").await?;
            Err::<(), _>(Error::new("as requested"))
        })
        .submit("Private", |stub: Stub| async move {
            let before = stub.get_private_data("coll_", "k").await?;
            stub.put_private_data("coll_", "k", "private").await?;
            let wrong = stub.get_private_data("", "k").await.unwrap_err();
            Ok::<_, Error>((before.map(|value| value.to_vec()), wrong.to_string()))
        })
        .evaluate("Facts", facts)
        .submit("Event", |stub: Stub| async move {
            stub.set_event("first", "1")?;
            stub.set_event("last", "2")?;
            stub.set_event("", "3").map_err(|_| Error::new("").with_status(418).with_payload("p"))
        })
        .submit("Panic", |stub: Stub| async move {
            stub.set_event("never", "")?;
            assert!(stub.tx_id().is_empty(), "as requested");
            Ok::<_, Error>(())
        })
        .evaluate("Big", |_: Stub, bytes: u32| async move { Ok::<_, Error>("x".repeat(bytes as usize)) })
        .submit(
            "PutBig",
            |stub: Stub, bytes: u32| async move { stub.put_state("big", vec![b'x'; bytes as usize]).await },
        )
        .evaluate("Length", |stub: Stub, key: String| async move {
            let value = stub.get_state(&key).await?;
            Ok::<_, Error>(value.map(|value| value.len()))
        })
        .submit("Leak", |stub: Stub| async move {
            tokio::spawn(async move {
                let error = loop {
                    if let Err(error) = stub.get_state("k").await {
                        break error;
                    }
                };
                LEAKED.send(error.to_string()).ok();
            });
            Ok::<_, Error>(())
        })
        .submit("Wait", wait)
}

/// Receives the error of a ledger call after the end of its transaction.
pub static LEAKED: std::sync::LazyLock<tokio::sync::broadcast::Sender<String>> =
    std::sync::LazyLock::new(|| tokio::sync::broadcast::channel(4).0);

async fn page(stub: Stub, size: i32, bookmark: String) -> Result<(Vec<String>, String), Error> {
    let (found, page) = stub.get_state_by_range_with_pagination("", "", size, &bookmark).await?;
    let keys: Vec<_> = found.map(|entry| entry.map(|entry| entry.key)).try_collect().await?;
    assert_eq!(usize::try_from(page.fetched_records_count).ok(), Some(keys.len()));
    Ok((keys, page.bookmark))
}

async fn batch(stub: Stub, finish: bool) -> Result<(), Error> {
    stub.start_write_batch();
    for count in 0..150 {
        stub.put_state(&format!("k{count:03}"), "v").await?;
    }
    stub.put_state("k000", "again").await?;
    if finish {
        stub.finish_write_batch().await?;
    }
    Ok(())
}

async fn facts(stub: Stub, _: String) -> Result<Vec<String>, Error> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let seconds = stub.timestamp().and_then(|time| time.duration_since(std::time::SystemTime::UNIX_EPOCH).ok());
    Ok(vec![
        stub.tx_id().to_owned(),
        stub.channel_id().to_owned(),
        stub.function(),
        stub.args().len().to_string(),
        text(stub.creator()),
        text(&stub.transient()["secret"]),
        format!("{:02x?}", stub.binding()).replace([',', ' ', '[', ']'], ""),
        seconds.map(|seconds| seconds.as_secs().to_string()).unwrap_or_default(),
        stub.signed_proposal().map(|signed| text(&signed.signature)).unwrap_or_default(),
    ])
}
