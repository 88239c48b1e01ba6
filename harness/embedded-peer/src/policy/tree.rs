//! The tree of a channel's policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric_protos::common::implicit_meta_policy::Rule;
use fabric_protos::common::policy::PolicyType;
use fabric_protos::common::signature_policy::{NOutOf, Type};
use fabric_protos::common::{
    ConfigGroup, ImplicitMetaPolicy, MspPrincipal, SignaturePolicy as SignatureRule, SignaturePolicyEnvelope,
};
use prost::Message;

use super::{PolicyError, SignaturePolicy, SignedData, signers};
use crate::msp::{Identity, MspManager};

/// The root group of every channel.
const ROOT: &str = "Channel";

/// One policy of a channel.
#[derive(Clone, Debug)]
pub enum Policy {
    /// A signature policy.
    Signature(SignaturePolicy),
    /// A policy over the subpolicies of this name in the child groups. Groups without one count as
    /// never satisfied.
    ImplicitMeta {
        /// The required number of satisfied subpolicies.
        threshold: usize,
        /// The subpolicies' name.
        name: String,
        /// The subpolicies; `None` for child groups without one.
        below: Vec<Option<Arc<Policy>>>,
    },
}

impl Policy {
    /// Evaluates the policy for these identities, each of which has signed.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] if it is not satisfied.
    pub fn evaluate(&self, identities: &[Arc<Identity>]) -> Result<(), PolicyError> {
        match self {
            Self::Signature(policy) => policy.evaluate(identities),
            Self::ImplicitMeta { threshold, name, below } => {
                let passes = |policy: &&Arc<Policy>| policy.evaluate(identities).is_ok();
                let satisfied = below.iter().flatten().filter(passes).take(*threshold).count();
                if satisfied == *threshold {
                    return Ok(());
                }
                Err(PolicyError::TooFew { satisfied, threshold: *threshold, name: name.clone() })
            }
        }
    }

    /// The policy as a signature policy, for the gateway and discovery.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotConvertible`] if a subpolicy is missing.
    pub fn to_signature_policy(&self) -> Result<SignaturePolicyEnvelope, PolicyError> {
        match self {
            Self::Signature(policy) => Ok(policy.envelope().clone()),
            Self::ImplicitMeta { threshold, name, below } => {
                let mut identities: Vec<MspPrincipal> = Vec::new();
                let mut rules = Vec::new();
                for policy in below {
                    let policy = policy.as_ref().ok_or_else(|| PolicyError::NotConvertible(name.clone()))?;
                    let part = policy.to_signature_policy()?;
                    let places: Vec<_> = part.identities.into_iter().map(|one| place(&mut identities, one)).collect();
                    rules.push(moved(part.rule.as_ref(), &places).ok_or(PolicyError::NotSatisfied)?);
                }
                let n = i32::try_from(*threshold).unwrap_or(i32::MAX);
                let rule = SignatureRule { r#type: Some(Type::NOutOf(NOutOf { n, rules })) };
                Ok(SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities })
            }
        }
    }
}

/// The index of a principal in the list; a new one is added.
fn place(principals: &mut Vec<MspPrincipal>, principal: MspPrincipal) -> i32 {
    let index = principals.iter().position(|known| *known == principal).unwrap_or_else(|| {
        principals.push(principal);
        principals.len() - 1
    });
    i32::try_from(index).unwrap_or(i32::MAX)
}

/// The rule with new principal indexes.
fn moved(rule: Option<&SignatureRule>, places: &[i32]) -> Option<SignatureRule> {
    let moved = match rule?.r#type.as_ref()? {
        Type::SignedBy(index) => Type::SignedBy(*places.get(usize::try_from(*index).ok()?)?),
        Type::NOutOf(gate) => {
            let rules = gate.rules.iter().map(|rule| moved(Some(rule), places)).collect::<Option<_>>()?;
            Type::NOutOf(NOutOf { n: gate.n, rules })
        }
    };
    Some(SignatureRule { r#type: Some(moved) })
}

/// All policies of a channel, by their full path.
#[derive(Clone, Debug)]
pub struct Policies {
    by_path: Arc<BTreeMap<String, Arc<Policy>>>,
    msps: MspManager,
}

impl Policies {
    /// Reads the policies of a channel group and of all its child groups.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Compile`] for a policy of an unknown type or with an invalid rule.
    pub fn new(channel_group: &ConfigGroup, msps: MspManager) -> Result<Self, PolicyError> {
        let mut by_path = BTreeMap::new();
        collect(ROOT, channel_group, &mut by_path)?;
        Ok(Self { by_path: Arc::new(by_path), msps })
    }

    /// The policy at a path such as `/Channel/Application/Writers`, or relative to `/Channel`.
    pub fn get(&self, path: &str) -> Option<&Arc<Policy>> {
        self.get_in(ROOT, path)
    }

    /// Like [`get`](Self::get), for paths relative to a group (`Channel/Application`, without a
    /// leading slash).
    pub fn get_in(&self, group: &str, path: &str) -> Option<&Arc<Policy>> {
        look_up(&self.by_path, group, path)
    }

    /// Every policy and its path, `Channel/…`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Policy>)> {
        self.by_path.iter().map(|(path, policy)| (&**path, policy))
    }

    /// Evaluates a policy with these signatures.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] if it is not satisfied or does not exist.
    pub fn evaluate(&self, path: &str, signed: &[SignedData]) -> Result<(), PolicyError> {
        let missing = || PolicyError::Missing(path.strip_prefix("/Channel/").unwrap_or(path).to_owned());
        self.get(path).ok_or_else(missing)?.evaluate(&signers(signed, &self.msps))
    }

    /// The MSPs that the policies refer to.
    pub fn msps(&self) -> &MspManager {
        &self.msps
    }
}

fn look_up<'a>(all: &'a BTreeMap<String, Arc<Policy>>, group: &str, path: &str) -> Option<&'a Arc<Policy>> {
    match path.strip_prefix('/') {
        Some(absolute) => all.get(absolute).filter(|_| absolute.starts_with(group)),
        None => all.get(&format!("{group}/{path}")),
    }
}

fn collect(path: &str, group: &ConfigGroup, all: &mut BTreeMap<String, Arc<Policy>>) -> Result<(), PolicyError> {
    for (name, below) in &group.groups {
        collect(&format!("{path}/{name}"), below, all)?;
    }
    let mut own = Vec::new();
    for (name, policy) in &group.policies {
        let wrong = |cause: String| PolicyError::Compile { name: name.clone(), path: path.to_owned(), cause };
        let policy = policy.policy.as_ref().ok_or_else(|| wrong("was nil".to_owned()))?;
        let compiled = match PolicyType::try_from(policy.r#type) {
            Ok(PolicyType::ImplicitMeta) => implicit_meta(&policy.value, path, group, all),
            Ok(PolicyType::Signature) => signature(&policy.value),
            _ => return Err(wrong(format!("has unknown policy type: {}", policy.r#type))),
        };
        let compiled = compiled.map_err(|cause| wrong(format!("did not compile: {cause}")))?;
        own.push((format!("{path}/{name}"), Arc::new(compiled)));
    }
    all.extend(own);
    Ok(())
}

fn signature(value: &[u8]) -> Result<Policy, String> {
    let envelope = SignaturePolicyEnvelope::decode(value)
        .map_err(|error| format!("Error unmarshalling to SignaturePolicy: {error}"))?;
    if envelope.version != 0 {
        return Err(format!(
            "This evaluator only understands messages of version 0, but version was {}",
            envelope.version
        ));
    }
    match SignaturePolicy::new(envelope) {
        Ok(policy) => Ok(Policy::Signature(policy)),
        Err(PolicyError::Rule(cause)) => Err(cause),
        Err(error) => Err(error.to_string()),
    }
}

fn implicit_meta(
    value: &[u8],
    path: &str,
    group: &ConfigGroup,
    all: &BTreeMap<String, Arc<Policy>>,
) -> Result<Policy, String> {
    let ImplicitMetaPolicy { sub_policy, rule } = ImplicitMetaPolicy::decode(value)
        .map_err(|error| format!("Error unmarshalling to ImplicitMetaPolicy: {error}"))?;
    let below: Vec<_> =
        group.groups.keys().map(|name| look_up(all, &format!("{path}/{name}"), &sub_policy).cloned()).collect();
    // Without subpolicies nothing is required; an unknown rule requires nothing either.
    let threshold = match Rule::try_from(rule) {
        _ if below.is_empty() => 0,
        Ok(Rule::Any) => 1,
        Ok(Rule::All) => below.len(),
        Ok(Rule::Majority) => below.len() / 2 + 1,
        Err(_) => 0,
    };
    Ok(Policy::ImplicitMeta { threshold, name: sub_policy, below })
}
