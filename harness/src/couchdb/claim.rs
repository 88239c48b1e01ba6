//! One CouchDB that a run has to itself.
//!
//! The claim is a document in the database where a peer notes the format of all others: the one
//! database that does not keep a peer from starting on a CouchDB that is otherwise empty
//! (`core/ledger/kvledger/txmgmt/statedb/statecouchdb/statecouchdb.go`). CouchDB makes a document only
//! once, so of two runs one gets it.

use std::net::IpAddr;
use std::time::Duration;

use fabric_network::couchdb::CouchDb;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::http::{self, Answer, Client};
use super::{Names, Unfit};
use crate::cleanup::Owner;
use crate::runtime::RuntimeError;

/// The database in which a peer notes the format of all others.
const INTERNAL: &str = "fabric__internal";

/// The document in it.
const DOCUMENT: &str = "fabric-harness-run";

/// The oldest version that a peer starts with (`statecouchdb/couchdbutil.go`).
const OLDEST_MAJOR: u32 = 2;

/// The longest name of a channel that is never cut in a database's name (`statecouchdb/couchdbutil.go`).
const UNCUT: usize = 50;

/// A CouchDB in this run's use.
#[derive(Debug)]
pub(super) struct Claim {
    couchdb: CouchDb,
    bound: Duration,
    channels: Vec<String>,
    /// The document's.
    revision: String,
    /// Whether [`INTERNAL`] came with the claim.
    made_internal: bool,
}

#[derive(Deserialize)]
struct Welcome {
    version: String,
}

/// The claim's document.
#[derive(Serialize, Deserialize)]
struct Claimed {
    owner: Owner,
    channels: Vec<String>,
    made_internal: bool,
    #[serde(rename = "_rev", skip_serializing)]
    revision: String,
}

#[derive(Deserialize)]
struct Written {
    rev: String,
}

impl Claim {
    /// Looks whether a new network can use it, and claims it.
    pub(super) async fn begin(
        couchdb: &CouchDb,
        channels: &[String],
        bound: Duration,
        reaches: impl Fn(IpAddr) -> Result<(), RuntimeError>,
    ) -> Result<Self, Unfit> {
        let client = Client::new(couchdb, bound);
        let answer = client.get("/").await?;
        reaches(answer.from)?;
        version_in(&answer)?;
        let new = Self {
            couchdb: couchdb.clone(),
            bound,
            channels: channels.to_vec(),
            revision: String::new(),
            made_internal: false,
        };
        match claimed_by(&client).await? {
            None => new.make(&client).await,
            Some(claimed) if claimed.owner.is_known_dead() => new.take_over(&client, claimed).await,
            Some(claimed) => Err(in_use(couchdb, &claimed)),
        }
    }

    async fn make(mut self, client: &Client<'_>) -> Result<Self, Unfit> {
        check_databases(&self.couchdb, &databases(client).await?, &self.channels)?;
        let internal = client.put(&http::path(&[INTERNAL]), String::new()).await?;
        // Somebody else's, which a peer takes as it is.
        self.made_internal = internal.status != 412;
        if self.made_internal {
            internal.check()?;
        }
        let channels = self.channels.clone();
        self.write(client, &channels, document()).await
    }

    /// Instead of a run that was killed: does first what that one could not do any more.
    async fn take_over(mut self, client: &Client<'_>, dead: Claimed) -> Result<Self, Unfit> {
        tracing::debug!("{}: removing what process {} left when it was killed", self.couchdb, dead.owner.process);
        self.made_internal = dead.made_internal;
        let both = [&self.channels[..], &dead.channels].concat();
        let this = self.write(client, &both, format!("{}?rev={}", document(), dead.revision)).await?;
        let ready = async {
            remove_databases(client, &dead.channels).await?;
            check_databases(&this.couchdb, &databases(client).await?, &this.channels)
        };
        match ready.await {
            Ok(()) => Ok(this),
            Err(error) => {
                this.forget(client, &databases(client).await?).await?;
                Err(error)
            }
        }
    }

    /// Writes the document, unless another run has been faster.
    async fn write(mut self, client: &Client<'_>, channels: &[String], to: String) -> Result<Self, Unfit> {
        let claimed = Claimed {
            owner: Owner::this(),
            channels: channels.to_vec(),
            made_internal: self.made_internal,
            revision: String::new(),
        };
        let answer = client.put(&to, serde_json::json!(claimed).to_string()).await?;
        if answer.status == 409 {
            let faster = claimed_by(client).await?.unwrap_or(claimed);
            return Err(in_use(&self.couchdb, &faster));
        }
        answer.check()?;
        Written { rev: self.revision } = answer.json()?;
        Ok(self)
    }

    pub(super) fn couchdb(&self) -> &CouchDb {
        &self.couchdb
    }

    /// Removes the channels' databases, none of which was there before, and then the claim.
    pub(super) async fn release(&self) -> Result<(), Unfit> {
        let client = Client::new(&self.couchdb, self.bound);
        let others = remove_databases(&client, &self.channels).await?;
        self.forget(&client, &others).await
    }

    /// Removes the claim, with its database if nobody needs that one: others do, for the note in it.
    async fn forget(&self, client: &Client<'_>, others: &[String]) -> Result<(), Unfit> {
        let is_needed = !self.made_internal || others.iter().any(|database| is_foreign(database));
        let document = format!("{}?rev={}", document(), self.revision);
        delete(client, if is_needed { document } else { http::path(&[INTERNAL]) }).await
    }
}

/// Removes every database of the channels: the others.
async fn remove_databases(client: &Client<'_>, channels: &[String]) -> Result<Vec<String>, Unfit> {
    let is_own = |database: &String| channels.iter().any(|channel| is_of_channel(channel, database));
    let (own, others): (Vec<_>, Vec<_>) = databases(client).await?.into_iter().partition(is_own);
    try_join_all(own.iter().map(|database| delete(client, http::path(&[database])))).await?;
    Ok(others)
}

/// The claim that is there, if there is one.
async fn claimed_by(client: &Client<'_>) -> Result<Option<Claimed>, Unfit> {
    let answer = client.get(&document()).await?;
    if answer.status == 404 {
        return Ok(None);
    }
    answer.check()?;
    answer.json().map(Some)
}

fn in_use(couchdb: &CouchDb, Claimed { owner, .. }: &Claimed) -> Unfit {
    let host = owner.place.split(' ').next().unwrap_or_default();
    let by = format!("process {} of {host}", owner.process);
    Unfit::InUse { by, document: format!("{couchdb}{}", document()) }
}

fn document() -> String {
    http::path(&[INTERNAL, DOCUMENT])
}

/// The version, if the user is let in as an administrator.
pub(super) async fn version(couchdb: &CouchDb, bound: Duration) -> Result<String, Unfit> {
    let client = Client::new(couchdb, bound);
    let version = version_in(&client.get("/").await?)?;
    databases(&client).await?;
    Ok(version)
}

/// The version that a peer would start with.
fn version_in(answer: &Answer) -> Result<String, Unfit> {
    if answer.is_refusal() {
        return Err(Unfit::Refused(answer.reason()));
    }
    let Welcome { version } = answer.json()?;
    match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        None => Err(answer.stranger()),
        Some(major) if major < OLDEST_MAJOR => Err(Unfit::TooOld(version)),
        Some(_) => Ok(version),
    }
}

/// Whether a new network with these channels can use these databases.
fn check_databases(couchdb: &CouchDb, databases: &[String], channels: &[String]) -> Result<(), Unfit> {
    for channel in channels {
        let of_channel = databases.iter().filter(|database| is_of_channel(channel, database));
        let of_channel: Vec<String> = of_channel.cloned().collect();
        if let Some(first) = of_channel.first() {
            let example = format!("'{couchdb}{}'", http::path(&[first]));
            return Err(Unfit::Leftover { channel: channel.clone(), example, databases: Names(of_channel) });
        }
    }
    let foreign: Vec<String> = databases.iter().filter(|name| is_foreign(name)).cloned().collect();
    if !foreign.is_empty() && !databases.iter().any(|name| name == INTERNAL) {
        return Err(Unfit::Foreign { databases: Names(foreign) });
    }
    Ok(())
}

/// The name of every database.
async fn databases(client: &Client<'_>) -> Result<Vec<String>, Unfit> {
    let answer = client.get("/_all_dbs").await?;
    answer.check()?;
    answer.json()
}

async fn delete(client: &Client<'_>, path: String) -> Result<(), Unfit> {
    let answer = client.delete(&path).await?;
    // Someone else has removed it.
    if answer.status == 404 { Ok(()) } else { answer.check() }
}

/// Whether a peer made the database for this channel: `CHANNEL_`, `CHANNEL_CHAINCODE`,
/// `CHANNEL_CHAINCODE$$pCOLLECTION`, with `$` for a dot, and a hash for what is cut of long names. The
/// name of a channel has no `_`.
pub(super) fn is_of_channel(channel: &str, database: &str) -> bool {
    if database == INTERNAL {
        return false;
    }
    let channel = channel.replace('.', "$");
    let uncut = database.strip_prefix(&channel).is_some_and(|rest| rest.starts_with('_'));
    let cut = channel.get(..UNCUT).filter(|cut| cut.len() < channel.len()).and_then(|cut| database.strip_prefix(cut));
    uncut || cut.is_some_and(|rest| rest.starts_with(['_', '(']))
}

/// Whether a peer takes the database for somebody's data: it is neither CouchDB's own nor the peer's.
fn is_foreign(database: &str) -> bool {
    !database.starts_with('_') && database != INTERNAL
}
