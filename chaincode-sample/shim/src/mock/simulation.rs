//! What one transaction reads and writes: requests in, answers out.
//!
//! Which requests go together is the peer's rule (`lockbased_tx_simulator` of
//! Fabric's ledger): pages, and queries of private data, only in transactions
//! that do not write.

use std::collections::{BTreeMap, BTreeSet};

use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::write_record::Type as RecordType;
use fabric_protos::protos::{
    DelState, GetHistoryForKey, GetQueryResult, GetState, GetStateByRange, GetStateMetadata, GetStateMultiple,
    GetStateMultipleResult, PurgePrivateState, PutState, PutStateMetadata, QueryMetadata, QueryResponse,
    QueryResponseMetadata, QueryResultBytes, QueryStateClose, QueryStateNext, StateMetadata, StateMetadataResult,
    WriteBatchState,
};
use fabric_protos::queryresult::Kv;
use prost::Message;
use sha2::{Digest, Sha256};

use super::mango::Mango;
use super::world::{Change, Read, Slot, World, Write, slot};
use crate::stub::VALIDATION_PARAMETER;

/// Results in one portion, as a peer sends them (`maxResultLimit` in
/// `core/chaincode/query_response_generator.go`).
const PORTION: usize = 100;

/// A range that was read: its keys and their versions then.
#[derive(Debug, Clone)]
pub(super) struct RangeRead {
    pub(super) chaincode: String,
    pub(super) collection: String,
    pub(super) start: String,
    pub(super) end: String,
    pub(super) keys: Vec<(String, u64)>,
}

/// Everything that a transaction read and wrote.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorded {
    pub(super) reads: Vec<Read>,
    pub(super) ranges: Vec<RangeRead>,
    pub(super) values: BTreeMap<Slot, Change>,
    pub(super) policies: BTreeMap<Slot, Change>,
}

impl Recorded {
    pub(super) fn writes(&self) -> Vec<Write> {
        let changes = self.values.iter().chain(&self.policies);
        let write = |(slot, change): (&Slot, &Change)| {
            let (chaincode, collection, key) = slot.clone();
            Write { chaincode, collection, key, change: change.clone() }
        };
        let mut writes: Vec<_> = changes.map(write).collect();
        writes.sort_by(|a, b| (&a.chaincode, &a.collection, &a.key).cmp(&(&b.chaincode, &b.collection, &b.key)));
        writes
    }

    fn is_empty(&self) -> bool {
        self.values.is_empty() && self.policies.is_empty()
    }
}

/// A transaction while it runs.
pub(super) struct Simulation<'a> {
    world: &'a World,
    collections: &'a BTreeSet<String>,
    recorded: Recorded,
    cursors: BTreeMap<String, Vec<QueryResultBytes>>,
    next_cursor: u64,
    /// What was done after which nothing may be written.
    read_only: Option<&'static str>,
}

type Answer = Result<Vec<u8>, String>;

impl<'a> Simulation<'a> {
    pub(super) fn new(world: &'a World, collections: &'a BTreeSet<String>) -> Self {
        Self {
            world,
            collections,
            recorded: Recorded::default(),
            cursors: BTreeMap::new(),
            next_cursor: 0,
            read_only: None,
        }
    }

    pub(super) fn into_recorded(self) -> Recorded {
        self.recorded
    }

    /// Answers one request of a chaincode.
    pub(super) fn answer(&mut self, chaincode: &str, kind: Type, payload: &[u8]) -> Answer {
        match kind {
            Type::GetState => {
                let GetState { key, collection } = read(payload)?;
                self.get(chaincode, &collection, &key)
            }
            Type::GetStateMultiple => {
                let GetStateMultiple { keys, collection } = read(payload)?;
                let values = keys.iter().map(|key| self.get(chaincode, &collection, key).map(Into::into));
                Ok(GetStateMultipleResult { values: values.collect::<Result<_, String>>()? }.encode_to_vec())
            }
            Type::GetPrivateDataHash => {
                let GetState { key, collection } = read(payload)?;
                let value = self.get(chaincode, &collection, &key)?;
                Ok(if value.is_empty() { value } else { Sha256::digest(&value).to_vec() })
            }
            Type::GetStateMetadata => {
                let GetStateMetadata { key, collection } = read(payload)?;
                self.known(&collection)?;
                self.record_read(chaincode, &collection, &key);
                let policy = self.world.policy(chaincode, &collection, &key).map(<[u8]>::to_vec);
                let entry = |value| StateMetadata { metakey: VALIDATION_PARAMETER.to_owned(), value };
                Ok(StateMetadataResult { entries: policy.map(entry).into_iter().collect() }.encode_to_vec())
            }
            Type::GetStateByRange => self.range(chaincode, read(payload)?),
            Type::GetQueryResult => self.rich(chaincode, read(payload)?),
            Type::GetHistoryForKey => {
                let GetHistoryForKey { key } = read(payload)?;
                let changes = self.world.history(chaincode, &key);
                let results = changes.iter().map(encoded).collect();
                Ok(self.portion(results).encode_to_vec())
            }
            Type::QueryStateNext => {
                let QueryStateNext { id } = read(payload)?;
                let left = self.cursors.remove(&id).ok_or("query iterator not found")?;
                Ok(self.portion_of(id, left).encode_to_vec())
            }
            Type::QueryStateClose => {
                let QueryStateClose { id } = read(payload)?;
                self.cursors.remove(&id);
                Ok(QueryResponse { id, ..QueryResponse::default() }.encode_to_vec())
            }
            _ => self.write_request(chaincode, kind, payload).map(|()| Vec::new()),
        }
    }

    fn write_request(&mut self, chaincode: &str, kind: Type, payload: &[u8]) -> Result<(), String> {
        match kind {
            Type::PutState => {
                let PutState { key, value, collection } = read(payload)?;
                self.write(chaincode, &collection, &key, Change::Put(value.to_vec()))
            }
            Type::DelState => {
                let DelState { key, collection } = read(payload)?;
                self.write(chaincode, &collection, &key, Change::Delete)
            }
            Type::PurgePrivateData => {
                let PurgePrivateState { key, collection } = read(payload)?;
                self.write(chaincode, &collection, &key, Change::Purge)
            }
            Type::PutStateMetadata => {
                let PutStateMetadata { key, collection, metadata } = read(payload)?;
                let policy = metadata.map(|metadata| metadata.value).unwrap_or_default();
                self.write(chaincode, &collection, &key, Change::Policy(policy))
            }
            Type::WriteBatchState => {
                let WriteBatchState { rec } = read(payload)?;
                for record in rec {
                    let change = match record.r#type() {
                        RecordType::PutState => Change::Put(record.value.to_vec()),
                        RecordType::DelState => Change::Delete,
                        RecordType::PurgePrivateData => Change::Purge,
                        RecordType::PutStateMetadata => {
                            Change::Policy(record.metadata.map(|metadata| metadata.value).unwrap_or_default())
                        }
                        RecordType::Undefined => return Err("a write of no type".to_owned()),
                    };
                    self.write(chaincode, &record.collection, &record.key, change)?;
                }
                Ok(())
            }
            other => Err(format!("{} is not possible on a MockLedger", other.as_str_name())),
        }
    }

    fn get(&mut self, chaincode: &str, collection: &str, key: &str) -> Answer {
        self.known(collection)?;
        self.record_read(chaincode, collection, key);
        Ok(self.world.value(chaincode, collection, key).unwrap_or_default().to_vec())
    }

    fn record_read(&mut self, chaincode: &str, collection: &str, key: &str) {
        let version = self.world.entry(&slot(chaincode, collection, key)).map(|entry| entry.version);
        let (chaincode, collection, key) = slot(chaincode, collection, key);
        self.recorded.reads.push(Read { chaincode, collection, key, version });
    }

    fn write(&mut self, chaincode: &str, collection: &str, key: &str, change: Change) -> Result<(), String> {
        self.known(collection)?;
        if let Some(done) = self.read_only {
            return Err(format!("the transaction has already made {done}: writes are not allowed after that"));
        }
        let changes = match change {
            Change::Policy(_) => &mut self.recorded.policies,
            _ => &mut self.recorded.values,
        };
        changes.insert(slot(chaincode, collection, key), change);
        Ok(())
    }

    fn range(&mut self, chaincode: &str, request: GetStateByRange) -> Answer {
        let GetStateByRange { start_key, end_key, collection, metadata } = request;
        let page = self.page(&collection, &metadata)?;
        let start = page.as_ref().map(|page| &page.bookmark).filter(|bookmark| !bookmark.is_empty());
        let start = start.unwrap_or(&start_key).clone();
        let world = self.world;
        let found: Vec<_> = world.range(chaincode, &collection, &start, &end_key).collect();
        let results = |found: &[(&str, &super::world::Entry)]| -> Vec<_> {
            found.iter().map(|(key, entry)| kv(chaincode, key, &entry.value)).collect()
        };
        if let Some(page) = page {
            let size = usize::try_from(page.page_size).unwrap_or_default();
            let bookmark = found.get(size).map(|(key, _)| (*key).to_owned()).unwrap_or_default();
            return Ok(one_page(results(&found[..size.min(found.len())]), bookmark));
        }
        let keys = found.iter().map(|(key, entry)| ((*key).to_owned(), entry.version)).collect();
        let results = results(&found);
        let (chaincode, collection, start) = slot(chaincode, &collection, &start);
        self.recorded.ranges.push(RangeRead { chaincode, collection, start, end: end_key, keys });
        Ok(self.portion(results).encode_to_vec())
    }

    fn rich(&mut self, chaincode: &str, request: GetQueryResult) -> Answer {
        let GetQueryResult { query, collection, metadata } = request;
        let page = self.page(&collection, &metadata)?;
        let query = Mango::parse(&query)?;
        let values = self.world.values(chaincode, &collection);
        let found = values.filter(|(_, value)| query.matches(value));
        let mut results: Vec<_> = found.map(|(key, value)| kv(chaincode, key, value)).collect();
        results.truncate(query.limit);
        let Some(page) = page else {
            return Ok(self.portion(results).encode_to_vec());
        };
        // Bookmarks of CouchDB are opaque; here they count results.
        let skip = if page.bookmark.is_empty() { Ok(0) } else { page.bookmark.parse() };
        let skip: usize = skip.map_err(|_| format!("invalid bookmark value {:?}", page.bookmark))?;
        let size = usize::try_from(page.page_size).unwrap_or_default();
        let results: Vec<_> = results.into_iter().skip(skip).take(size).collect();
        let bookmark = (skip + results.len()).to_string();
        Ok(one_page(results, bookmark))
    }

    /// Checks that a query is possible now, and reads its page.
    fn page(&mut self, collection: &str, metadata: &[u8]) -> Result<Option<QueryMetadata>, String> {
        self.known(collection)?;
        let page = if metadata.is_empty() { None } else { Some(read::<QueryMetadata>(metadata)?) };
        let kind = match (&page, collection) {
            (Some(_), _) => "a paginated query",
            (None, "") => return Ok(None),
            (None, _) => "a query of private data",
        };
        if !self.recorded.is_empty() {
            return Err(format!("the transaction has already written: {kind} is possible only in one that does not"));
        }
        self.read_only = Some(kind);
        match page {
            Some(page) if page.page_size < 1 => Err("the page size must be 1 or more".to_owned()),
            page => Ok(page),
        }
    }

    fn portion(&mut self, results: Vec<QueryResultBytes>) -> QueryResponse {
        self.next_cursor += 1;
        self.portion_of(self.next_cursor.to_string(), results)
    }

    fn portion_of(&mut self, id: String, mut results: Vec<QueryResultBytes>) -> QueryResponse {
        let left = results.split_off(results.len().min(PORTION));
        let has_more = !left.is_empty();
        if has_more {
            self.cursors.insert(id.clone(), left);
        }
        QueryResponse { results, has_more, id, metadata: Vec::new() }
    }

    fn known(&self, collection: &str) -> Result<(), String> {
        if collection.is_empty() || self.collections.contains(collection) {
            return Ok(());
        }
        Err(format!("the collection {collection:?} is not defined: add it by MockLedger::with_collection"))
    }
}

fn one_page(results: Vec<QueryResultBytes>, bookmark: String) -> Vec<u8> {
    let fetched_records_count = i32::try_from(results.len()).unwrap_or(i32::MAX);
    let metadata = QueryResponseMetadata { fetched_records_count, bookmark }.encode_to_vec();
    QueryResponse { results, has_more: false, id: String::new(), metadata }.encode_to_vec()
}

fn kv(namespace: &str, key: &str, value: &[u8]) -> QueryResultBytes {
    encoded(&Kv { namespace: namespace.to_owned(), key: key.to_owned(), value: value.to_vec().into() })
}

fn encoded(result: &impl Message) -> QueryResultBytes {
    QueryResultBytes { result_bytes: result.encode_to_vec().into() }
}

fn read<M: Message + Default>(payload: &[u8]) -> Result<M, String> {
    M::decode(payload).map_err(|error| format!("the request cannot be read: {error}"))
}
