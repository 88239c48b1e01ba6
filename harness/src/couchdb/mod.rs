//! Claims the `CouchDB`s of the peers before anything starts, and removes the channels' databases at the end.
//!
//! A CouchDB outlives a run, and a ledger does not. A peer that joins a channel with a new ledger, and
//! finds databases of an older ledger, continues with the old state and chaincode definitions. Such
//! databases are reported, or removed if they are a killed run's. Nothing here starts a CouchDB or reads
//! a peer's data.

mod claim;
mod http;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use fabric_network::couchdb::CouchDb;
use fabric_network::topology::Topology;
use futures::future::join_all;

use self::claim::Claim;
use crate::runtime::RuntimeError;

/// The longest that one request may take.
const LONGEST_REQUEST: Duration = Duration::from_secs(10);

/// How many databases an error names.
const NAMED: usize = 5;

/// A CouchDB that a run can't use, or can't leave as it was.
#[derive(thiserror::Error)]
#[error("--couchdb {url}: {source}")]
pub struct CouchDbError {
    /// Which one, without user and password.
    pub url: String,
    /// Why not.
    #[source]
    pub source: Box<Unfit>,
}

crate::console::debug_as_text!(CouchDbError);

/// What is wrong with a CouchDB. Says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// No connection, or no answer in time.
    #[error("can't be asked: {0}; is it running, and is the port CouchDB's?")]
    Unreachable(String),
    /// Something else answers there.
    #[error("what answers there is no CouchDB: {0}")]
    Stranger(String),
    /// A version that a peer does not start with.
    #[error("is version {0}, and a peer needs 2.0 or newer (Fabric supports 3.1 and newer)")]
    TooOld(String),
    /// User or password.
    #[error("refuses the user or the password, or the user is no administrator ({0})")]
    Refused(String),
    /// Another answer than a request should get.
    #[error("answers {status} to {request}: {reason}")]
    Answer {
        /// Method and path.
        request: String,
        /// HTTP's status.
        status: u16,
        /// The reason that it gives.
        reason: String,
    },
    /// Databases of the channel from another ledger.
    #[error(
        "has databases of another network's channel {channel}: {databases}; a peer with a new ledger would go on with \
         that state. Delete each if it is not needed (curl -u USER -X DELETE {example}), or give an empty CouchDB"
    )]
    Leftover {
        /// The channel.
        channel: String,
        /// The databases.
        databases: Names,
        /// The URL of one of them.
        example: String,
    },
    /// Databases without a format marker: a peer assumes that they are of Fabric 1.
    #[error("has databases that are no peer's: {databases}; a peer refuses to start on it. Give an empty CouchDB")]
    Foreign {
        /// The databases.
        databases: Names,
    },
    /// Another run has it.
    #[error("is in use by another run, of {by}; wait for its end, or delete {document} if that run has crashed")]
    InUse {
        /// Host and process of the other run.
        by: String,
        /// The URL of that run's claim.
        document: String,
    },
    /// The nodes don't reach it.
    #[error(transparent)]
    FromNodes(#[from] RuntimeError),
}

/// Names, of which the first few are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl fmt::Display for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(NAMED)];
        formatter.write_str(&shown.join(", "))?;
        match self.0.len() - shown.len() {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
        }
    }
}

/// The `CouchDB`s of a run, which no other run takes until [`release`](Self::release). A run that ends
/// without it is found out by the next one on this machine.
#[derive(Debug)]
#[must_use = "they are in use until they are released"]
pub struct Databases {
    claims: Vec<Claim>,
}

impl Databases {
    /// Claims each CouchDB: it answers, lets the user in, is in no other run's use, and has nothing
    /// that keeps a new network of this topology from using it. Leftovers of a killed run are
    /// removed first. `reaches` checks whether the nodes reach its address. No request takes longer than
    /// `timeout` or 10 s.
    ///
    /// # Errors
    ///
    /// The first one that can't be used, and why. Then none is claimed.
    pub async fn claim(
        couchdbs: &[CouchDb],
        topology: &Topology,
        timeout: Duration,
        reaches: impl Fn(IpAddr) -> Result<(), RuntimeError>,
    ) -> Result<Self, CouchDbError> {
        let channels: Vec<String> = topology.channels.iter().map(|channel| channel.name.clone()).collect();
        let bound = timeout.min(LONGEST_REQUEST);
        let claim = async |couchdb| Claim::begin(couchdb, &channels, bound, &reaches).await;
        let (mut claims, mut mistake) = (Vec::new(), None);
        for (couchdb, claimed) in couchdbs.iter().zip(join_all(couchdbs.iter().map(claim)).await) {
            match claimed {
                Ok(claim) => claims.push(claim),
                Err(source) => mistake = mistake.or_else(|| Some(with_couchdb(couchdb, source))),
            }
        }
        let claimed = Self { claims };
        match mistake {
            None => Ok(claimed),
            Some(mistake) => {
                for left in claimed.release().await.err().unwrap_or_default() {
                    tracing::warn!("not removed: {left}");
                }
                Err(mistake)
            }
        }
    }

    /// Removes the databases of the topology's channels, and what the claim has put there. Call it when
    /// the peers have ended.
    ///
    /// # Errors
    ///
    /// What could not be removed.
    pub async fn release(self) -> Result<(), Vec<CouchDbError>> {
        let released = self.claims.iter().map(async |claim| {
            let released = claim.release().await;
            released.map_err(|source| with_couchdb(claim.couchdb(), source))
        });
        let left: Vec<CouchDbError> = join_all(released).await.into_iter().filter_map(Result::err).collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    }
}

/// The version of a CouchDB that lets the user in, asked as [`Databases::claim`] does.
///
/// # Errors
///
/// Why a run could not use it.
pub async fn version(couchdb: &CouchDb, timeout: Duration) -> Result<String, CouchDbError> {
    claim::version(couchdb, timeout.min(LONGEST_REQUEST)).await.map_err(|source| with_couchdb(couchdb, source))
}

fn with_couchdb(couchdb: &CouchDb, source: Unfit) -> CouchDbError {
    CouchDbError { url: couchdb.to_string(), source: Box::new(source) }
}
