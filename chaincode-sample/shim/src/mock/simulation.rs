//! Answers the requests of one transaction and records its reads and writes.
//!
//! As in Fabric's ledger (`lockbased_tx_simulator`), a transaction that writes can run neither
//! paginated queries nor queries of private data.

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
use super::rwset::{Change, RangeRead, Read, ReadWriteSet, slot};
use super::world::{Entry, World};
use crate::stub::VALIDATION_PARAMETER;

/// The number of results in one batch (`maxResultLimit` in
/// `core/chaincode/query_response_generator.go`).
const BATCH_SIZE: usize = 100;

/// A running transaction.
pub(super) struct Simulation<'a> {
    world: &'a World,
    collections: &'a BTreeSet<String>,
    rwset: ReadWriteSet,
    cursors: BTreeMap<String, Vec<QueryResultBytes>>,
    next_cursor: u64,
    /// The query after which writes are not allowed.
    read_only: Option<&'static str>,
}

type Answer = Result<Vec<u8>, String>;

impl<'a> Simulation<'a> {
    pub(super) fn new(world: &'a World, collections: &'a BTreeSet<String>) -> Self {
        Self {
            world,
            collections,
            rwset: ReadWriteSet::default(),
            cursors: BTreeMap::new(),
            next_cursor: 0,
            read_only: None,
        }
    }

    pub(super) fn into_rwset(self) -> ReadWriteSet {
        self.rwset
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
                self.check_collection(&collection)?;
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
                Ok(self.first_batch(results).encode_to_vec())
            }
            Type::QueryStateNext => {
                let QueryStateNext { id } = read(payload)?;
                let left = self.cursors.remove(&id).ok_or("query iterator not found")?;
                Ok(self.batch(id, left).encode_to_vec())
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
                        RecordType::Undefined => return Err("invalid write record: undefined type".to_owned()),
                    };
                    self.write(chaincode, &record.collection, &record.key, change)?;
                }
                Ok(())
            }
            other => Err(format!("unsupported by MockLedger: {}", other.as_str_name())),
        }
    }

    fn get(&mut self, chaincode: &str, collection: &str, key: &str) -> Answer {
        self.check_collection(collection)?;
        self.record_read(chaincode, collection, key);
        Ok(self.world.value(chaincode, collection, key).unwrap_or_default().to_vec())
    }

    fn record_read(&mut self, chaincode: &str, collection: &str, key: &str) {
        let version = self.world.entry(&slot(chaincode, collection, key)).map(|entry| entry.version);
        let (chaincode, collection, key) = slot(chaincode, collection, key);
        self.rwset.reads.push(Read { chaincode, collection, key, version });
    }

    fn write(&mut self, chaincode: &str, collection: &str, key: &str, change: Change) -> Result<(), String> {
        self.check_collection(collection)?;
        if let Some(query) = self.read_only {
            return Err(format!("writes are not allowed after {query}"));
        }
        self.rwset.write(slot(chaincode, collection, key), change);
        Ok(())
    }

    fn range(&mut self, chaincode: &str, request: GetStateByRange) -> Answer {
        let GetStateByRange { start_key, end_key, collection, metadata } = request;
        let page = self.page(&collection, &metadata)?;
        let start = page.as_ref().map(|page| &page.bookmark).filter(|bookmark| !bookmark.is_empty());
        let start = start.unwrap_or(&start_key).clone();
        let world = self.world;
        let found: Vec<_> = world.range(chaincode, &collection, &start, &end_key).collect();
        let results = |found: &[(&str, &Entry)]| -> Vec<_> {
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
        self.rwset.ranges.push(RangeRead { chaincode, collection, start, end: end_key, keys });
        Ok(self.first_batch(results).encode_to_vec())
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
            return Ok(self.first_batch(results).encode_to_vec());
        };
        // CouchDB's bookmarks are opaque; here they are the number of results so far.
        let skip = if page.bookmark.is_empty() { Ok(0) } else { page.bookmark.parse() };
        let skip: usize = skip.map_err(|_| format!("invalid bookmark value {:?}", page.bookmark))?;
        let size = usize::try_from(page.page_size).unwrap_or_default();
        let results: Vec<_> = results.into_iter().skip(skip).take(size).collect();
        let bookmark = (skip + results.len()).to_string();
        Ok(one_page(results, bookmark))
    }

    /// Checks that the query is allowed, and decodes its page.
    fn page(&mut self, collection: &str, metadata: &[u8]) -> Result<Option<QueryMetadata>, String> {
        self.check_collection(collection)?;
        let page = if metadata.is_empty() { None } else { Some(read::<QueryMetadata>(metadata)?) };
        let kind = match (&page, collection) {
            (Some(_), _) => "a paginated query",
            (None, "") => return Ok(None),
            (None, _) => "a query of private data",
        };
        if self.rwset.has_writes() {
            return Err(format!("{kind} is not allowed after a write"));
        }
        self.read_only = Some(kind);
        match page {
            Some(page) if page.page_size < 1 => {
                Err(format!("invalid page size {}: must be at least 1", page.page_size))
            }
            page => Ok(page),
        }
    }

    fn first_batch(&mut self, results: Vec<QueryResultBytes>) -> QueryResponse {
        self.next_cursor += 1;
        self.batch(self.next_cursor.to_string(), results)
    }

    fn batch(&mut self, id: String, mut results: Vec<QueryResultBytes>) -> QueryResponse {
        let left = results.split_off(results.len().min(BATCH_SIZE));
        let has_more = !left.is_empty();
        if has_more {
            self.cursors.insert(id.clone(), left);
        }
        QueryResponse { results, has_more, id, metadata: Vec::new() }
    }

    fn check_collection(&self, collection: &str) -> Result<(), String> {
        if collection.is_empty() || self.collections.contains(collection) {
            return Ok(());
        }
        Err(format!("collection {collection:?} not found: add it with MockLedger::with_collection"))
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
    M::decode(payload).map_err(|error| format!("invalid request: {error}"))
}
