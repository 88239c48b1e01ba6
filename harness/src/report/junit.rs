//! `junit.xml`: the cases as CI services read them.

use super::document::{CaseRecord, Document};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// The cases as one test suite. What kept them from being run, and what ended or was left behind
/// meanwhile, are cases of their own, since a CI service shows nothing else.
pub fn to_xml(document: &Document) -> String {
    let name = format!("{} on {}, Fabric {}", document.topology, document.runtime, document.fabric);
    let mut suite = TestSuite::new(name);
    for case in &document.cases {
        let mut test = TestCase::new(case.name.as_str(), status(case));
        test.set_time(Duration::from_millis(case.time));
        suite.add_test_case(test);
    }
    let further = [
        ("the cases can be run", document.error.as_slice()),
        ("every node and server goes on running", &document.deaths),
        ("nothing is left behind", &document.left),
    ];
    for (name, problems) in further {
        if !problems.is_empty() {
            suite.add_test_case(TestCase::new(name, failure(&problems.join("\n"), NonSuccessKind::Error)));
        }
    }
    let mut report = Report::new("fabric-harness");
    report.add_test_suite(suite);
    // Writing to a string fails only for what these types can't hold.
    report.to_string().unwrap_or_default()
}

fn status(case: &CaseRecord) -> TestCaseStatus {
    match (&case.expected, &case.seen, &case.reason) {
        (Some(expected), Some(seen), _) => {
            failure(&format!("expected: {expected}\nseen:     {seen}"), NonSuccessKind::Failure)
        }
        (_, _, Some(reason)) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(reason.as_str());
            status
        }
        _ => TestCaseStatus::success(),
    }
}

fn failure(text: &str, kind: NonSuccessKind) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(text.lines().next().unwrap_or_default());
    status.set_description(text);
    status
}
