//! Messages that only the log of a Fabric peer contains: those of its external builder, and blocks.
//!
//! The lines have the default format of Fabric's `flogging`:
//! `2026-01-31 12:00:00.123 UTC 0023 INFO [module] function -> text`.

use super::{Content, Journal, Message, Party, decode};
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, PrimitiveDateTime};

/// Log times are truncated to milliseconds, so the event may be later by up to this much.
const RESOLUTION: Duration = Duration::from_micros(999);

/// A line of Fabric's log: time, level, module, text. The function before the arrow is optional.
static LINE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) UTC [0-9a-f]+ ([A-Z]+) \[([^\]]+)\] (?:\S+ -> )?(.*)$").ok()
});

static BLOCK: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^Received block \[(\d+)\] from buffer channel=(\S+)").ok());

/// The time of a log line, if it has one: as Fabric writes it, or in RFC 3339, as chaincode servers do.
pub(crate) fn time_of(line: &str) -> Option<SystemTime> {
    let first = line.split_whitespace().next().unwrap_or_default().trim_matches(['[', ']']);
    if first.contains('T') {
        return OffsetDateTime::parse(first, &Rfc3339).ok().map(SystemTime::from);
    }
    let format =
        time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]");
    let time = PrimitiveDateTime::parse(line.get(..23)?, format).ok()?;
    line.get(23..)?.starts_with(" UTC").then(|| SystemTime::from(time.assume_utc()))
}

/// Formats a time as the logs do.
pub(crate) fn timestamp(time: SystemTime) -> String {
    let format =
        time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]");
    OffsetDateTime::from(time).format(format).unwrap_or_default() + " UTC"
}

/// The messages in the logs of these nodes. Logs in other formats contain none.
pub(crate) fn from_logs(logs: &BTreeMap<String, String>, journal: &Journal) -> Vec<Message> {
    let lines = logs.iter().flat_map(|(node, text)| text.lines().map(move |line| (node, line)));
    lines.filter_map(|(node, line)| message(node, line, journal)).collect()
}

fn message(node: &str, line: &str, journal: &Journal) -> Option<Message> {
    let time = time_of(line);
    let parts = LINE.as_ref()?.captures(line)?;
    let (level, module, line) = (parts.get(2)?.as_str(), parts.get(3)?.as_str(), parts.get(4)?.as_str());
    let (from, content) = if module.starts_with("chaincode.externalbuilder") {
        let (text, kind) = line.rsplit_once(" command=").unwrap_or((line, "builder"));
        let text = text.strip_prefix(kind).and_then(|text| text.strip_prefix(": ")).unwrap_or(text);
        let failed = matches!(level, "ERROR" | "PANIC" | "FATAL");
        let (kind, text) = (kind.to_owned(), text.to_owned());
        (Party::builder(), Content { kind, text, failed, ..Content::default() })
    } else {
        let block = BLOCK.as_ref()?.captures(line)?;
        let text = format!("{}: block {}", block.get(2)?.as_str(), block.get(1)?.as_str());
        (Party::orderers(), Content { kind: "block".to_owned(), text, ..Content::default() })
    };
    let at = journal.since_clock(time? + RESOLUTION);
    let Content { kind, text, transaction, failed } = content;
    Some(Message { at, from, to: Party::peer(node), kind, text: decode::presentable(&text), transaction, failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_log_contains_messages_of_its_builder_and_blocks() {
        let now = timestamp(SystemTime::now() + Duration::from_secs(5));
        let log = format!(
            "peer:\n  externalbuilders:\n\
             {now} 0023 INFO [chaincode.externalbuilder.ccaas_builder] waitForExit -> build: basic_1.0 connects to a:1 command=build\n\
             {now} 0024 INFO [gossip.privdata] StoreBlock -> Received block [7] from buffer channel=mychannel\n\
             {now} 0025 INFO [kvledger] commit -> [mychannel] Committed block [7] with 1 transaction(s) in 1ms\n\
             not a line\n"
        );
        let messages = from_logs(&[("peer0.org1".to_owned(), log)].into(), &Journal::begin());
        let found: Vec<_> = messages
            .iter()
            .map(|m| (m.from.name.as_str(), m.to.name.as_str(), m.kind.as_str(), m.text.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("builder", "peer0.org1", "build", "basic_1.0 connects to a:1"),
                ("orderers", "peer0.org1", "block", "mychannel: block 7"),
            ]
        );
        assert!(messages.iter().all(|m| (4900..5100).contains(&m.at.as_millis())), "{messages:?}");
    }

    #[test]
    fn a_formatted_time_is_parsed() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        assert_eq!(timestamp(time), "2023-11-14 22:13:20.123 UTC");
        assert_eq!(time_of("2023-11-14 22:13:20.123 UTC 0001 INFO [a] b -> c"), Some(time));
        for rfc in ["2023-11-14T22:13:20.123Z  WARN a", "[2023-11-14T23:13:20.123+01:00] a"] {
            assert_eq!(time_of(rfc), Some(time), "{rfc}");
        }
        for other in [
            "",
            "2023-11-14T a",
            "Tuesday",
            "2023-11-14 22:13:20.123",
            "2023-13-14 22:13:20.123 UTC",
            "ä".repeat(40).as_str(),
        ] {
            assert_eq!(time_of(other), None, "{other}");
        }
    }
}
