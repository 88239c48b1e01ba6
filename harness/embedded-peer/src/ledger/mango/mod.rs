//! Rich queries over JSON objects with the results of CouchDB: Mango selectors, fields, sort, skip
//! and bookmarks. There are no indexes: a query may name one, and a sort needs none. The results
//! are those with an index over the sort's fields.

mod collate;
mod json;
mod matching;
mod options;
mod selector;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use self::collate::compare;
pub(crate) use self::json::Json;
use self::matching::ID;
use self::options::Options;
use self::selector::Refusal;
use super::error::LedgerError;
use super::key::Key;
use super::state::{Values, VersionedValue};

/// The number of results that a peer requests from CouchDB at a time
/// (`ledger.state.couchDBConfig.internalQueryLimit`).
const INTERNAL_LIMIT: usize = 1000;

/// A parsed query.
#[derive(Debug)]
pub(crate) struct Query {
    options: Options,
}

/// The results in order.
pub(crate) struct Answer {
    pub(crate) rows: Vec<(Key, Arc<VersionedValue>)>,
    /// Where the next page starts.
    pub(crate) bookmark: String,
}

/// A matching document with its sort values.
struct Found {
    sort: Vec<Json>,
    key: Key,
    document: Json,
    value: Arc<VersionedValue>,
}

/// The end of a page.
struct Position {
    sort: Vec<Json>,
    key: String,
}

impl Query {
    /// Parses a query as the peer and CouchDB do.
    ///
    /// # Errors
    ///
    /// The text that a chaincode gets from them.
    pub(crate) fn parse(query: &str) -> Result<Self, LedgerError> {
        let fields = options::decode(query).map_err(LedgerError::Query)?;
        let options = Options::read(&fields).map_err(LedgerError::from)?;
        Ok(Self { options })
    }

    /// At most `limit` results after the bookmark.
    pub(crate) fn run(&self, values: Option<&Values>, limit: usize, bookmark: &str) -> Result<Answer, LedgerError> {
        let bookmark = if bookmark.is_empty() { self.options.bookmark.as_str() } else { bookmark };
        let after = (!bookmark.is_empty()).then(|| Position::decode(bookmark)).transpose()?;
        let mut found = self.find(values, after.as_ref());
        found.sort_by(|left, right| self.order(&left.sort, &left.key, &right.sort, &right.key));
        let mut rest = found.into_iter().filter(|found| {
            let after = after.as_ref();
            after.is_none_or(|after| {
                self.order(&found.sort, &found.key, &after.sort, &Key::from(after.key.as_str())).is_gt()
            })
        });

        let mut rows = Vec::new();
        let mut last = None;
        while rows.len() < limit {
            // The peer repeats the query with the bookmark, and CouchDB applies the skip each time.
            let page: Vec<Found> =
                rest.by_ref().skip(self.options.skip).take(INTERNAL_LIMIT.min(limit - rows.len())).collect();
            let full = page.len() == INTERNAL_LIMIT;
            for found in page {
                rows.push((found.key.clone(), self.project(&found)));
                last = Some((found.sort, found.key));
            }
            if !full {
                break;
            }
        }
        let bookmark = match last {
            Some((sort, key)) => Position { sort, key: key.as_str().to_owned() }.encode(),
            None if bookmark.is_empty() => "nil".to_owned(),
            None => bookmark.to_owned(),
        };
        Ok(Answer { rows, bookmark })
    }

    fn find(&self, values: Option<&Values>, after: Option<&Position>) -> Vec<Found> {
        let start = match after {
            Some(after) if self.options.sort.is_empty() => Bound::Excluded(after.key.as_bytes()),
            _ => Bound::Unbounded,
        };
        let entries = values.into_iter().flat_map(|values| values.range(start, &[]));
        entries.filter_map(|(key, value)| self.examine(key, value)).collect()
    }

    fn examine(&self, key: &Key, value: &Arc<VersionedValue>) -> Option<Found> {
        let mut document = Json::document(&value.value)?;
        if let Json::Object(fields) = &mut document {
            fields.insert(ID.to_owned(), Json::String(key.as_str().to_owned()));
        }
        if !self.options.selector.as_ref().is_none_or(|selector| selector.matches(&document)) {
            return None;
        }
        // An index contains only documents that have all its fields.
        let sort = self.options.sort.iter().map(|path| document.field(path).cloned()).collect::<Option<Vec<_>>>()?;
        Some(Found { sort, key: key.clone(), document, value: Arc::clone(value) })
    }

    fn order(&self, left: &[Json], left_key: &Key, right: &[Json], right_key: &Key) -> Ordering {
        let order = left
            .iter()
            .zip(right)
            .map(|(left, right)| compare(left, right))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| left_key.cmp(right_key));
        if self.options.descending { order.reverse() } else { order }
    }

    /// The value as the peer returns it: only the selected fields, re-encoded.
    fn project(&self, found: &Found) -> Arc<VersionedValue> {
        let mut document = match &self.options.fields {
            None => found.document.clone(),
            Some(paths) => {
                let mut projected = BTreeMap::new();
                for path in paths {
                    if let Some(value) = found.document.field(path) {
                        place(&mut projected, path, value.clone());
                    }
                }
                Json::Object(projected)
            }
        };
        if let Json::Object(fields) = &mut document {
            fields.remove(ID);
        }
        Arc::new(VersionedValue {
            value: Bytes::from(document.text()),
            version: found.value.version,
            metadata: found.value.metadata.clone(),
        })
    }
}

/// Inserts a value at a path and creates the objects on the path.
fn place(fields: &mut BTreeMap<String, Json>, path: &[String], value: Json) {
    let Some((name, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        fields.insert(name.clone(), value);
        return;
    }
    let next = fields.entry(name.clone()).or_insert_with(|| Json::Object(BTreeMap::new()));
    if let Json::Object(next) = next {
        place(next, rest, value);
    }
}

impl Position {
    fn encode(&self) -> String {
        let position = Json::Array(vec![Json::String(self.key.clone()), Json::Array(self.sort.clone())]);
        URL_SAFE_NO_PAD.encode(position.text())
    }

    fn decode(bookmark: &str) -> Result<Self, LedgerError> {
        let bytes = URL_SAFE_NO_PAD.decode(bookmark).ok();
        match bytes.and_then(|bytes| serde_json::from_slice::<Json>(&bytes).ok()) {
            Some(Json::Array(parts)) => match <[Json; 2]>::try_from(parts) {
                Ok([Json::String(key), Json::Array(sort)]) => Ok(Self { sort, key }),
                _ => Err(invalid_bookmark(bookmark)),
            },
            _ => Err(invalid_bookmark(bookmark)),
        }
    }
}

fn invalid_bookmark(bookmark: &str) -> LedgerError {
    let bookmark = Json::String(bookmark.to_owned()).text();
    Refusal::new("invalid_bookmark", format!("Invalid bookmark value: {bookmark}")).into()
}

impl From<Refusal> for LedgerError {
    fn from(refusal: Refusal) -> Self {
        Self::Query(format!(
            "error handling CouchDB request. Error:{},  Status Code:{},  Reason:{}",
            refusal.error, refusal.status, refusal.reason
        ))
    }
}

#[cfg(test)]
mod tests;
