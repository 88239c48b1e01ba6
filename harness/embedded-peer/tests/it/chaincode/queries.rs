//! Tests of queries: batches, pages, ends.

use embedded_peer::chaincode::ChaincodeConfig;
use fabric_protos::prost::Message;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{
    ChaincodeMessage, GetHistoryForKey, GetStateByRange, QueryMetadata, QueryResponse, QueryResponseMetadata,
    QueryStateClose, QueryStateNext,
};
use fabric_protos::queryresult::{KeyModification, Kv};

use super::peer::{Begun, Connected, Peer};
use super::server::text;

/// A chaincode with this number of keys, starting at k0000.
async fn with_keys(number: usize, change: impl FnOnce(&mut ChaincodeConfig)) -> (Connected, Begun) {
    let peer = Peer::with(|_, config| change(config));
    let keys: Vec<String> = (0..number).map(|number| format!("k{number:04}")).collect();
    peer.commit(keys.iter().map(|key| (key.as_str(), key.as_bytes())));
    let mut connected = Connected::with(peer).await;
    let begun = connected.begin("tx1").await;
    (connected, begun)
}

#[track_caller]
fn response(answer: &ChaincodeMessage) -> QueryResponse {
    assert_eq!(answer.r#type(), Type::Response, "{}", text(answer));
    QueryResponse::decode(answer.payload.clone()).unwrap()
}

fn keys(response: &QueryResponse) -> Vec<String> {
    response.results.iter().map(|result| Kv::decode(result.result_bytes.clone()).unwrap().key).collect()
}

fn range(start: &str, end: &str) -> GetStateByRange {
    GetStateByRange { start_key: start.to_owned(), end_key: end.to_owned(), ..GetStateByRange::default() }
}

fn page(start: &str, page_size: i32, bookmark: &str) -> GetStateByRange {
    let metadata = QueryMetadata { page_size, bookmark: bookmark.to_owned() }.encode_to_vec();
    GetStateByRange { metadata, ..range(start, "") }
}

#[tokio::test]
async fn ranges_come_in_batches_of_a_hundred() {
    for (number, batches) in [(0, &[0][..]), (99, &[99]), (100, &[100]), (101, &[100, 1]), (250, &[100, 100, 50])] {
        let (mut connected, begun) = with_keys(number, |_| {}).await;
        let mut answer = response(&connected.stream.ask(&begun.call, Type::GetStateByRange, range("", "")).await);
        assert_eq!(answer.id.len(), 36);
        let mut seen = keys(&answer);
        let mut sizes = vec![seen.len()];
        while answer.has_more {
            let next = QueryStateNext { id: answer.id };
            answer = response(&connected.stream.ask(&begun.call, Type::QueryStateNext, next).await);
            sizes.push(answer.results.len());
            seen.extend(keys(&answer));
        }
        assert_eq!(sizes, batches, "{number}");
        assert_eq!(seen, (0..number).map(|number| format!("k{number:04}")).collect::<Vec<_>>());
        // Reading the last batch closes the query.
        let id = answer.id;
        let answer = connected.stream.ask(&begun.call, Type::QueryStateNext, QueryStateNext { id }).await;
        assert_eq!(text(&answer), "QUERY_STATE_NEXT failed: transaction ID: tx1: query iterator not found");
    }
}

#[tokio::test]
async fn queries_end_at_the_total_limit() {
    let (mut connected, begun) = with_keys(250, |config| config.total_query_limit = 150).await;
    let answer = response(&connected.stream.ask(&begun.call, Type::GetStateByRange, range("", "")).await);
    assert!(answer.has_more);
    let next = QueryStateNext { id: answer.id.clone() };
    let answer = response(&connected.stream.ask(&begun.call, Type::QueryStateNext, next).await);
    assert_eq!((answer.results.len(), answer.has_more), (50, false));
}

#[tokio::test]
async fn queries_can_be_closed_early_and_repeatedly() {
    let (mut connected, begun) = with_keys(250, |_| {}).await;
    let id = response(&connected.stream.ask(&begun.call, Type::GetStateByRange, range("", "")).await).id;
    for _ in 0..2 {
        let close = QueryStateClose { id: id.clone() };
        let answer = connected.stream.ask(&begun.call, Type::QueryStateClose, close).await;
        assert_eq!(answer.payload.len(), 38, "as recorded of a real peer");
        assert_eq!(response(&answer), QueryResponse { id: id.clone(), ..QueryResponse::default() });
    }
    let answer = connected.stream.ask(&begun.call, Type::QueryStateNext, QueryStateNext { id }).await;
    assert_eq!(text(&answer), "QUERY_STATE_NEXT failed: transaction ID: tx1: query iterator not found");
}

#[tokio::test]
async fn pages_have_the_requested_size_and_a_bookmark() {
    let (mut connected, begun) = with_keys(7, |_| {}).await;
    let mut bookmark = String::new();
    let mut pages = Vec::new();
    loop {
        let asked = page("k0001", 3, &bookmark);
        let answer = response(&connected.stream.ask(&begun.call, Type::GetStateByRange, asked).await);
        assert!(!answer.has_more);
        let metadata = QueryResponseMetadata::decode(answer.metadata.as_slice()).unwrap();
        assert_eq!(metadata.fetched_records_count, i32::try_from(answer.results.len()).unwrap());
        pages.push(keys(&answer));
        bookmark = metadata.bookmark;
        if bookmark.is_empty() {
            break;
        }
    }
    assert_eq!(pages, [vec!["k0001", "k0002", "k0003"], vec!["k0004", "k0005", "k0006"]]);
}

#[tokio::test]
async fn pages_cannot_be_read_after_a_write() {
    let (mut connected, begun) = with_keys(1, |_| {}).await;
    let put = fabric_protos::protos::PutState { key: "x".to_owned(), ..Default::default() };
    connected.stream.ask(&begun.call, Type::PutState, put).await;
    let answer = connected.stream.ask(&begun.call, Type::GetStateByRange, page("", 3, "")).await;
    assert_eq!(
        text(&answer),
        "GET_STATE_BY_RANGE failed: transaction ID: tx1: txid [tx1]: unsuppored transaction. Paginated queries are supported only in a read-only transaction"
    );
}

#[tokio::test]
async fn key_history_lists_all_changes() {
    let peer = Peer::new();
    for value in [&b"1"[..], b"2", b"3"] {
        peer.commit([("a", value)]);
    }
    let mut connected = Connected::with(peer).await;
    let begun = connected.begin("tx1").await;
    let of = GetHistoryForKey { key: "nothing".to_owned() };
    let answer = response(&connected.stream.ask(&begun.call, Type::GetHistoryForKey, of).await);
    assert_eq!(answer.results, []);
    let of = GetHistoryForKey { key: "a".to_owned() };
    let answer = connected.stream.ask(&begun.call, Type::GetHistoryForKey, of).await;
    // The blocks of this test have no envelopes for the history.
    if answer.r#type() == Type::Response {
        let changes = response(&answer).results.into_iter();
        let changes: Vec<_> =
            changes.map(|change| KeyModification::decode(change.result_bytes).unwrap().tx_id).collect();
        assert_eq!(changes, ["commit2", "commit1", "commit0"]);
    } else {
        assert!(text(&answer).starts_with("GET_HISTORY_FOR_KEY failed: transaction ID: tx1: "), "{}", text(&answer));
    }
}
