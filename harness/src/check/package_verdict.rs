//! The case about the user's package itself: whether peers can use it as it is, without what the run replaces.

use super::own_package::{Content, Replaced, Supplied};
use super::{CaseReport, Outcome};
use crate::console::error_text;
use ccaas_builder::connection::{Connection, Field};
use ccaas_builder::{Environment, Override, Severity};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// The name of the case.
pub const COMPLETE: &str = "the package is complete";

/// What is known about the package before anything starts.
#[derive(Debug, Clone, Default)]
pub struct PackageReport {
    /// The case.
    pub case: Option<CaseReport>,
    /// The fields that the run replaces.
    pub replaced: BTreeSet<Replaced>,
    /// Addresses in the package that peers resolve to the run's server.
    pub resolved: BTreeSet<String>,
}

/// Evaluates a package from its content and what its operators' peers supply. `peers` are the run's peers, with the
/// values of their templates. The booleans that `supplied` names have the values of `connection`.
pub fn evaluate(
    package: &Content,
    peers: &BTreeMap<String, Map<String, Value>>,
    supplied: &BTreeSet<Supplied>,
    connection: &Connection,
) -> CaseReport {
    let begin = Instant::now();
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut advice = BTreeSet::new();
    for (peer, values) in peers {
        for (problem, is_advice) in problems(package, values, supplied, connection) {
            if is_advice {
                advice.insert(problem);
            } else {
                found.entry(problem).or_default().push(peer);
            }
        }
    }
    for advice in advice {
        tracing::warn!("the package: {advice}");
    }
    let outcome = if found.is_empty() {
        Outcome::Passed
    } else {
        let line = |(problem, on): (String, Vec<&str>)| {
            if on.len() == peers.len() { problem } else { format!("on {}: {problem}", on.join(", ")) }
        };
        let seen = found.into_iter().map(line).collect::<Vec<_>>().join("\n");
        Outcome::Failed { expected: expectation(supplied), seen }
    };
    CaseReport {
        name: COMPLETE.to_owned(),
        outcome,
        checked: 1,
        warning: None,
        begin,
        call: None,
        time: begin.elapsed(),
    }
}

fn expectation(supplied: &BTreeSet<Supplied>) -> String {
    let names: Vec<_> = supplied.iter().map(|supplied| supplied.0.name()).collect();
    let other = if names.is_empty() { String::new() } else { format!(" other than {}", names.join(", ")) };
    format!(
        "a package that needs no settings of peers{other}, and that peers use entirely; if your peers set a field, name \
         it in `supplied_by_peers`"
    )
}

/// The builder's findings on one peer, and whether each is only advice.
fn problems(
    package: &Content,
    values: &Map<String, Value>,
    supplied: &BTreeSet<Supplied>,
    connection: &Connection,
) -> Vec<(String, bool)> {
    let mut environment = Environment::default();
    environment.template_values = Some(Value::from(values.clone()).to_string());
    // Whether certificates are needed depends on these.
    let booleans =
        [(Field::TlsRequired, connection.tls_required), (Field::ClientAuthRequired, connection.client_auth_required)];
    for (field, value) in booleans.into_iter().filter(|(field, _)| supplied.contains(&Supplied(*field))) {
        let setting = Override { name: "supplied_by_peers".to_owned(), value: value.to_string() };
        environment.overrides.set(field, setting);
    }
    let findings = match package.opened.findings(&environment) {
        Ok(findings) => findings,
        Err(error) => return vec![(error_text(&error), false)],
    };
    let is_supplied = |name: &str| supplied.iter().any(|supplied| supplied.0.name() == name);
    let findings = findings.iter().filter(|finding| !is_supplied(finding.field));
    findings.map(|finding| (finding.to_string(), finding.severity == Severity::Advice)).collect()
}
