//! Signature policies: one principal, or n of several rules.

use std::sync::Arc;

use fabric_protos::common::SignaturePolicyEnvelope;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::common::signature_policy::{NOutOf, Type};
use fabric_protos::common::{self, SignaturePolicy as Rule};

use super::PolicyError;
use crate::msp::{Identity, Principal, role};

/// A signature policy with decoded principals.
#[derive(Clone, Debug)]
pub struct SignaturePolicy {
    envelope: Arc<SignaturePolicyEnvelope>,
    gate: Arc<Gate>,
}

#[derive(Debug)]
enum Gate {
    SignedBy(Principal),
    NOutOf(i32, Vec<Gate>),
}

impl SignaturePolicy {
    /// Checks a policy and decodes its principals.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Rule`] if the rule is missing or names an unknown principal.
    pub fn new(envelope: SignaturePolicyEnvelope) -> Result<Self, PolicyError> {
        let principals: Vec<_> = envelope.identities.iter().map(Principal::new).collect();
        let gate = compile(envelope.rule.as_ref(), &principals)?;
        Ok(Self { gate: Arc::new(gate), envelope: Arc::new(envelope) })
    }

    /// The original policy.
    pub fn envelope(&self) -> &SignaturePolicyEnvelope {
        &self.envelope
    }

    /// Evaluates the policy for these identities, using each at most once.
    ///
    /// As in Fabric, rules are evaluated in order, and each takes the first matching identities: a
    /// set may fail that would pass in another order.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotSatisfied`].
    pub fn evaluate(&self, identities: &[Arc<Identity>]) -> Result<(), PolicyError> {
        let mut used = vec![false; identities.len()];
        if self.gate.pass(identities, &mut used) { Ok(()) } else { Err(PolicyError::NotSatisfied) }
    }
}

impl Gate {
    fn pass(&self, identities: &[Arc<Identity>], used: &mut [bool]) -> bool {
        match self {
            Self::SignedBy(principal) => {
                let fits = |index: &usize| !used[*index] && identities[*index].is(principal);
                let found = (0..identities.len()).find(fits);
                found.inspect(|index| used[*index] = true).is_some()
            }
            Self::NOutOf(n, gates) => {
                let mut passed = 0;
                for gate in gates {
                    let before = used.to_vec();
                    if gate.pass(identities, used) {
                        passed += 1;
                    } else {
                        used.copy_from_slice(&before);
                    }
                }
                passed >= *n
            }
        }
    }
}

fn compile(rule: Option<&Rule>, principals: &[Principal]) -> Result<Gate, PolicyError> {
    let Some(rule) = rule else { return Err(PolicyError::Rule("Empty policy element".to_owned())) };
    match &rule.r#type {
        Some(Type::SignedBy(index)) => {
            let principal = usize::try_from(*index).ok().and_then(|index| principals.get(index));
            let known = principals.len();
            let missing = format!("identity index out of range, requested {index}, but identities length is {known}");
            principal.cloned().map(Gate::SignedBy).ok_or(PolicyError::Rule(missing))
        }
        Some(Type::NOutOf(NOutOf { n, rules })) => {
            let gates = rules.iter().map(|rule| compile(Some(rule), principals)).collect::<Result<_, _>>()?;
            Ok(Gate::NOutOf(*n, gates))
        }
        None => Err(PolicyError::Rule("Unknown type: <nil>:<nil>".to_owned())),
    }
}

/// N signatures of this role, each from a different organization. The organizations are sorted
/// because Fabric hashes its default policies.
pub fn n_of_roles(n: usize, kind: MspRoleType, msp_ids: &[&str]) -> SignaturePolicyEnvelope {
    let mut msp_ids = msp_ids.to_vec();
    msp_ids.sort_unstable();
    let signed_by = |index| Rule { r#type: Some(Type::SignedBy(index)) };
    let rules = (0..).zip(&msp_ids).map(|(index, _)| signed_by(index)).collect();
    let gate = NOutOf { n: i32::try_from(n).unwrap_or(i32::MAX), rules };
    common::SignaturePolicyEnvelope {
        version: 0,
        rule: Some(Rule { r#type: Some(Type::NOutOf(gate)) }),
        identities: msp_ids.iter().map(|msp_id| role(msp_id, kind)).collect(),
    }
}
