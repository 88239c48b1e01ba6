//! Why cases failed: the known failures in what belongs to them.
//!
//! A line of a log that names a transaction belongs to the case that made the transaction. Any other line belongs to
//! the case during which it was written. Lines of passed cases, and those of the harness's own calls, are no evidence.

use super::document::LogLine;
use crate::explain::{Finding, Text, excerpt, find_ranked};
use crate::journal::{Message, Role, short_id, time_of};
use regex::Regex;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

/// A node may write a line this long after the client has its answer.
const LATER: Duration = Duration::from_millis(100);

/// Log times are truncated to milliseconds.
const RESOLUTION: Duration = Duration::from_millis(1);

/// The most lines of a log without times that count, from its start and from its end: they are no more evidence of one
/// case than of another.
const TIMELESS: usize = 500;

/// The number of log lines that are shown for a failed case without a known cause.
const SHOWN: usize = 5;

/// What may be the ID of a transaction, in full or shortened.
static HEXADECIMAL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\b[0-9a-f]{8}(?:[0-9a-f]{56})?\b").ok());

/// What certainly is one.
static TRANSACTION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)\b(?:tx ?id|transaction(?: id)?)\W{1,4}[0-9a-f]{8}").ok());

/// The number of a block, also as a part of the place of a transaction in it.
static BLOCK: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\b(?:[Bb]lock \[?(\d+)\b|tx (\d+):\d+)").ok());

/// What a node logs when the harness ends a call that it no longer needs.
static CANCELED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"grpc\.code=Canceled|code = Canceled desc = context canceled").ok());

/// The level and module of a line of Fabric's log.
static LEVEL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^\S+ \S+ UTC [0-9a-f]+ ([A-Z]+) \[([^\]]+)\]").ok());

/// Words that make a line without a level worth showing.
static TROUBLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(?:error|warn(?:ing)?|panic(?:ked)?|fatal|\w*exception|failed|failure|unhandled|refused)\b").ok()
});

fn matches(expression: &LazyLock<Option<Regex>>, text: &str) -> bool {
    expression.as_ref().is_some_and(|expression| expression.is_match(text))
}

/// A case, as far as it matters here. Times are relative to the start of the journal.
#[derive(Debug)]
pub(super) struct Tried<'a> {
    pub(super) name: &'a str,
    /// What was seen, if it failed.
    pub(super) seen: Option<&'a str>,
    pub(super) passed: bool,
    pub(super) time: Range<Duration>,
    /// When its call began, after the setup.
    pub(super) call: Option<Duration>,
}

/// To whom a line or transaction belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Case(usize),
    /// A call of the harness itself, such as a probe.
    Harness,
}

#[derive(Debug)]
struct Line<'a> {
    log: usize,
    /// From 1.
    number: usize,
    text: &'a str,
    /// Its own time, or that of the line before.
    at: Option<Duration>,
    owner: Option<Owner>,
}

/// Log lines, sorted by what they belong to.
pub(super) struct Evidence<'a> {
    cases: &'a [Tried<'a>],
    logs: &'a [(String, String)],
    lines: Vec<Line<'a>>,
    /// Indexes of the lines of each case, and of those that name no transaction, by time.
    of_cases: HashMap<usize, Vec<usize>>,
    unnamed: Vec<(Duration, usize)>,
    /// Lines of logs without times, by log.
    timeless: BTreeMap<usize, Timeless<'a>>,
    /// Whether a case passed although a call of it failed.
    has_expected_failures: bool,
    /// Without an entry, no call is known.
    calls: HashMap<usize, Calls>,
    /// Which logs are those of orderers, and of nodes.
    orderers: Vec<bool>,
    nodes: Vec<bool>,
}

/// Lines of a log without times.
struct Timeless<'a> {
    lines: Vec<usize>,
    text: Text<'a>,
}

/// What the client saw of a case's own transactions.
#[derive(Debug, Default)]
struct Calls {
    submitted: bool,
    /// An answer was an error.
    failed: bool,
    /// An answer was an error of something other than the chaincode.
    not_by_chaincode: bool,
}

/// The parts of a run in which causes are looked for.
pub(super) struct Sources<'a> {
    pub(super) cases: &'a [Tried<'a>],
    /// All messages, sorted by time.
    pub(super) messages: &'a [Message],
    /// Paths and contents.
    pub(super) logs: &'a [(String, String)],
    /// The start of the journal.
    pub(super) clock: SystemTime,
    pub(super) peers: &'a [String],
    pub(super) orderers: &'a [String],
}

impl<'a> Evidence<'a> {
    pub(super) fn sort(sources: &Sources<'a>) -> Self {
        let Sources { cases, messages, logs, clock, peers, orderers } = *sources;
        let transactions = owners(messages, cases);
        let mut calls: HashMap<usize, Calls> = HashMap::new();
        for message in messages {
            if let Some(Owner::Case(case)) = transactions.get(short_id(&message.transaction)) {
                calls.entry(*case).or_default().add(message);
            }
        }
        let mut blocks: HashMap<&str, Vec<Owner>> = HashMap::new();
        let texts = messages.iter().map(|message| (message.text.as_str(), short_id(&message.transaction)));
        for (text, transaction) in texts {
            if let (Some(owner), Some(block)) = (transactions.get(transaction), block(text)) {
                blocks.entry(block).or_default().push(*owner);
            }
        }
        for text in logs.iter().flat_map(|(_, log)| log.lines()) {
            if let (Some(owner), Some(block)) = (named(text, &transactions), block(text)) {
                blocks.entry(block).or_default().push(owner);
            }
        }
        let is_of = |names: &[String]| {
            let stem =
                |path: &str| path.rsplit('/').next().and_then(|name| name.strip_suffix(".log")).map(str::to_owned);
            logs.iter().map(|(path, _)| stem(path).is_some_and(|name| names.contains(&name))).collect::<Vec<bool>>()
        };
        let (of_peers, of_orderers) = (is_of(peers), is_of(orderers));
        let nodes = of_peers.iter().zip(&of_orderers).map(|(peer, orderer)| *peer || *orderer).collect();
        let mut this = Self {
            cases,
            logs,
            lines: Vec::new(),
            of_cases: HashMap::new(),
            unnamed: Vec::new(),
            timeless: BTreeMap::new(),
            has_expected_failures: calls.iter().any(|(case, calls)| cases[*case].passed && calls.failed),
            calls,
            orderers: of_orderers,
            nodes,
        };
        for (log, (place, text)) in logs.iter().enumerate() {
            let mut timeless = Vec::new();
            let mut before: (Option<Duration>, Option<Owner>) = (None, None);
            for (number, text) in (1..).zip(text.lines()) {
                if let Some(time) = time_of(text) {
                    let owner = owner(text, &transactions, &blocks);
                    before = (Some(time.duration_since(clock).unwrap_or_default()), owner);
                } else if let Some(owner) = named(text, &transactions) {
                    before.1 = Some(owner);
                }
                let line = Line { log, number, text, at: before.0, owner: before.1 };
                if line.at.is_none() && line.owner.is_none() {
                    timeless.push(this.lines.len());
                }
                this.add(line);
            }
            if !timeless.is_empty() {
                timeless = ends(timeless);
                let lines = timeless.iter().map(|index| &this.lines[*index]);
                let text = Text::lines(place, lines.map(|line| (line.number, line.text)));
                this.timeless.insert(log, Timeless { lines: timeless, text });
            }
        }
        this.unnamed.sort_unstable();
        this
    }

    fn add(&mut self, line: Line<'a>) {
        let index = self.lines.len();
        match (line.owner, line.at) {
            (Some(Owner::Case(case)), _) => self.of_cases.entry(case).or_default().push(index),
            (None, Some(at)) => self.unnamed.push((at, index)),
            (Some(Owner::Harness), _) | (None, None) => {}
        }
        self.lines.push(line);
    }

    /// The known failures in what belongs to a failed case, causes first. If there is none, the lines of its logs that
    /// say most.
    pub(super) fn of_case(&self, case: usize) -> (Vec<Finding>, Vec<LogLine>) {
        let own = self.of_cases.get(&case).map_or(&[][..], Vec::as_slice);
        let (meanwhile, timeless) = (self.meanwhile(case), self.timeless(case));
        let seen = self.cases[case].seen.map(|seen| Text::whole(self.cases[case].name, seen));
        let (own_texts, texts) = (self.texts(own), self.texts(&meanwhile));
        let first = seen.iter().chain(&own_texts).collect();
        let findings = find_ranked(&[first, texts.iter().chain(timeless.iter().map(|one| &one.text)).collect()]);
        let mut shown = Vec::new();
        if findings.is_empty() {
            let timeless = timeless.iter().flat_map(|one| &one.lines);
            let all = own.iter().chain(&meanwhile).chain(timeless).map(|index| &self.lines[*index]);
            let telling = all.filter(|line| line.is_telling());
            shown.extend(telling.take(SHOWN).map(|line| LogLine {
                place: self.logs[line.log].0.clone(),
                line: line.number,
                text: excerpt(line.text, 0),
            }));
        }
        (findings, shown)
    }

    /// The known failures of a run: in `errors`, then in what was logged at this time, then in everything.
    pub(super) fn of_run(&self, errors: &[&str], time: &Range<Duration>) -> Vec<Finding> {
        let is_free = |index: &usize| self.lines[*index].owner.is_none_or(|owner| self.has_failed(owner));
        let all: Vec<usize> = (0..self.lines.len()).filter(is_free).collect();
        let is_within = |index: &&usize| self.lines[**index].at.is_none_or(|at| time.contains(&(at + RESOLUTION)));
        let within: Vec<usize> = all.iter().filter(is_within).copied().collect();
        let errors: Vec<_> = errors.iter().map(|error| Text::whole("the run", error)).collect();
        let ranks = [errors, self.texts(&within), self.texts(&all)];
        find_ranked(&ranks.each_ref().map(|texts| texts.iter().collect()))
    }

    fn has_failed(&self, owner: Owner) -> bool {
        matches!(owner, Owner::Case(case) if !self.cases[case].passed)
    }

    /// The lines that name no transaction and were written during a case, unless its call shows that they can't be
    /// the cause.
    fn meanwhile(&self, case: usize) -> Vec<usize> {
        let window = self.window(case);
        let from = self.unnamed.partition_point(|(at, _)| *at < window.start);
        let until = self.unnamed.partition_point(|(at, _)| *at <= window.end);
        let within = self.unnamed.get(from..until).unwrap_or_default().iter().map(|(_, index)| *index);
        within.filter(|index| self.can_matter(case, self.lines[*index].log)).collect()
    }

    /// The logs without times in which the cause of a case can be.
    fn timeless(&self, case: usize) -> Vec<&Timeless<'a>> {
        let logs = self.timeless.iter().filter(|(log, _)| !self.has_expected_failures && self.can_matter(case, **log));
        logs.map(|(_, timeless)| timeless).collect()
    }

    /// Whether a log can have the cause of a case, as its call shows.
    fn can_matter(&self, case: usize, log: usize) -> bool {
        let calls = self.calls.get(&case);
        let is_of_chaincode = !self.nodes[log];
        let has_part = !self.orderers[log] || calls.is_none_or(|calls| calls.submitted);
        is_of_chaincode || calls.is_none_or(|calls| calls.not_by_chaincode) && has_part
    }

    /// The time of a case, without that of passed ones.
    fn window(&self, case: usize) -> Range<Duration> {
        let time = &self.cases[case].time;
        let before = case.checked_sub(1).map(|before| &self.cases[before]).filter(|before| before.passed);
        let start = before.map_or_else(|| time.start.saturating_sub(RESOLUTION), |before| before.time.end);
        let next = self.cases.get(case + 1).map_or(Duration::MAX, |next| next.time.start);
        start..(time.end + LATER).min(next)
    }

    /// These lines, by log.
    fn texts(&self, lines: &[usize]) -> Vec<Text<'a>> {
        let mut texts: Vec<(usize, Vec<(usize, &str)>)> = Vec::new();
        let mut of_log = HashMap::new();
        for line in lines.iter().map(|index| &self.lines[*index]) {
            let text = *of_log.entry(line.log).or_insert_with(|| {
                texts.push((line.log, Vec::new()));
                texts.len() - 1
            });
            texts[text].1.push((line.number, line.text));
        }
        texts.into_iter().map(|(log, lines)| Text::lines(&self.logs[log].0, lines)).collect()
    }
}

/// The first and the last of these lines.
fn ends(mut lines: Vec<usize>) -> Vec<usize> {
    if lines.len() > 2 * TIMELESS {
        lines.drain(TIMELESS..lines.len() - TIMELESS);
    }
    lines
}

impl Calls {
    fn add(&mut self, message: &Message) {
        self.submitted |= message.from.role == Role::Client && message.kind == "Submit";
        if message.to.role == Role::Client && message.failed {
            self.failed = true;
            self.not_by_chaincode |= !message.text.contains("chaincode response ");
        }
    }
}

impl Line<'_> {
    fn is_telling(&self) -> bool {
        let fabric = LEVEL.as_ref().and_then(|level| level.captures(self.text));
        let Some(parts) = fabric else { return matches(&TROUBLE, self.text) };
        let part = |number| parts.get(number).map_or("", |part| part.as_str());
        let (level, module) = (part(1), part(2));
        // Gossip warns of late messages all the time.
        module.starts_with("chaincode.externalbuilder")
            || !matches!(level, "INFO" | "DEBU") && module != "gossip.gossip"
    }
}

/// The owners of transactions, by the start of the ID: the case during whose call the client first named it.
fn owners(messages: &[Message], cases: &[Tried<'_>]) -> HashMap<String, Owner> {
    let mut owners = HashMap::new();
    for message in messages {
        let names_it = !message.transaction.is_empty() && [message.from.role, message.to.role].contains(&Role::Client);
        if names_it && !owners.contains_key(short_id(&message.transaction)) {
            // The last case that had begun.
            let case = cases.partition_point(|case| case.time.start <= message.at).checked_sub(1);
            let its = |case: &usize| {
                let Tried { call, time, .. } = &cases[*case];
                call.is_some_and(|call| (call..=time.end).contains(&message.at))
            };
            let owner = case.filter(its).map_or(Owner::Harness, Owner::Case);
            owners.insert(short_id(&message.transaction).to_owned(), owner);
        }
    }
    owners
}

/// The owner of the first known transaction that a line names.
fn named(line: &str, transactions: &HashMap<String, Owner>) -> Option<Owner> {
    let mut ids = HEXADECIMAL.as_ref()?.find_iter(line);
    let owner = ids.find_map(|id| transactions.get(short_id(id.as_str())).copied());
    // Of a transaction that nobody here made.
    owner.or_else(|| matches(&TRANSACTION, line).then_some(Owner::Harness))
}

fn owner(line: &str, transactions: &HashMap<String, Owner>, blocks: &HashMap<&str, Vec<Owner>>) -> Option<Owner> {
    if matches(&CANCELED, line) {
        return Some(Owner::Harness);
    }
    named(line, transactions).or_else(|| {
        let owners = blocks.get(block(line)?)?;
        owners.iter().find(|owner| matches!(owner, Owner::Case(_))).or(owners.first()).copied()
    })
}

/// The number of the block that a text names.
fn block(text: &str) -> Option<&str> {
    let found = BLOCK.as_ref()?.captures(text)?;
    found.get(1).or_else(|| found.get(2)).map(|number| number.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Party, timestamp};

    const PASSES: &str = "5a46abb05ad1d56c84b79e6322e17cadd5d2878fdd643d8261531b570992eabc";
    const FAILS: &str = "32d443885fe4d56c84b79e6322e17cadd5d2878fdd643d8261531b570992eabc";
    const PROBE: &str = "00aa43885fe4d56c84b79e6322e17cadd5d2878fdd643d8261531b570992eabc";
    const LATE_BLOCK: &str = "[vscc] Validate -> tx 5:0 failed: ENDORSEMENT_POLICY_FAILURE";

    fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    fn clock() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn line(at: u64, text: &str) -> String {
        format!("{} 0023 ERRO {text}\n", timestamp(clock() + ms(at)))
    }

    /// An answer to a call, and whether it is an error.
    fn answer(at: u64, transaction: &str, kind: &str, error: Option<&str>) -> [Message; 2] {
        let message = |from: Party, to: Party, at| Message {
            at: ms(at),
            from,
            to,
            kind: kind.to_owned(),
            text: error.unwrap_or_default().to_owned(),
            transaction: transaction.to_owned(),
            failed: error.is_some(),
        };
        let (client, peer) = (Party::client, || Party::peer("peer0"));
        [Message { failed: false, ..message(client(), peer(), at) }, message(peer(), client(), at + 1)]
    }

    /// A case that passes from 100 to 200 ms because it expects a failure, and one that fails from 200 to 300 ms.
    fn of_failed(seen: &str, error: Option<&str>, logs: &[(&str, String)]) -> (Vec<String>, Vec<String>) {
        let case = |name, seen, passed, from, until| Tried {
            name,
            seen,
            passed,
            time: ms(from)..ms(until),
            call: Some(ms(from)),
        };
        let cases = [case("passes", None, true, 100, 200), case("fails", Some(seen), false, 200, 300)];
        let expected = Some("transaction is ENDORSEMENT_POLICY_FAILURE in block 5 is");
        let messages = [
            answer(20, PROBE, "Evaluate", None),
            answer(110, PASSES, "CommitStatus", expected),
            answer(210, FAILS, "Evaluate", error),
        ];
        let logs: Vec<_> = logs.iter().map(|(path, text)| (format!("logs/{path}.log"), text.clone())).collect();
        let names = |name: &str| vec![name.to_owned()];
        let (peers, orderers) = (names("peer0"), names("orderer0"));
        let sorted = Evidence::sort(&Sources {
            cases: &cases,
            messages: messages.as_flattened(),
            logs: &logs,
            clock: clock(),
            peers: &peers,
            orderers: &orderers,
        });
        let (findings, shown) = sorted.of_case(1);
        (findings.into_iter().map(|found| found.name).collect(), shown.into_iter().map(|line| line.text).collect())
    }

    const UNREACHED: Option<&str> = Some("Unavailable: nothing known");

    #[test]
    fn lines_of_the_failed_case_count() {
        for text in [
            line(250, &format!("[gateway] Evaluate -> failed txID={FAILS} error=\"MVCC_READ_CONFLICT\"")),
            // Shortened, and later than the case.
            line(900, "[endorser] callChaincode -> [mychannel][32d44388] MVCC_READ_CONFLICT"),
            format!("{}MVCC_READ_CONFLICT\n", line(900, "[endorser] [32d44388] several lines:")),
            // Without a transaction, in its time.
            line(250, "[kvledger] commit -> MVCC_READ_CONFLICT"),
            line(380, "[kvledger] commit -> MVCC_READ_CONFLICT"),
        ] {
            assert_eq!(of_failed("nothing known", UNREACHED, &[("peer0", text.clone())]).0, ["conflict"], "{text}");
        }
    }

    #[test]
    fn lines_of_passed_cases_and_of_the_harness_do_not_count() {
        for text in [
            line(250, &format!("[committer] TxId [{PASSES}] MVCC_READ_CONFLICT")),
            line(250, "[endorser] [5a46abb0] MVCC_READ_CONFLICT"),
            line(250, LATE_BLOCK),
            line(250, "[endorser] [00aa4388] MVCC_READ_CONFLICT"),
            // Of a transaction that nobody here made.
            line(250, "[endorser] txid=12345678 MVCC_READ_CONFLICT"),
            line(250, "[comm.grpc.server] grpc.code=Canceled error=\"MVCC_READ_CONFLICT\""),
            line(199, "[kvledger] commit -> MVCC_READ_CONFLICT"),
            line(500, "[kvledger] commit -> MVCC_READ_CONFLICT"),
        ] {
            assert_eq!(of_failed("nothing known", UNREACHED, &[("peer0", text.clone())]).0, [""; 0], "{text}");
        }
    }

    #[test]
    fn lines_without_a_transaction_count_only_if_they_can_matter() {
        let log = || line(250, "[kvledger] commit -> MVCC_READ_CONFLICT");
        // The call succeeded, or the chaincode answered it.
        assert_eq!(of_failed("5, not 6", None, &[("peer0", log())]).0, [""; 0]);
        let refused = Some("Aborted: chaincode response 500, no");
        assert_eq!(of_failed("chaincode response 500, no", refused, &[("peer0", log())]).0, [""; 0]);
        // What the chaincode itself writes may explain its answer.
        assert_eq!(of_failed("chaincode response 500, no", refused, &[("basic", log())]).0, ["conflict"]);
        // Nothing was submitted.
        assert_eq!(of_failed("nothing known", UNREACHED, &[("orderer0", log())]).0, [""; 0]);
        // The answer shows another cause.
        assert_eq!(of_failed("no ledger context", UNREACHED, &[("peer0", log())]).0, ["no-ledger-context"]);
        // Without times it may be of the case that passes.
        let timeless = || "MVCC_READ_CONFLICT\n".to_owned();
        assert_eq!(of_failed("nothing known", UNREACHED, &[("basic", timeless())]).0, [""; 0]);
    }

    #[test]
    fn the_lines_that_say_most_are_shown_without_a_known_cause() {
        let log = [
            line(210, "[gossip.gossip] late"),
            line(250, "[comm] one"),
            line(900, "[endorser] [32d44388] two"),
            line(250, "[endorser] [5a46abb0] of another case"),
            line(251, "[comm] three").replace("ERRO", "INFO"),
            line(252, "[comm] four").repeat(9),
        ];
        let (causes, shown) = of_failed("nothing known", UNREACHED, &[("peer0", log.concat())]);
        let texts: Vec<_> = shown.iter().map(|text| text.rsplit(' ').next().unwrap()).collect();
        assert_eq!((causes.len(), texts), (0, vec!["two", "one", "four", "four", "four"]));
    }
}
