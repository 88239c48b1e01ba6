//! `junit.xml`: the results in the format that CI services read.

use super::document::{CaseRecord, Document};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// The cases as one test suite. Other failures (the run, unexpected exits, leftovers) are separate cases, because a CI
/// service shows only cases.
pub(crate) fn to_xml(document: &Document) -> String {
    let name = format!("{} on {}, Fabric {}", document.topology, document.runtime, document.fabric);
    let mut suite = TestSuite::new(name);
    suite.extra.insert("timestamp".into(), document.ended.trim_end_matches('Z').into());
    suite.set_time(Duration::from_millis(document.cases.iter().map(|case| case.time).sum()));
    let checked: usize = document.cases.iter().map(|case| case.checked).sum();
    suite.add_property(("expectations", checked.to_string().as_str()));
    let class = format!("{}.{}", document.runtime, document.topology);
    for case in &document.cases {
        let mut test = TestCase::new(case.name.as_str(), status(case));
        test.set_classname(class.as_str());
        test.set_time(Duration::from_millis(case.time));
        if let Some(warning) = case.warning {
            test.set_system_out(format!("warning: {warning}"));
        }
        suite.add_test_case(test);
    }
    let further = [
        ("the cases can be run", document.error.as_slice()),
        ("no node or server exits unexpectedly", &document.exits),
        ("there are no leftovers", &document.left),
    ];
    for (name, problems) in further {
        if !problems.is_empty() {
            let mut test = TestCase::new(name, failure(&problems.join("\n"), NonSuccessKind::Error));
            test.set_classname(class.as_str());
            suite.add_test_case(test);
        }
    }
    let mut report = Report::new("fabric-harness");
    report.add_test_suite(suite);
    // Cannot fail for these types.
    let xml = report.to_string().unwrap_or_default();
    // The schema of Jenkins' xunit plugin (junit-10.xsd) allows this attribute only for a suite.
    let skipped = format!(" skipped=\"{}\"", document.cases.iter().filter(|case| case.outcome == "not run").count());
    xml.replacen(&skipped, "", 1)
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
    status.set_type(match kind {
        NonSuccessKind::Failure => "difference",
        NonSuccessKind::Error => "error",
    });
    status.set_message(text.lines().next().unwrap_or_default());
    status.set_description(text);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::tests::hostile;

    #[test]
    fn the_xml_conforms_to_a_strict_schema() {
        let xml = to_xml(&hostile("a<b>&\"'\u{1b}[31m\u{0}"));
        let suites = xml.lines().find(|line| line.contains("<testsuites")).unwrap();
        assert!(!suites.contains("skipped="), "{suites}");
        let suite = xml.lines().find(|line| line.contains("<testsuite ")).unwrap();
        for attribute in
            ["name=", "tests=\"5\"", "failures=\"1\"", "errors=\"3\"", "skipped=\"1\"", "time=", "timestamp="]
        {
            assert!(suite.contains(attribute), "no {attribute} in {suite}");
        }
        assert_eq!(xml.matches("<testcase name=").count(), 5);
        assert!(xml.contains(r#"<property name="expectations" value="4"/>"#), "{xml}");
        assert_eq!(xml.matches("<system-out>warning: ").count(), 2, "{xml}");
        assert_eq!(xml.matches(" classname=").count(), 5);
        assert_eq!(xml.matches("<failure ").count() + xml.matches("<error ").count(), xml.matches(" type=").count());
        assert!(!xml.contains(['\u{1b}', '\u{0}']), "{xml:?}");
    }
}
