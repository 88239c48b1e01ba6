//! Key-level endorsement policies.
//!
//! MSP IDs are not checked against the channel.

use fabric_protos::common::msp_principal::Classification;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::common::signature_policy::{NOutOf, Type};
use fabric_protos::common::{MspPrincipal, MspRole, SignaturePolicy, SignaturePolicyEnvelope};
use prost::Message;

/// The maximum depth of nested rules; Fabric's own policies have two levels.
const MAX_DEPTH: usize = 32;

/// The identities of an organization that satisfy a rule (`MSPRole` of Fabric's protos).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PrincipalRole {
    /// Any identity of the MSP.
    Member,
    /// An administrator.
    Admin,
    /// A client.
    Client,
    /// A peer, as usual for endorsements.
    Peer,
    /// An orderer.
    Orderer,
}

/// Why an encoded policy cannot be decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not a `common.SignaturePolicyEnvelope`.
    #[error("invalid endorsement policy")]
    Malformed(#[source] prost::DecodeError),
    /// A rule or principal that this type cannot represent.
    #[error("unsupported endorsement policy: {0}")]
    Unsupported(&'static str),
}

/// Who must endorse a change of a key, for
/// [`Stub::set_state_validation_parameter`](crate::Stub::set_state_validation_parameter).
///
/// ```
/// use chaincode_shim::EndorsementPolicy;
///
/// // Peers of both organizations:
/// let both = EndorsementPolicy::all_of([EndorsementPolicy::peer("Org1MSP"), EndorsementPolicy::peer("Org2MSP")]);
/// // A peer of the owner, and peers of two of three other organizations:
/// let others = ["Org2MSP", "Org3MSP", "Org4MSP"].map(EndorsementPolicy::peer);
/// let policy = EndorsementPolicy::all_of([EndorsementPolicy::peer("Org1MSP"), EndorsementPolicy::out_of(2, others)]);
/// assert_eq!(EndorsementPolicy::decode(&policy.encode())?, policy);
/// # Ok::<_, chaincode_shim::PolicyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndorsementPolicy {
    /// One signature by this principal.
    Principal {
        /// The organization's MSP ID.
        msp_id: String,
        /// The role of the signer.
        role: PrincipalRole,
    },
    /// At least this many of these rules.
    OutOf(usize, Vec<EndorsementPolicy>),
}

impl EndorsementPolicy {
    /// A peer of this organization.
    pub fn peer(msp_id: impl Into<String>) -> Self {
        Self::principal(msp_id, PrincipalRole::Peer)
    }

    /// Any member of this organization.
    pub fn member(msp_id: impl Into<String>) -> Self {
        Self::principal(msp_id, PrincipalRole::Member)
    }

    /// An identity of this organization with this role.
    pub fn principal(msp_id: impl Into<String>, role: PrincipalRole) -> Self {
        Self::Principal { msp_id: msp_id.into(), role }
    }

    /// All of these rules; without rules, a policy that needs no signature.
    pub fn all_of(rules: impl IntoIterator<Item = Self>) -> Self {
        let rules: Vec<_> = rules.into_iter().collect();
        Self::OutOf(rules.len(), rules)
    }

    /// Any one of these rules.
    pub fn any_of(rules: impl IntoIterator<Item = Self>) -> Self {
        Self::out_of(1, rules)
    }

    /// At least `count` of these rules. A larger count than there are rules can never be satisfied.
    pub fn out_of(count: usize, rules: impl IntoIterator<Item = Self>) -> Self {
        Self::OutOf(count, rules.into_iter().collect())
    }

    /// The MSP IDs in this policy, sorted and without duplicates.
    pub fn msp_ids(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.visit(&mut |msp_id| names.push(msp_id));
        names.sort_unstable();
        names.dedup();
        names
    }

    fn visit<'a>(&'a self, visitor: &mut impl FnMut(&'a str)) {
        match self {
            Self::Principal { msp_id, .. } => visitor(msp_id),
            Self::OutOf(_, rules) => rules.iter().for_each(|rule| rule.visit(visitor)),
        }
    }

    /// Encodes the policy as a `common.SignaturePolicyEnvelope`.
    pub fn encode(&self) -> Vec<u8> {
        let mut identities = Vec::new();
        let rule = self.rule(&mut identities);
        SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities }.encode_to_vec()
    }

    fn rule(&self, identities: &mut Vec<MspPrincipal>) -> SignaturePolicy {
        let kind = match self {
            Self::Principal { msp_id, role } => {
                let role = MspRole { msp_identifier: msp_id.clone(), role: MspRoleType::from(*role).into() };
                let principal = MspPrincipal {
                    principal_classification: Classification::Role.into(),
                    principal: role.encode_to_vec(),
                };
                let known = identities.iter().position(|identity| *identity == principal);
                let position = known.unwrap_or_else(|| {
                    identities.push(principal);
                    identities.len() - 1
                });
                Type::SignedBy(clamp(position))
            }
            Self::OutOf(count, rules) => {
                let rules = rules.iter().map(|rule| rule.rule(identities)).collect();
                Type::NOutOf(NOutOf { n: clamp(*count), rules })
            }
        };
        SignaturePolicy { r#type: Some(kind) }
    }

    /// Decodes a policy that [`encode`](Self::encode) or another shim has encoded.
    ///
    /// # Errors
    ///
    /// When the bytes are invalid, or a principal is not a role.
    pub fn decode(bytes: &[u8]) -> Result<Self, PolicyError> {
        let envelope = SignaturePolicyEnvelope::decode(bytes).map_err(PolicyError::Malformed)?;
        let principals = envelope.identities.iter().map(principal).collect::<Result<Vec<_>, _>>()?;
        read(envelope.rule, &principals, MAX_DEPTH)
    }
}

impl From<EndorsementPolicy> for Vec<u8> {
    fn from(policy: EndorsementPolicy) -> Self {
        policy.encode()
    }
}

impl From<PrincipalRole> for MspRoleType {
    fn from(role: PrincipalRole) -> Self {
        match role {
            PrincipalRole::Member => Self::Member,
            PrincipalRole::Admin => Self::Admin,
            PrincipalRole::Client => Self::Client,
            PrincipalRole::Peer => Self::Peer,
            PrincipalRole::Orderer => Self::Orderer,
        }
    }
}

fn principal(principal: &MspPrincipal) -> Result<EndorsementPolicy, PolicyError> {
    if principal.principal_classification != i32::from(Classification::Role) {
        return Err(PolicyError::Unsupported("a principal that is not a role"));
    }
    let found = MspRole::decode(principal.principal.as_slice()).map_err(PolicyError::Malformed)?;
    let role = match MspRoleType::try_from(found.role) {
        Ok(MspRoleType::Member) => PrincipalRole::Member,
        Ok(MspRoleType::Admin) => PrincipalRole::Admin,
        Ok(MspRoleType::Client) => PrincipalRole::Client,
        Ok(MspRoleType::Peer) => PrincipalRole::Peer,
        Ok(MspRoleType::Orderer) => PrincipalRole::Orderer,
        Err(_) => return Err(PolicyError::Unsupported("an unknown role")),
    };
    Ok(EndorsementPolicy::Principal { msp_id: found.msp_identifier, role })
}

fn read(
    rule: Option<SignaturePolicy>,
    principals: &[EndorsementPolicy],
    depth: usize,
) -> Result<EndorsementPolicy, PolicyError> {
    match rule.and_then(|rule| rule.r#type) {
        None => Err(PolicyError::Unsupported("an empty rule")),
        Some(_) if depth == 0 => Err(PolicyError::Unsupported("rules nested too deeply")),
        Some(Type::SignedBy(position)) => {
            let found = usize::try_from(position).ok().and_then(|position| principals.get(position));
            found.cloned().ok_or(PolicyError::Unsupported("a reference to a missing principal"))
        }
        Some(Type::NOutOf(NOutOf { n, rules })) => {
            let count = usize::try_from(n).map_err(|_| PolicyError::Unsupported("a negative count"))?;
            let rules = rules.into_iter().map(|rule| read(Some(rule), principals, depth - 1));
            Ok(EndorsementPolicy::OutOf(count, rules.collect::<Result<_, _>>()?))
        }
    }
}

fn clamp(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_encoding_is_that_of_the_go_package_statebased() {
        let policy = EndorsementPolicy::all_of([EndorsementPolicy::peer("A"), EndorsementPolicy::peer("B")]);
        // rule: 2 out of (signed by 0, signed by 1); identities: role PEER of A, of B.
        let expected = b"\x12\x0c\x12\x0a\x08\x02\x12\x02\x08\x00\x12\x02\x08\x01\
            \x1a\x07\x12\x05\x0a\x01A\x10\x03\x1a\x07\x12\x05\x0a\x01B\x10\x03";
        assert_eq!(policy.encode(), expected);
    }

    #[test]
    fn a_principal_is_encoded_once_and_everything_is_decoded() {
        let roles = [PrincipalRole::Member, PrincipalRole::Admin, PrincipalRole::Client, PrincipalRole::Orderer];
        let roles = roles.map(|role| EndorsementPolicy::principal("B", role));
        let twice = EndorsementPolicy::any_of([EndorsementPolicy::peer("A"), EndorsementPolicy::peer("A")]);
        let policy = EndorsementPolicy::all_of([twice, EndorsementPolicy::out_of(2, roles)]);
        let envelope = SignaturePolicyEnvelope::decode(policy.encode().as_slice()).unwrap();
        assert_eq!(envelope.identities.len(), 5);
        assert_eq!(EndorsementPolicy::decode(&policy.encode()).unwrap(), policy);
        assert_eq!(policy.msp_ids(), ["A", "B"]);
    }

    #[test]
    fn an_invalid_policy_is_rejected() {
        let envelope = |rule, classification: Classification| {
            let principal = MspPrincipal { principal_classification: classification.into(), ..MspPrincipal::default() };
            let rule = Some(SignaturePolicy { r#type: rule });
            SignaturePolicyEnvelope { version: 0, rule, identities: vec![principal] }.encode_to_vec()
        };
        let mut deep = SignaturePolicy { r#type: Some(Type::SignedBy(0)) };
        for _ in 0..MAX_DEPTH {
            deep = SignaturePolicy { r#type: Some(Type::NOutOf(NOutOf { n: 1, rules: vec![deep] })) };
        }
        for (bytes, text) in [
            (vec![0xff], "invalid endorsement policy"),
            (Vec::new(), "an empty rule"),
            (envelope(None, Classification::Role), "an empty rule"),
            (envelope(Some(Type::SignedBy(1)), Classification::Role), "a reference to a missing principal"),
            (envelope(Some(Type::SignedBy(-1)), Classification::Role), "a reference to a missing principal"),
            (envelope(Some(Type::SignedBy(0)), Classification::Identity), "a principal that is not a role"),
            (
                envelope(Some(Type::NOutOf(NOutOf { n: -1, rules: Vec::new() })), Classification::Role),
                "a negative count",
            ),
            (envelope(deep.r#type, Classification::Role), "rules nested too deeply"),
        ] {
            let error = EndorsementPolicy::decode(&bytes).unwrap_err().to_string();
            assert!(error.contains(text), "expected {text:?}, got {error:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_rejected(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = EndorsementPolicy::decode(&bytes);
        }
    }
}
