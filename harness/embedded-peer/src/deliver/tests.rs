use super::*;
use fabric_protos::orderer::{SeekNewest, SeekNextCommit, SeekOldest, SeekSpecified};
use seek_position::Type;

const OLDEST: Type = Type::Oldest(SeekOldest {});
const NEWEST: Type = Type::Newest(SeekNewest {});
const NEXT: Type = Type::NextCommit(SeekNextCommit {});

fn number(number: u64) -> Type {
    Type::Specified(SeekSpecified { number })
}

fn seek(start: Type, stop: Type) -> SeekInfo {
    let position = |place| Some(SeekPosition { r#type: Some(place) });
    SeekInfo { start: position(start), stop: position(stop), ..SeekInfo::default() }
}

#[test]
fn first_and_last_block_match_fabric() {
    for (start, stop, expected) in [
        (OLDEST, NEWEST, Ok((0, 4))),
        (NEWEST, NEWEST, Ok((4, 4))),
        (OLDEST, OLDEST, Ok((0, 0))),
        (number(2), number(3), Ok((2, 3))),
        (number(2), OLDEST, Ok((2, 2))),
        (number(5), number(u64::MAX), Ok((5, u64::MAX))),
        (NEXT, number(9), Ok((5, 9))),
        // Beyond the newest block the stream never ends.
        (number(5), NEWEST, Ok((5, u64::MAX))),
        (NEXT, NEXT, Ok((5, u64::MAX))),
        (number(3), number(2), Err(Code::BadRequest)),
        (number(6), number(6), Err(Code::NotFound)),
    ] {
        assert_eq!(range(&seek(start, stop), 5), expected, "{start:?} to {stop:?}");
    }
    let half = SeekInfo { stop: None, ..seek(OLDEST, OLDEST) };
    assert_eq!(range(&half, 5), Err(Code::BadRequest));
    let nowhere = SeekInfo { start: Some(SeekPosition { r#type: None }), ..seek(OLDEST, OLDEST) };
    assert_eq!(range(&nowhere, 5), Err(Code::NotFound));
}

struct Fixed {
    heights: watch::Sender<u64>,
    sequence: std::sync::atomic::AtomicU64,
    checks: std::sync::atomic::AtomicU64,
}

use std::sync::atomic::Ordering::Relaxed;

impl Chain for Fixed {
    fn height(&self) -> u64 {
        *self.heights.borrow()
    }

    fn heights(&self) -> watch::Receiver<u64> {
        self.heights.subscribe()
    }

    fn block(&self, _: u64) -> Option<Arc<Block>> {
        Some(Arc::default())
    }

    fn sequence(&self) -> u64 {
        self.sequence.load(Relaxed)
    }

    fn check(&self, _: &SignedData) -> Result<(), String> {
        self.checks.fetch_add(1, Relaxed);
        if self.sequence() > 1 { Err("no longer a member".to_owned()) } else { Ok(()) }
    }
}

fn delivery(chain: &Arc<Fixed>) -> Delivery {
    let empty = bytes::Bytes::new();
    Delivery {
        channel: "c".into(),
        heights: chain.heights(),
        chain: chain.clone(),
        signed: SignedData { message: empty.clone(), identity: empty.clone(), signature: empty },
        expires: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(100)),
        sequence: None,
        next: 0,
        last: u64::MAX,
        fails_if_not_ready: false,
        is_best_effort: false,
        content: Content::Whole,
    }
}

fn chain() -> Arc<Fixed> {
    Arc::new(Fixed {
        heights: watch::Sender::new(1),
        sequence: std::sync::atomic::AtomicU64::new(0),
        checks: std::sync::atomic::AtomicU64::new(0),
    })
}

#[tokio::test]
async fn deliver_waits_for_blocks_unless_fail_if_not_ready() {
    let chain = chain();
    let clock = Clock::stopped(SystemTime::UNIX_EPOCH);
    let mut delivery = delivery(&chain);
    delivery.block(&clock).await.unwrap();
    let (block, ()) = futures::future::join(delivery.block(&clock), async {
        chain.heights.send_replace(2);
    })
    .await;
    block.unwrap();
    delivery.fails_if_not_ready = true;
    assert_eq!(delivery.block(&clock).await.unwrap_err(), Code::NotFound);
}

#[tokio::test]
async fn access_is_rechecked_on_configuration_change_and_expiry() {
    let chain = chain();
    chain.heights.send_replace(10);
    let clock = Clock::stopped(SystemTime::UNIX_EPOCH);
    let mut delivery = delivery(&chain);
    for _ in 0..3 {
        delivery.block(&clock).await.unwrap();
    }
    assert_eq!(chain.checks.load(Relaxed), 1);
    chain.sequence.store(1, Relaxed);
    delivery.block(&clock).await.unwrap();
    assert_eq!(chain.checks.load(Relaxed), 2);
    clock.advance(Duration::from_secs(101));
    assert_eq!(delivery.block(&clock).await.unwrap_err(), Code::Forbidden);
    clock.set(SystemTime::UNIX_EPOCH);
    chain.sequence.store(2, Relaxed);
    assert_eq!(delivery.block(&clock).await.unwrap_err(), Code::Forbidden);
}
