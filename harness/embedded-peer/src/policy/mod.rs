//! Which signatures are sufficient: signature policies and implicit meta policies.
//!
//! [`Policies`] is the tree of a channel's policies. A chaincode's [`ApplicationPolicy`] is a
//! signature policy or a reference into that tree. Identities are in `msp`.

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

/// A message with its claimed signer and signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedData {
    /// The signed message.
    pub message: Bytes,
    /// `msp.SerializedIdentity`, encoded.
    pub identity: Bytes,
    /// The signature.
    pub signature: Bytes,
}

/// Why a policy failed. The texts are Fabric's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not enough matching signatures.
    #[error("signature set did not satisfy policy")]
    NotSatisfied,
    /// Not enough satisfied subpolicies.
    #[error(
        "implicit policy evaluation failed - {satisfied} sub-policies were satisfied, but this policy requires {threshold} of the '{name}' sub-policies to be satisfied"
    )]
    TooFew {
        /// The number of satisfied subpolicies.
        satisfied: usize,
        /// The required number.
        threshold: usize,
        /// Their name.
        name: String,
    },
    /// The channel has no such policy.
    #[error("no such policy: '{0}'")]
    Missing(String),
    /// A chaincode's policy refers to an unknown channel policy.
    #[error("could not create evaluator for channel reference policy: failed to retrieve policy for reference {0}")]
    Reference(String),
    /// The bytes are not an encoded policy.
    #[error("failed to unmarshal ApplicationPolicy bytes")]
    Decode,
    /// Neither a signature policy nor a reference.
    #[error("unsupported policy type <nil>")]
    Empty,
    /// An invalid rule.
    #[error("could not create evaluator for signature policy: {0}")]
    Rule(String),
    /// An invalid policy of the channel.
    #[error("policy {name} at path {path} {cause}")]
    Compile {
        /// The policy's name.
        name: String,
        /// The group that contains it.
        path: String,
        /// The reason.
        cause: String,
    },
    /// The policy cannot be converted to a signature policy.
    #[error("policy '{0}' is not convertible to SignaturePolicyEnvelope")]
    NotConvertible(String),
}

/// The distinct identities with a valid signature, in order. Others are skipped, as in Fabric
/// (`common/policies/policy.go`).
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

/// A decoded endorsement policy of a definition.
#[derive(Clone, Debug)]
pub enum Endorsement {
    /// A signature policy.
    Signature(SignaturePolicy),
    /// A reference to a policy of the channel.
    Reference(String),
}

impl Endorsement {
    /// Decodes an `ApplicationPolicy`.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] with Fabric's text for an evaluation.
    pub fn decode(policy: &[u8]) -> Result<Self, PolicyError> {
        match ApplicationPolicy::decode(policy).map_err(|_| PolicyError::Decode)?.r#type {
            Some(Type::SignaturePolicy(policy)) => Ok(Self::Signature(SignaturePolicy::new(policy)?)),
            Some(Type::ChannelConfigPolicyReference(reference)) => Ok(Self::Reference(reference)),
            None => Err(PolicyError::Empty),
        }
    }

    /// Evaluates the policy for these identities, each of which has signed.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] if it is not satisfied.
    pub fn evaluate(&self, identities: &[Arc<Identity>], channel: &Policies) -> Result<(), PolicyError> {
        match self {
            Self::Signature(policy) => policy.evaluate(identities),
            Self::Reference(reference) => match channel.get(reference) {
                Some(policy) => policy.evaluate(identities),
                None => Err(PolicyError::Reference(reference.clone())),
            },
        }
    }

    /// The policy as a signature policy.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] if the channel has no such policy, or it cannot be converted.
    pub fn to_signature_policy(&self, channel: &Policies) -> Result<SignaturePolicyEnvelope, PolicyError> {
        match self {
            Self::Signature(policy) => Ok(policy.envelope().clone()),
            Self::Reference(reference) => match channel.get(reference) {
                Some(policy) => policy.to_signature_policy(),
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

/// An encoded `ApplicationPolicy` with a signature policy.
pub fn from_signature_policy(policy: SignaturePolicyEnvelope) -> Vec<u8> {
    ApplicationPolicy { r#type: Some(Type::SignaturePolicy(policy)) }.encode_to_vec()
}

#[cfg(test)]
mod tests;
