//! The messages between client, peers, builder, chaincode and orderers, as data.
//!
//! A [`Journal`] is written by everything that sees messages: the clients that make calls, a
//! [tap](crate::tap), a runtime that reads its nodes' logs. It contains no secrets: texts are
//! shortened, values of the world state and transient data appear with their size only, and a text
//! that contains a private key is left out. [`by_case`] assigns messages to cases.

pub(crate) mod decode;
mod logs;

pub(crate) use logs::from_logs;
pub(crate) use logs::{time_of, timestamp};

use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Maximum number of messages in a journal. Older ones are dropped.
const LIMIT: usize = 20_000;

/// Maximum number of messages of one case. Later ones are dropped.
pub(crate) const CASE_LIMIT: usize = 300;

/// The role of a sender or receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The caller: this program.
    Client,
    /// A peer.
    Peer,
    /// The external builder of a peer.
    Builder,
    /// A chaincode server.
    Chaincode,
    /// The ordering service.
    Orderer,
}

/// The sender or receiver of a message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Party {
    /// Its role.
    pub role: Role,
    /// Its full name; empty for an unknown peer.
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

    /// The builder. All peers share one party, because each runs the same program.
    pub fn builder() -> Self {
        Self::new(Role::Builder, "builder")
    }

    /// The ordering service. All orderers share one party.
    pub fn orderers() -> Self {
        Self::new(Role::Orderer, "orderers")
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When it was seen, relative to the start of the journal.
    pub at: Duration,
    /// The sender.
    pub from: Party,
    /// The receiver.
    pub to: Party,
    /// Its type, such as `Evaluate` or `PUT_STATE`.
    pub kind: String,
    /// Its content on one line, shortened.
    pub text: String,
    /// The ID of its transaction; empty if it has none.
    pub transaction: String,
    /// Whether it reports an error.
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

/// The first characters of a transaction ID.
pub(crate) fn short_id(transaction: &str) -> &str {
    transaction.get(..8).unwrap_or(transaction)
}

/// A short name: the first two labels of a node's name.
pub(crate) fn short(party: &Party) -> String {
    match party.role {
        Role::Peer if party.name.is_empty() => "peer".to_owned(),
        Role::Peer => party.name.split('.').take(2).collect::<Vec<_>>().join("."),
        _ => party.name.clone(),
    }
}

/// Records messages, or nothing. Clones share the records.
#[derive(Debug, Clone, Default)]
pub struct Journal(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    begin: Instant,
    clock: SystemTime,
    messages: Mutex<Vec<Message>>,
    /// How the messages between peers and chaincode were seen.
    chaincode: Mutex<String>,
}

impl Journal {
    /// Starts a journal. Its times are relative to now.
    pub fn begin() -> Self {
        let shared = Shared {
            begin: Instant::now(),
            clock: SystemTime::now(),
            messages: Mutex::default(),
            chaincode: Mutex::default(),
        };
        Self(Some(Arc::new(shared)))
    }

    /// A journal that records nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// The time between its start and `instant`.
    pub fn since(&self, instant: Instant) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |shared| instant.saturating_duration_since(shared.begin))
    }

    /// Its start by the system clock.
    pub(crate) fn clock(&self) -> SystemTime {
        self.0.as_ref().map_or(SystemTime::UNIX_EPOCH, |shared| shared.clock)
    }

    /// The time between its start and `time`, by the system clock.
    pub fn since_clock(&self, time: SystemTime) -> Duration {
        self.0.as_ref().and_then(|shared| time.duration_since(shared.clock).ok()).unwrap_or_default()
    }

    /// Records a message with the current time. `what` is called only if the journal is on.
    pub fn note(&self, from: &Party, to: &Party, what: impl FnOnce() -> Content) {
        let Some(shared) = &self.0 else { return };
        let Content { kind, text, transaction, failed } = what();
        let (from, to, at) = (from.clone(), to.clone(), shared.begin.elapsed());
        let message = Message { at, from, to, kind, text: decode::presentable(&text), transaction, failed };
        tracing::trace!("{}", message.line());
        shared.keep([message]);
    }

    /// Adds messages from another source, with their times.
    pub fn extend(&self, messages: impl IntoIterator<Item = Message>) {
        if let Some(shared) = &self.0 {
            shared.keep(messages);
        }
    }

    /// Adds the messages of another journal, which has another start.
    pub(crate) fn append(&self, other: &Self) {
        let Some(begin) = other.0.as_ref().map(|other| other.begin) else { return };
        let later = self.since(begin);
        self.extend(other.messages().into_iter().map(|message| Message { at: message.at + later, ..message }));
    }

    /// Records how the messages between peers and chaincode are seen.
    pub(crate) fn chaincode_is(&self, seen: &str) {
        if let Some(shared) = &self.0 {
            seen.clone_into(&mut shared.chaincode.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// How the messages between peers and chaincode were seen; empty if there was no chaincode.
    pub fn chaincode(&self) -> String {
        let Some(shared) = &self.0 else { return String::new() };
        shared.chaincode.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The recorded messages, sorted by time.
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
        // Rarely and in one step, because all other messages are moved.
        if over > LIMIT / 10 {
            messages.drain(..over);
        }
    }
}

/// The content of a message.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// As [`Message::kind`].
    pub kind: String,
    /// As [`Message::text`]; shortened when it is recorded.
    pub text: String,
    /// As [`Message::transaction`].
    pub transaction: String,
    /// As [`Message::failed`].
    pub failed: bool,
}

/// The messages of a run, grouped by case.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sorted {
    /// Messages before the first case, or all messages if there are no cases.
    pub before: Vec<Message>,
    /// Messages of each case.
    pub cases: Vec<Vec<Message>>,
}

/// Groups messages by case. `cases` has the start and end of each case, in order.
///
/// A message of a transaction belongs to the case that made the transaction; any other message belongs
/// to the case during which it was seen.
pub(crate) fn by_case(messages: &[Message], cases: &[(Duration, Duration)]) -> Sorted {
    // Cases run one after the other.
    let within = |message: &Message| {
        let case = cases.partition_point(|(_, end)| *end < message.at);
        cases.get(case).filter(|(begin, _)| *begin <= message.at).map(|_| case)
    };
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

/// Replaces unknown peers by the gateway peer: an embedded orderer does not report its caller.
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
            // Later: a second endorsement of the first case's transaction.
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
        assert_eq!(sorted.cases[0][1].from, peer(), "the orderer's caller");
        assert_eq!(by_case(&messages, &[]).before.len(), messages.len());
    }

    #[test]
    fn a_journal_that_is_off_records_nothing_and_another_keeps_the_newest() {
        let (client, peer) = (Party::client(), Party::peer("p"));
        Journal::off().note(&client, &peer, || panic!("it must not be called"));
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
