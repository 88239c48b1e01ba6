//! What passed between client, peers, builder, chaincode and orderers, as data.
//!
//! A [`Journal`] is written by whoever sees a message: the clients that make a call, a
//! [tap](crate::tap), a runtime that hands out what its nodes tell. It decides nothing, and it holds
//! no secret: texts are shortened, values of the world state and transient data are there by their size
//! alone, and a text with a private key in it is left out. Which messages belong to which case is
//! found by [`by_case`].

pub(crate) mod decode;
mod logs;

pub use logs::from_logs;
pub(crate) use logs::{time_of, timestamp};

use schemars::JsonSchema;
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How many messages a journal keeps, the newest.
const LIMIT: usize = 20_000;

/// How many messages of one case are kept, the first.
pub const CASE_LIMIT: usize = 300;

/// What one end of a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Who calls: this program.
    Client,
    /// A peer.
    Peer,
    /// The external builder that a peer runs.
    Builder,
    /// A chaincode server.
    Chaincode,
    /// The ordering service.
    Orderer,
}

/// One end of a message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
pub struct Party {
    /// What it is.
    pub role: Role,
    /// Its full name; empty for a peer that is not known.
    pub name: String,
}

impl Party {
    /// A party of this role and name.
    pub fn new(role: Role, name: impl Into<String>) -> Self {
        Self { role, name: name.into() }
    }

    /// This program.
    pub fn client() -> Self {
        Self::new(Role::Client, "client")
    }

    /// A peer, by its full name.
    pub fn peer(name: impl Into<String>) -> Self {
        Self::new(Role::Peer, name)
    }

    /// The builder. There is one for all peers, since it is a program that each of them runs.
    pub fn builder() -> Self {
        Self::new(Role::Builder, "builder")
    }

    /// The ordering service, whoever of it.
    pub fn orderers() -> Self {
        Self::new(Role::Orderer, "orderers")
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When it was seen, since the journal began.
    pub at: Duration,
    /// Who sent it.
    pub from: Party,
    /// To whom.
    pub to: Party,
    /// Its type, such as `Evaluate` or `PUT_STATE`.
    pub kind: String,
    /// What is in it, on one line, shortened.
    pub text: String,
    /// The transaction that it belongs to; empty when it belongs to none.
    pub transaction: String,
    /// Whether it says that something went wrong.
    pub failed: bool,
}

impl Message {
    /// The message on one line, with short names.
    pub fn line(&self) -> String {
        let (from, to, mark) = (short(&self.from), short(&self.to), if self.failed { '!' } else { ' ' });
        let (milliseconds, id) = (self.at.as_secs_f64() * 1000.0, short_id(&self.transaction));
        let Self { kind, text, .. } = self;
        format!("{milliseconds:>10.3} ms {id:8} {from:>14} > {to:<14} {mark} {kind:<16} {text}").trim_end().to_owned()
    }
}

/// As much of a transaction's ID as tells it apart.
pub(crate) fn short_id(transaction: &str) -> &str {
    transaction.get(..8).unwrap_or(transaction)
}

/// A name that fits a column: the first two labels of a node's.
pub(crate) fn short(party: &Party) -> String {
    match party.role {
        Role::Peer if party.name.is_empty() => "peer".to_owned(),
        Role::Peer => party.name.split('.').take(2).collect::<Vec<_>>().join("."),
        _ => party.name.clone(),
    }
}

/// Takes messages, or nothing at all. Clones are the same journal.
#[derive(Debug, Clone, Default)]
pub struct Journal(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    begin: Instant,
    clock: SystemTime,
    messages: Mutex<Vec<Message>>,
    /// How those between peers and chaincode were seen.
    chaincode: Mutex<String>,
}

impl Journal {
    /// Begins a journal; its times count from now.
    pub fn begin() -> Self {
        let shared = Shared {
            begin: Instant::now(),
            clock: SystemTime::now(),
            messages: Mutex::default(),
            chaincode: Mutex::default(),
        };
        Self(Some(Arc::new(shared)))
    }

    /// One that keeps nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether it keeps anything. What costs something to find out is found out only then.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// How long after its beginning this was.
    pub fn since(&self, instant: Instant) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |shared| instant.saturating_duration_since(shared.begin))
    }

    /// When it began, by the machine's clock.
    pub(crate) fn clock(&self) -> SystemTime {
        self.0.as_ref().map_or(SystemTime::UNIX_EPOCH, |shared| shared.clock)
    }

    /// How long after its beginning this was, by the machine's clock.
    pub fn since_clock(&self, time: SystemTime) -> Duration {
        self.0.as_ref().and_then(|shared| time.duration_since(shared.clock).ok()).unwrap_or_default()
    }

    /// Notes a message of this moment; `what` is called only by a journal that keeps it.
    pub fn note(&self, from: &Party, to: &Party, what: impl FnOnce() -> Content) {
        let Some(shared) = &self.0 else { return };
        let Content { kind, text, transaction, failed } = what();
        let (from, to, at) = (from.clone(), to.clone(), shared.begin.elapsed());
        let message = Message { at, from, to, kind, text: decode::presentable(&text), transaction, failed };
        tracing::trace!("{}", message.line());
        shared.keep([message]);
    }

    /// Adds messages that were seen elsewhere, with their times.
    pub fn extend(&self, messages: impl IntoIterator<Item = Message>) {
        if let Some(shared) = &self.0 {
            shared.keep(messages);
        }
    }

    /// Adds what another journal has, whose times count from another moment.
    pub(crate) fn append(&self, other: &Self) {
        let Some(begin) = other.0.as_ref().map(|other| other.begin) else { return };
        let later = self.since(begin);
        self.extend(other.messages().into_iter().map(|message| Message { at: message.at + later, ..message }));
    }

    /// Notes how the messages between peers and chaincode are seen.
    pub(crate) fn chaincode_is(&self, seen: &str) {
        if let Some(shared) = &self.0 {
            seen.clone_into(&mut shared.chaincode.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// How the messages between peers and chaincode were seen; empty when there never was a chaincode.
    pub fn chaincode(&self) -> String {
        let Some(shared) = &self.0 else { return String::new() };
        shared.chaincode.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was kept so far, in the order of its times.
    pub fn messages(&self) -> Vec<Message> {
        let Some(shared) = &self.0 else { return Vec::new() };
        let mut messages = shared.messages.lock().unwrap_or_else(PoisonError::into_inner).clone();
        messages.sort_by_key(|message| message.at);
        messages
    }
}

impl Shared {
    fn keep(&self, more: impl IntoIterator<Item = Message>) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.extend(more);
        let over = messages.len().saturating_sub(LIMIT);
        // In one go and seldom, since each time all others move.
        if over > LIMIT / 10 {
            messages.drain(..over);
        }
    }
}

/// What a message says.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// As [`Message::kind`].
    pub kind: String,
    /// As [`Message::text`]; it is shortened when it is noted.
    pub text: String,
    /// As [`Message::transaction`].
    pub transaction: String,
    /// As [`Message::failed`].
    pub failed: bool,
}

/// The messages of a run, by what they belong to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sorted {
    /// Those from before the first case, or all when there is none.
    pub before: Vec<Message>,
    /// Those of each case.
    pub cases: Vec<Vec<Message>>,
}

/// Finds the messages of each case, of which begin and end are given in their order: those that passed
/// meanwhile, and whatever else is of a transaction of the case. Of one that belongs to a transaction of
/// another case, that decides.
pub fn by_case(messages: &[Message], cases: &[(Duration, Duration)]) -> Sorted {
    let within = |message: &Message| cases.iter().position(|(begin, end)| (*begin..=*end).contains(&message.at));
    let mut owners = std::collections::HashMap::new();
    let of_client = |message: &&Message| message.from.role == Role::Client && !message.transaction.is_empty();
    for message in messages.iter().filter(of_client) {
        if let Some(case) = within(message) {
            owners.entry(message.transaction.as_str()).or_insert(case);
        }
    }
    let first = cases.first().map_or(Duration::MAX, |(begin, _)| *begin);
    let mut sorted = Sorted { before: Vec::new(), cases: vec![Vec::new(); cases.len()] };
    for message in messages {
        let owner = owners.get(message.transaction.as_str()).copied().or_else(|| within(message));
        match owner {
            Some(case) => sorted.cases[case].push(message.clone()),
            None if message.at < first => sorted.before.push(message.clone()),
            None => {}
        }
    }
    sorted.cases.iter_mut().chain([&mut sorted.before]).for_each(|messages| name_the_gateway(messages));
    sorted
}

/// A peer that is not known is the gateway: an embedded orderer does not tell who called it.
fn name_the_gateway(messages: &mut [Message]) {
    let mut gateway: Option<Party> = None;
    for message in messages {
        if message.from.role == Role::Client {
            gateway = Some(message.to.clone());
        }
        let Some(gateway) = &gateway else { continue };
        for party in [&mut message.from, &mut message.to] {
            if party.role == Role::Peer && party.name.is_empty() {
                party.clone_from(gateway);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(at: u64, from: Party, to: Party, transaction: &str) -> Message {
        let (kind, text, transaction) = ("K".to_owned(), at.to_string(), transaction.to_owned());
        Message { at: Duration::from_millis(at), from, to, kind, text, transaction, failed: false }
    }

    #[test]
    fn a_message_belongs_to_the_case_of_its_transaction_and_otherwise_of_its_time() {
        let (peer, chaincode) = (|| Party::peer("peer0.org1"), || Party::new(Role::Chaincode, "cc"));
        let messages = [
            message(1, Party::client(), peer(), "install"),
            message(10, Party::client(), peer(), "a"),
            message(11, Party::peer(""), Party::orderers(), ""),
            message(12, peer(), chaincode(), "a"),
            // Late: a second endorsement of the first case's transaction.
            message(25, peer(), chaincode(), "a"),
            message(26, chaincode(), peer(), ""),
            message(27, Party::client(), peer(), "b"),
            message(99, chaincode(), peer(), ""),
        ];
        let time = |begin, end| (Duration::from_millis(begin), Duration::from_millis(end));
        let sorted = by_case(&messages, &[time(10, 20), time(21, 30)]);
        let texts = |messages: &[Message]| messages.iter().map(|m| m.text.clone()).collect::<Vec<_>>().join(" ");
        assert_eq!(texts(&sorted.before), "1");
        assert_eq!(texts(&sorted.cases[0]), "10 11 12 25");
        assert_eq!(texts(&sorted.cases[1]), "26 27");
        assert_eq!(sorted.cases[0][1].from, peer(), "who called the orderer");
        assert_eq!(by_case(&messages, &[]).before.len(), messages.len());
    }

    #[test]
    fn a_journal_that_is_off_asks_for_nothing_and_another_keeps_the_newest() {
        let (client, peer) = (Party::client(), Party::peer("p"));
        Journal::off().note(&client, &peer, || panic!("nobody wants it"));
        let journal = Journal::begin();
        for number in 0..LIMIT + LIMIT / 5 {
            journal.note(&client, &peer, || Content { text: number.to_string(), ..Content::default() });
        }
        let kept = journal.messages();
        assert!((LIMIT..=LIMIT + LIMIT / 10).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept.last().unwrap().text, (LIMIT + LIMIT / 5 - 1).to_string());
    }

    #[test]
    fn a_line_has_short_names_and_marks_what_failed() {
        let mut one = message(12, Party::peer("peer0.org1.example.com"), Party::client(), "");
        one.failed = true;
        assert_eq!(one.line(), "    12.000 ms              peer0.org1 > client         ! K                12");
    }
}
