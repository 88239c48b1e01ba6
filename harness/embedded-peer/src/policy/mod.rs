//! Which signatures are sufficient: signature policies and implicit meta policies.
//!
//! A [`Policies`] is the tree of a channel's policies; a chaincode's own policy is an
//! [`ApplicationPolicy`] that is spelled out or refers to that tree. Who an identity is, is the
//! matter of `msp`.

mod signature;
mod tree;

use bytes::Bytes;
use fabric_protos::common::SignaturePolicyEnvelope;
use fabric_protos::protos::ApplicationPolicy;
use fabric_protos::protos::application_policy::Type;
use prost::Message;
use std::sync::Arc;

pub use self::signature::{SignaturePolicy, n_of_roles};
pub use self::tree::{Policies, Policy};

use crate::msp::{Identity, MspManager};

/// A message, who is said to have signed it, and the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedData {
    /// What is signed.
    pub message: Bytes,
    /// `msp.SerializedIdentity`, encoded.
    pub identity: Bytes,
    /// The signature.
    pub signature: Bytes,
}

/// A policy is not satisfied, or can't be used. The texts are Fabric's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Too few signatures, or of the wrong ones.
    #[error("signature set did not satisfy policy")]
    NotSatisfied,
    /// Too few of the policies below are satisfied.
    #[error(
        "implicit policy evaluation failed - {satisfied} sub-policies were satisfied, but this policy requires {threshold} of the '{name}' sub-policies to be satisfied"
    )]
    TooFew {
        /// How many are.
        satisfied: usize,
        /// How many must be.
        threshold: usize,
        /// Their name.
        name: String,
    },
    /// No such policy in the channel.
    #[error("no such policy: '{0}'")]
    Missing(String),
    /// A chaincode's policy refers to a policy that the channel does not have.
    #[error("could not create evaluator for channel reference policy: failed to retrieve policy for reference {0}")]
    Reference(String),
    /// Not an encoded policy.
    #[error("failed to unmarshal ApplicationPolicy bytes")]
    Decode,
    /// Neither spelled out nor a reference.
    #[error("unsupported policy type <nil>")]
    Empty,
    /// A rule that makes no sense.
    #[error("could not create evaluator for signature policy: {0}")]
    Rule(String),
    /// A policy of the channel that makes no sense.
    #[error("policy {name} at path {path} {cause}")]
    Compile {
        /// Its name.
        name: String,
        /// The group it is in.
        path: String,
        /// What is wrong.
        cause: String,
    },
    /// A policy that can't be spelled out as signatures.
    #[error("policy '{0}' is not convertible to SignaturePolicyEnvelope")]
    NotConvertible(String),
}

/// The identities whose signatures are good, each once, in order. The others are dropped, as
/// Fabric drops them (`common/policies/policy.go`).
pub fn signers(signed: &[SignedData], msps: &MspManager) -> Vec<Arc<Identity>> {
    let mut signers: Vec<Arc<Identity>> = Vec::with_capacity(signed.len());
    for SignedData { message, identity, signature } in signed {
        let Ok(identity) = msps.deserialize(identity) else { continue };
        let known = |other: &Arc<Identity>| other.id() == identity.id() && other.msp_id() == identity.msp_id();
        if !signers.iter().any(known) && identity.verify(message, signature).is_ok() {
            signers.push(identity);
        }
    }
    signers
}

/// An endorsement policy as definitions hold it, ready to be asked.
#[derive(Clone, Debug)]
pub enum Endorsement {
    /// Spelled out.
    Signature(SignaturePolicy),
    /// A policy of the channel.
    Reference(String),
}

impl Endorsement {
    /// From an encoded `ApplicationPolicy`.
    ///
    /// # Errors
    /// [`PolicyError`], as Fabric says it when it evaluates.
    pub fn decode(policy: &[u8]) -> Result<Self, PolicyError> {
        match ApplicationPolicy::decode(policy).map_err(|_| PolicyError::Decode)?.r#type {
            Some(Type::SignaturePolicy(policy)) => Ok(Self::Signature(SignaturePolicy::new(policy)?)),
            Some(Type::ChannelConfigPolicyReference(reference)) => Ok(Self::Reference(reference)),
            None => Err(PolicyError::Empty),
        }
    }

    /// Whether those identities, each of which has signed, suffice.
    ///
    /// # Errors
    /// [`PolicyError`] if not.
    pub fn evaluate(&self, identities: &[Arc<Identity>], channel: &Policies) -> Result<(), PolicyError> {
        match self {
            Self::Signature(policy) => policy.evaluate(identities),
            Self::Reference(reference) => match channel.get(reference) {
                Some(policy) => policy.evaluate(identities),
                None => Err(PolicyError::Reference(reference.clone())),
            },
        }
    }

    /// The same policy spelled out as signatures.
    ///
    /// # Errors
    /// [`PolicyError`] if the channel has no such policy, or it can't be spelled out.
    pub fn spelled_out(&self, channel: &Policies) -> Result<SignaturePolicyEnvelope, PolicyError> {
        match self {
            Self::Signature(policy) => Ok(policy.envelope().clone()),
            Self::Reference(reference) => match channel.get(reference) {
                Some(policy) => policy.spelled_out(),
                None => Err(PolicyError::Reference(reference.clone())),
            },
        }
    }
}

/// An encoded `ApplicationPolicy` that refers to a policy of the channel.
pub fn reference(policy: &str) -> Vec<u8> {
    let policy = Type::ChannelConfigPolicyReference(policy.to_owned());
    ApplicationPolicy { r#type: Some(policy) }.encode_to_vec()
}

/// An encoded `ApplicationPolicy` that is spelled out.
pub fn spelled_out(policy: SignaturePolicyEnvelope) -> Vec<u8> {
    ApplicationPolicy { r#type: Some(Type::SignaturePolicy(policy)) }.encode_to_vec()
}

#[cfg(test)]
mod tests;
