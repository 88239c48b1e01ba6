//! Endorsement policies in the syntax of `peer lifecycle chaincode --signature-policy`
//! (`common/policydsl/policyparser.go`).

use fabric_protos::common::msp_principal::Classification;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::common::signature_policy::{NOutOf, Type};
use fabric_protos::common::{MspPrincipal, MspRole, SignaturePolicy, SignaturePolicyEnvelope};
use prost::Message as _;

/// Maximum nesting depth.
const MAX_DEPTH: usize = 32;

/// A syntax error in a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid policy at character {position}: {reason}")]
pub struct PolicyError {
    /// The character, from 1.
    pub position: usize,
    /// The reason.
    pub reason: String,
}

/// Reads a policy such as `AND('Org1MSP.peer', OutOf(1, 'Org2MSP.peer', 'Org3MSP.member'))`.
///
/// The roles are member, admin, client, peer and orderer.
///
/// # Errors
///
/// The first syntax error.
pub fn signature_policy(text: &str) -> Result<SignaturePolicyEnvelope, PolicyError> {
    let mut parser = Parser { text, at: 0, identities: Vec::new() };
    let rule = parser.gate(0)?;
    parser.skip_space();
    if parser.at < text.len() {
        return Err(parser.error("unexpected text after the last parenthesis"));
    }
    Ok(SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities: parser.identities })
}

/// Whether one signature of any of its principals satisfies it, as Fabric requires for the policy of a collection
/// (`core/chaincode/lifecycle/scc.go`).
pub fn is_disjunction(rule: &SignaturePolicy) -> bool {
    match &rule.r#type {
        Some(Type::NOutOf(gate)) => gate.n == 1 && gate.rules.iter().all(is_disjunction),
        _ => true,
    }
}

/// Whether members of these MSPs can satisfy a policy.
pub(super) fn is_satisfiable(policy: &SignaturePolicyEnvelope, has: impl Fn(&str) -> bool) -> bool {
    let has_principal: Vec<bool> = policy
        .identities
        .iter()
        .map(|principal| MspRole::decode(principal.principal.as_slice()).is_ok_and(|role| has(&role.msp_identifier)))
        .collect();
    policy.rule.as_ref().is_some_and(|rule| holds(rule, &has_principal))
}

fn holds(rule: &SignaturePolicy, has_principal: &[bool]) -> bool {
    match &rule.r#type {
        Some(Type::NOutOf(gate)) => {
            let count = gate.rules.iter().filter(|rule| holds(rule, has_principal)).count();
            usize::try_from(gate.n).is_ok_and(|needed| count >= needed)
        }
        Some(Type::SignedBy(index)) => {
            usize::try_from(*index).ok().and_then(|index| has_principal.get(index)).is_some_and(|has| *has)
        }
        None => false,
    }
}

/// The MSP IDs of a policy, each once.
pub(super) fn msp_ids(policy: &SignaturePolicyEnvelope) -> Vec<String> {
    let roles = policy.identities.iter().filter_map(|principal| MspRole::decode(principal.principal.as_slice()).ok());
    let mut msp_ids = Vec::new();
    for MspRole { msp_identifier, .. } in roles {
        if !msp_ids.contains(&msp_identifier) {
            msp_ids.push(msp_identifier);
        }
    }
    msp_ids
}

struct Parser<'a> {
    text: &'a str,
    /// The byte offset of the next character.
    at: usize,
    identities: Vec<MspPrincipal>,
}

impl Parser<'_> {
    fn gate(&mut self, depth: usize) -> Result<SignaturePolicy, PolicyError> {
        self.skip_space();
        let begin = self.at;
        let name = self.take_while(|character| character.is_ascii_alphabetic()).to_ascii_lowercase();
        if !matches!(name.as_str(), "and" | "or" | "outof") {
            self.at = begin;
            return Err(self.error("expected AND(…), OR(…) or OutOf(…)"));
        }
        if depth == MAX_DEPTH {
            return Err(self.error("too deeply nested"));
        }
        self.expect('(')?;
        let needed = if name == "outof" { Some(self.number()?) } else { None };
        let mut rules = Vec::new();
        if needed.is_none() {
            rules.push(self.rule(depth)?);
        }
        while !self.takes(')') {
            self.expect(',')?;
            rules.push(self.rule(depth)?);
        }
        let count = i32::try_from(rules.len()).unwrap_or(i32::MAX);
        let needed = match name.as_str() {
            "and" => count,
            "or" => 1,
            _ => needed.unwrap_or_default(),
        };
        if !(1..=count).contains(&needed) {
            self.at = begin;
            return Err(self.error(&format!("{needed} of {count} is impossible")));
        }
        Ok(SignaturePolicy { r#type: Some(Type::NOutOf(NOutOf { n: needed, rules })) })
    }

    fn rule(&mut self, depth: usize) -> Result<SignaturePolicy, PolicyError> {
        self.skip_space();
        if self.text[self.at..].starts_with(['\'', '"']) { self.principal() } else { self.gate(depth + 1) }
    }

    fn principal(&mut self) -> Result<SignaturePolicy, PolicyError> {
        let begin = self.at;
        let text = self.quoted()?;
        let role = text.rsplit_once('.').and_then(|(msp_id, role)| Some((msp_id, role_named(role)?)));
        let is_msp_id = |id: &str| {
            !id.is_empty() && id.chars().all(|character| character.is_ascii_alphanumeric() || ".-".contains(character))
        };
        let Some((msp_id, role)) = role.filter(|(msp_id, _)| is_msp_id(msp_id)) else {
            self.at = begin;
            return Err(self.error("expected an MSP ID, a dot, and member, admin, client, peer or orderer"));
        };
        let role = MspRole { msp_identifier: msp_id.to_owned(), role: role.into() };
        let principal =
            MspPrincipal { principal_classification: Classification::Role.into(), principal: role.encode_to_vec() };
        let known = self.identities.iter().position(|other| *other == principal);
        let index = known.unwrap_or_else(|| {
            self.identities.push(principal);
            self.identities.len() - 1
        });
        Ok(SignaturePolicy { r#type: Some(Type::SignedBy(i32::try_from(index).unwrap_or(i32::MAX))) })
    }

    fn quoted(&mut self) -> Result<String, PolicyError> {
        let quote = self.text[self.at..].chars().next().unwrap_or('\'');
        let rest = &self.text[self.at + quote.len_utf8()..];
        let Some(length) = rest.find(quote) else { return Err(self.error("missing closing quote")) };
        self.at += length + 2 * quote.len_utf8();
        Ok(rest[..length].to_owned())
    }

    fn number(&mut self) -> Result<i32, PolicyError> {
        self.skip_space();
        let begin = self.at;
        let digits = if self.text[begin..].starts_with(['\'', '"']) {
            self.quoted()?
        } else {
            self.take_while(|character| character.is_ascii_digit()).to_owned()
        };
        digits.parse().map_err(|_| {
            self.at = begin;
            self.error("expected the number of rules that must hold")
        })
    }

    fn expect(&mut self, character: char) -> Result<(), PolicyError> {
        if self.takes(character) { Ok(()) } else { Err(self.error(&format!("expected `{character}`"))) }
    }

    fn takes(&mut self, character: char) -> bool {
        self.skip_space();
        let is_next = self.text[self.at..].starts_with(character);
        if is_next {
            self.at += character.len_utf8();
        }
        is_next
    }

    fn skip_space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &str {
        let begin = self.at;
        let rest = &self.text[begin..];
        self.at += rest.find(|character| !is_part(character)).unwrap_or(rest.len());
        &self.text[begin..self.at]
    }

    fn error(&self, reason: &str) -> PolicyError {
        PolicyError { position: self.text[..self.at].chars().count() + 1, reason: reason.to_owned() }
    }
}

fn role_named(name: &str) -> Option<MspRoleType> {
    Some(match name {
        "member" => MspRoleType::Member,
        "admin" => MspRoleType::Admin,
        "client" => MspRoleType::Client,
        "peer" => MspRoleType::Peer,
        "orderer" => MspRoleType::Orderer,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A policy as text again, each principal by its index.
    fn shape(rule: &SignaturePolicy) -> String {
        match rule.r#type.as_ref().unwrap() {
            Type::SignedBy(index) => index.to_string(),
            Type::NOutOf(gate) => {
                format!("{} of [{}]", gate.n, gate.rules.iter().map(shape).collect::<Vec<_>>().join(" "))
            }
        }
    }

    fn principals(envelope: &SignaturePolicyEnvelope) -> Vec<String> {
        let role = |principal: &MspPrincipal| MspRole::decode(principal.principal.as_slice()).unwrap();
        let roles = envelope.identities.iter().map(role);
        roles.map(|role| format!("{}/{}", role.msp_identifier, role.role().as_str_name())).collect()
    }

    #[test]
    fn the_gates_and_roles_of_fabric_are_read() {
        let text =
            " AND('Org1MSP.peer', or(\"org-2.msp.member\",'Org1MSP.peer'),OutOf(2,'A.admin','B.client', 'C.orderer'))";
        let policy = signature_policy(text).unwrap();
        assert_eq!(shape(policy.rule.as_ref().unwrap()), "3 of [0 1 of [1 0] 2 of [2 3 4]]");
        assert_eq!(principals(&policy), ["Org1MSP/PEER", "org-2.msp/MEMBER", "A/ADMIN", "B/CLIENT", "C/ORDERER"]);
        assert!(!is_disjunction(policy.rule.as_ref().unwrap()));
        let one = signature_policy("OutOf('1','A.member',AND('B.member'))").unwrap();
        assert!(is_disjunction(one.rule.as_ref().unwrap()));
    }

    #[test]
    fn a_mistake_is_reported_with_its_place() {
        for (text, position, reason) in [
            ("", 1, "expected AND(…)"),
            ("'Org1MSP.peer'", 1, "expected AND(…)"),
            ("XOR('A.peer')", 1, "expected AND(…)"),
            ("OR('A.peer'", 12, "expected `,`"),
            ("OR('A.peer') x", 14, "unexpected text"),
            ("OR('A.boss')", 4, "expected an MSP ID"),
            ("OR('ä', 'A_.peer')", 4, "expected an MSP ID"),
            ("OR('ok.peer', 'A_.peer')", 15, "expected an MSP ID"),
            ("OR('A.peer)", 4, "missing closing quote"),
            ("OutOf(3, 'A.peer', 'B.peer')", 1, "3 of 2"),
            ("OutOf(0, 'A.peer')", 1, "0 of 1"),
            ("OutOf('A.peer')", 7, "expected the number"),
            ("OR()", 4, "expected AND(…)"),
        ] {
            let error = signature_policy(text).unwrap_err();
            assert!(error.position == position && error.reason.contains(reason), "{text}: {error}");
        }
        assert!(signature_policy(&"OR(".repeat(10_000)).unwrap_err().reason.contains("too deeply nested"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([ORANDutf(),'\" .0-9ä]|'A.peer'|OR\\(){0,40}") {
            let _ = signature_policy(&text);
        }
    }
}
