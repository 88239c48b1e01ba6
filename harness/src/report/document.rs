//! The results of a run as data: `report.json`, from which `junit.xml` and `report.html` are made.
//!
//! docs/report.md describes the members.

use super::causes::{Evidence as Sorted, Sources, Tried};
use crate::check::own_package::Replaced;
use crate::check::package_verdict::COMPLETE;
use crate::check::{CaseReport, Outcome};
use crate::console::timeline::Timeline;
use crate::console::{ExitCode, error_text};
use crate::evidence::Evidence;
use crate::explain::Finding;
use crate::journal::{CASE_LIMIT, Message, Party, by_case};
use crate::network::error::RunError;
use crate::plan::Plan;
use crate::run::{Finished, Report};
use crate::runtime::Runtime;
use fabric_network::topology::{Channel, NodeKind};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::time::{Duration, SystemTime};
use time::format_description::well_known::Rfc3339;

/// The version of the document's schema.
pub(crate) const SCHEMA: u32 = 1;

/// The log lines of a case include this time before its start and after its end.
const MARGIN: Duration = Duration::from_millis(100);

/// The most cases of a document that is indented.
const INDENTED: usize = 100;

/// A run and its results. Times are in milliseconds.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Document {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When the run ended, in UTC, such as `2026-01-31T12:00:00Z`.
    pub ended: String,
    /// `passed`, `failed` or `could not run`.
    #[schemars(extend("enum" = ["passed", "failed", "could not run"]))]
    pub outcome: &'static str,
    /// Why the cases could not be run.
    pub error: Option<String>,
    /// What ran the nodes, as `--runtime` names it.
    #[schemars(extend("enum" = crate::runtime::registry::names()))]
    pub runtime: &'static str,
    /// The version of Fabric.
    pub fabric: String,
    /// The name of the topology.
    pub topology: String,
    /// The nodes of each organization.
    pub organizations: Vec<Organization>,
    /// The channels.
    pub channels: Vec<ChannelRecord>,
    /// The chaincode servers.
    pub chaincodes: Vec<String>,
    /// Whether the peers' state database is CouchDB.
    pub couchdb: bool,
    /// TLS between the peers and the chaincode server: `off`, `tls` or `mtls`.
    pub chaincode_tls: String,
    /// The time from the first step to the answer of the first query.
    pub first_query: Option<u64>,
    /// The steps, in the order in which they ended.
    pub steps: Vec<StepRecord>,
    /// The cases, in order.
    pub cases: Vec<CaseRecord>,
    /// The fields of the user's package that the run replaced on its peers.
    pub replaced: Vec<ReplacedField>,
    /// The addresses in the user's package that the run's peers resolve to the chaincode server.
    pub resolved: Vec<String>,
    /// The messages before the first case; all messages of a run without cases.
    pub before: Vec<MessageRecord>,
    /// How the messages between peers and chaincode were seen, or why they are missing.
    pub chaincode_messages: String,
    /// Nodes and servers that exited unexpectedly.
    pub exits: Vec<String>,
    /// Leftovers: what could not be removed.
    pub left: Vec<String>,
    /// The known failures that were found in the failed cases and their log lines. Empty if all cases passed.
    pub findings: Vec<Finding>,
    /// The start of the run, by the clock of the logs.
    #[serde(skip)]
    pub(crate) clock: SystemTime,
}

/// An organization of the network.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Organization {
    /// Its MSP ID.
    pub msp_id: String,
    /// The kind of its nodes: `peer` or `orderer`.
    #[schemars(extend("enum" = ["peer", "orderer"]))]
    pub kind: &'static str,
    /// The full names of its nodes.
    pub nodes: Vec<String>,
}

/// A channel of the network.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ChannelRecord {
    /// Its name.
    pub name: String,
    /// The MSP IDs of its organizations.
    pub organizations: Vec<String>,
}

/// A step of the run.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StepRecord {
    /// The name.
    pub name: &'static str,
    /// When it began, relative to the start of the run.
    pub begin: u64,
    /// How long it took.
    pub time: u64,
    /// Whether it failed.
    pub failed: bool,
}

/// A case and its result.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CaseRecord {
    /// Its name.
    pub name: String,
    /// `passed`, `failed` or `not run`.
    #[schemars(extend("enum" = ["passed", "failed", "not run"]))]
    pub outcome: &'static str,
    /// When it began, relative to the start of the run.
    pub begin: u64,
    /// How long it took.
    pub time: u64,
    /// If failed: what was expected.
    pub expected: Option<String>,
    /// If failed: what was seen.
    pub seen: Option<String>,
    /// If not run: the reason.
    pub reason: Option<String>,
    /// How many expectations were compared with what was seen.
    pub checked: usize,
    /// Why the case says little, although it passed.
    pub warning: Option<&'static str>,
    /// If failed: the names of the `findings` that explain it.
    pub causes: Vec<String>,
    /// If failed without a known cause: the lines of its logs that say most.
    pub log: Vec<LogLine>,
    /// The messages between client, peers, chaincode and orderers, sorted by time.
    pub messages: Vec<MessageRecord>,
}

impl CaseRecord {
    /// Whether it called the chaincode, so that its cause is sought in logs and messages.
    pub(super) fn calls(&self) -> bool {
        self.name != COMPLETE
    }
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct LogLine {
    /// The log.
    pub place: String,
    /// Its number, from 1.
    pub line: usize,
    /// The line, shortened.
    pub text: String,
}

/// A field of the user's package that the run replaced. The texts contain no keys.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReplacedField {
    /// Its name in connection.json.
    pub field: &'static str,
    /// Its value in the package.
    pub package: String,
    /// Its value on the peers of the run.
    pub run: String,
}

impl From<&Replaced> for ReplacedField {
    fn from(replaced: &Replaced) -> Self {
        let Replaced { field, package, run } = replaced.clone();
        Self { field, package, run }
    }
}

/// A message.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct MessageRecord {
    /// When it was seen, relative to the start of the run, in milliseconds with three decimals.
    pub at: f64,
    /// The sender.
    pub from: Party,
    /// The receiver.
    pub to: Party,
    /// Its type, such as `Evaluate` or `PUT_STATE`.
    pub kind: String,
    /// Its content, shortened.
    pub text: String,
    /// The ID of its transaction; empty if it has none.
    pub transaction: String,
    /// Whether it reports an error.
    pub failed: bool,
}

impl Document {
    /// Makes the document of a run. If it did not pass, the logs in `evidence` are searched for known failures.
    pub(crate) fn new(
        plan: &Plan,
        runtime: &dyn Runtime,
        timeline: &Timeline,
        result: &Result<Finished, RunError>,
        evidence: &Evidence,
    ) -> Self {
        let nothing = Report::default();
        let (report, code, error) = match result {
            Ok(finished) => (&finished.report, finished.report.exit_code(), None),
            Err(error) => (&nothing, ExitCode::CouldNotRun, Some(error_text(error))),
        };
        let journal = timeline.journal();
        let times = report.cases.iter().map(|case| {
            let begin = journal.since(case.begin.into_std());
            (begin, begin + case.time)
        });
        let times: Vec<(Duration, Duration)> = times.collect();
        let all = journal.messages();
        let messages = by_case(&all, &times);
        let cases = report.cases.iter().zip(&times).zip(messages.cases);
        let mut document = Self {
            schema: SCHEMA,
            ended: whole_seconds(SystemTime::now()).format(&Rfc3339).unwrap_or_default(),
            outcome: match code {
                ExitCode::Passed => "passed",
                ExitCode::Failed => "failed",
                ExitCode::CouldNotRun => "could not run",
            },
            error,
            runtime: runtime.name(),
            fabric: runtime.version().to_owned(),
            topology: plan.network.topology_name.clone(),
            organizations: organizations(plan),
            channels: channels(plan),
            chaincodes: plan.network.server_names(),
            couchdb: !plan.network.couchdb.is_empty(),
            chaincode_tls: plan.network.tls.to_string(),
            first_query: result.as_ref().ok().map(|finished| milliseconds(finished.to_first_query)),
            steps: timeline
                .steps()
                .iter()
                .map(|step| StepRecord {
                    name: step.name,
                    begin: milliseconds(step.begin),
                    time: milliseconds(step.time),
                    failed: step.failed,
                })
                .collect(),
            cases: cases.map(|((report, (begin, _)), messages)| case(report, *begin, messages)).collect(),
            replaced: report.package.replaced.iter().map(ReplacedField::from).collect(),
            resolved: report.package.resolved.iter().cloned().collect(),
            before: records(messages.before),
            chaincode_messages: journal.chaincode(),
            exits: report.exits.iter().map(ToString::to_string).collect(),
            left: report.left.clone(),
            findings: Vec::new(),
            clock: journal.clock(),
        };
        if code != ExitCode::Passed {
            let call = |case: &CaseReport| case.call.map(|call| journal.since(call.into_std()));
            let tried = report.cases.iter().zip(times).map(|(case, (begin, end))| Tried {
                name: &case.name,
                seen: match &case.outcome {
                    Outcome::Failed { seen, .. } => Some(seen),
                    _ => None,
                },
                passed: case.outcome == Outcome::Passed,
                time: begin..end,
                call: call(case),
            });
            let failed_step = timeline.steps().into_iter().find(|step| step.failed);
            let time = failed_step.map_or(Duration::ZERO..Duration::MAX, |step| step.begin..step.begin + step.time);
            document.add_causes(&tried.collect::<Vec<_>>(), &all, &time, evidence);
        }
        // Its findings are their own cause.
        if let Some(one) = &report.package.case {
            document.cases.insert(0, case(one, journal.since(one.begin.into_std()), Vec::new()));
        }
        document
    }

    /// Looks for the causes of each failed case, and of what else went wrong. `time` is that of the failed step.
    fn add_causes(&mut self, tried: &[Tried<'_>], messages: &[Message], time: &Range<Duration>, evidence: &Evidence) {
        let logs: Vec<(String, String)> = evidence
            .logs()
            .map(|(path, bytes)| (path.display().to_string(), String::from_utf8_lossy(bytes).into_owned()))
            .collect();
        let nodes = |kind: &str| -> Vec<String> {
            let its = self.organizations.iter().filter(|organization| organization.kind == kind);
            its.flat_map(|organization| organization.nodes.clone()).collect()
        };
        let (peers, orderers, clock) = (nodes("peer"), nodes("orderer"), self.clock);
        let (peers, orderers) = (peers.as_slice(), orderers.as_slice());
        let sorted = Sorted::sort(&Sources { cases: tried, messages, logs: &logs, clock, peers, orderers });
        let errors: Vec<&str> = self.error.iter().chain(&self.exits).map(String::as_str).collect();
        let mut findings = if errors.is_empty() { Vec::new() } else { sorted.of_run(&errors, time) };
        let failed = |(_, case): &(usize, &mut CaseRecord)| case.outcome == "failed";
        for (number, case) in self.cases.iter_mut().enumerate().filter(failed) {
            let (found, log) = sorted.of_case(number);
            case.causes = found.iter().map(|finding| finding.name.clone()).collect();
            case.log = log;
            findings.extend(found);
        }
        let mut names = BTreeSet::new();
        findings.retain(|finding| names.insert(finding.name.clone()));
        self.findings = findings;
    }

    /// The time of a case, with a margin, by the clock of the logs.
    pub(super) fn meanwhile(&self, case: &CaseRecord) -> RangeInclusive<SystemTime> {
        let begin = self.clock + Duration::from_millis(case.begin);
        begin.checked_sub(MARGIN).unwrap_or(begin)..=begin + Duration::from_millis(case.time) + MARGIN
    }

    /// The document as JSON. It is indented unless it is long.
    pub(crate) fn to_json(&self) -> String {
        let is_long = self.cases.len() > INDENTED;
        let json = if is_long { serde_json::to_string(self) } else { serde_json::to_string_pretty(self) };
        // Cannot fail for these types.
        json.unwrap_or_default() + "\n"
    }
}

fn whole_seconds(time: SystemTime) -> time::OffsetDateTime {
    let time = time::OffsetDateTime::from(time);
    time.replace_nanosecond(0).unwrap_or(time)
}

fn organizations(plan: &Plan) -> Vec<Organization> {
    let mut organizations: Vec<Organization> = Vec::new();
    for node in plan.network.topology.nodes() {
        let kind = if node.kind == NodeKind::Peer { "peer" } else { "orderer" };
        let is_its = |organization: &&mut Organization| organization.msp_id == node.msp_id && organization.kind == kind;
        match organizations.iter_mut().find(is_its) {
            Some(organization) => organization.nodes.push(node.name),
            None => organizations.push(Organization { msp_id: node.msp_id.to_string(), kind, nodes: vec![node.name] }),
        }
    }
    organizations
}

fn channels(plan: &Plan) -> Vec<ChannelRecord> {
    let topology = &plan.network.topology;
    let channel = |channel: &Channel| {
        let all = channel.organizations.is_empty();
        let members = topology.organizations.iter().filter(|one| all || channel.organizations.contains(&one.name));
        let organizations = members.map(|one| one.msp_id.clone()).collect();
        ChannelRecord { name: channel.name.clone(), organizations }
    };
    topology.channels.iter().map(channel).collect()
}

fn case(case: &CaseReport, begin: Duration, messages: Vec<Message>) -> CaseRecord {
    let (outcome, expected, seen, reason) = match &case.outcome {
        Outcome::Passed => ("passed", None, None, None),
        Outcome::Failed { expected, seen } => ("failed", Some(expected.clone()), Some(seen.clone()), None),
        Outcome::NotRun { reason } => ("not run", None, None, Some(reason.clone())),
    };
    CaseRecord {
        name: case.name.clone(),
        outcome,
        begin: milliseconds(begin),
        time: milliseconds(case.time),
        expected,
        seen,
        reason,
        checked: case.checked,
        warning: case.warning,
        causes: Vec::new(),
        log: Vec::new(),
        messages: records(messages),
    }
}

/// The JSON Schema of `report.json`.
#[cfg(test)]
pub(crate) fn schema() -> String {
    let schema = schemars::schema_for!(Document);
    // As the document.
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

/// The first messages. The last one has the number of the others.
fn records(messages: Vec<Message>) -> Vec<MessageRecord> {
    let more = messages.len().saturating_sub(CASE_LIMIT);
    let mut records: Vec<MessageRecord> = messages.into_iter().take(CASE_LIMIT).map(MessageRecord::from).collect();
    if let (Some(last), 1..) = (records.last_mut(), more) {
        last.text = format!("{} ({more} more messages are left out)", last.text);
    }
    records
}

impl From<Message> for MessageRecord {
    #[allow(clippy::cast_precision_loss, reason = "a run's microseconds are far from 52 bits")]
    fn from(message: Message) -> Self {
        let Message { at, from, to, kind, text, transaction, failed } = message;
        Self { at: at.as_micros() as f64 / 1000.0, from, to, kind, text, transaction, failed }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::journal::Role;

    /// A run with all kinds of failures, and with this text in every text field.
    pub(crate) fn hostile(text: &str) -> Document {
        let one = || text.to_owned();
        let message = || MessageRecord {
            at: 12.5,
            from: Party::peer(text),
            to: Party::new(Role::Chaincode, text),
            kind: one(),
            text: one(),
            transaction: one(),
            failed: true,
        };
        let case = |outcome, reason: Option<String>| CaseRecord {
            name: one(),
            outcome,
            begin: 10,
            time: 20,
            expected: reason.is_none().then(one),
            seen: reason.is_none().then(one),
            reason,
            checked: 2,
            warning: Some("a warning"),
            causes: vec![one()],
            log: vec![LogLine { place: one(), line: 3, text: one() }],
            messages: vec![message()],
        };
        Document {
            schema: SCHEMA,
            ended: one(),
            outcome: "failed",
            error: Some(one()),
            runtime: "embedded",
            fabric: one(),
            topology: one(),
            organizations: vec![
                Organization { msp_id: one(), kind: "peer", nodes: vec![one()] },
                Organization { msp_id: one(), kind: "orderer", nodes: vec![one()] },
            ],
            channels: vec![ChannelRecord { name: one(), organizations: vec![one()] }],
            chaincodes: vec![one()],
            couchdb: true,
            chaincode_tls: one(),
            first_query: Some(1),
            steps: vec![StepRecord { name: "step", begin: 0, time: 5, failed: true }],
            cases: vec![case("failed", None), case("not run", Some(one()))],
            replaced: vec![ReplacedField { field: "address", package: one(), run: one() }],
            resolved: vec![one()],
            before: vec![message()],
            chaincode_messages: one(),
            exits: vec![one()],
            left: vec![one()],
            findings: vec![Finding { name: one(), place: one(), line: 3, excerpt: one(), cause: one(), fix: one() }],
            clock: SystemTime::UNIX_EPOCH,
        }
    }

    /// The name and members of each object of a schema.
    fn objects(schema: &serde_json::Value) -> Vec<(String, Vec<String>)> {
        let members = |object: &serde_json::Value| match object["properties"].as_object() {
            Some(members) => members.keys().cloned().collect(),
            None => Vec::new(),
        };
        let further = schema["$defs"].as_object().unwrap().iter().map(|(name, object)| (name.clone(), members(object)));
        std::iter::once(("Document".to_owned(), members(schema))).chain(further).collect()
    }

    #[test]
    fn the_schema_is_current_and_every_member_is_documented() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/report.schema.json");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, schema()).unwrap();
        }
        assert!(std::fs::read_to_string(path).unwrap() == schema(), "docs/report.schema.json is old; run with BLESS=1");
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/report.md")).unwrap();
        let objects = objects(&serde_json::from_str(&schema()).unwrap());
        assert!(objects.len() >= 8, "{objects:?}");
        for (object, members) in objects {
            for member in members {
                assert!(page.contains(&format!("`{member}`")), "docs/report.md does not mention {member} of {object}");
            }
        }
    }

    #[test]
    fn a_document_has_exactly_the_members_and_values_of_its_schema() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/report.md")).unwrap();
        let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
        for runtime in crate::runtime::registry::names() {
            let document = serde_json::to_value(Document { runtime, ..hostile("x") }).unwrap();
            assert_matches(&document, &schema, &schema["$defs"]);
            assert!(page.contains(&format!("`{runtime}`")), "docs/report.md does not name {runtime}");
        }
    }

    fn assert_matches(value: &serde_json::Value, schema: &serde_json::Value, definitions: &serde_json::Value) {
        let schema = match schema["$ref"].as_str() {
            Some(reference) => &definitions[reference.rsplit('/').next().unwrap()],
            None => schema,
        };
        if let Some(values) = schema["enum"].as_array() {
            assert!(values.contains(value), "{value} is not of {values:?}");
        }
        if let Some(object) = value.as_object() {
            let described = schema["properties"].as_object().unwrap();
            assert_eq!(object.keys().collect::<Vec<_>>(), described.keys().collect::<Vec<_>>(), "{schema}");
            object.iter().for_each(|(name, value)| assert_matches(value, &described[name], definitions));
        }
        for element in value.as_array().into_iter().flatten() {
            assert_matches(element, &schema["items"], definitions);
        }
    }
}
