//! Endorsement policies of single keys: built, encoded, read back.
//!
//! Whether a policy can be met is not known here: MSP IDs are taken as given.

use fabric_protos::common::msp_principal::Classification;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::common::signature_policy::{NOutOf, Type};
use fabric_protos::common::{MspPrincipal, MspRole, SignaturePolicy, SignaturePolicyEnvelope};
use prost::Message;

/// Rules in rules may be this deep; Fabric's own policies have two levels.
const MAX_DEPTH: usize = 32;

/// Which identities of an organization count (`MSPRole` of Fabric's protos).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PrincipalRole {
    /// Any identity of the MSP.
    Member,
    /// An administrator.
    Admin,
    /// A client.
    Client,
    /// A peer: what is usually asked of an endorsement.
    Peer,
    /// An orderer.
    Orderer,
}

/// Why bytes are not a policy of this kind.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not a `common.SignaturePolicyEnvelope`.
    #[error("the endorsement policy cannot be read")]
    Malformed(#[source] prost::DecodeError),
    /// A rule or principal that this type does not hold.
    #[error("the endorsement policy has {0}, which is not supported")]
    Unsupported(&'static str),
}

/// Who must endorse a change of a key, for
/// [`Stub::set_state_validation_parameter`](crate::Stub::set_state_validation_parameter).
///
/// ```
/// use chaincode_shim::EndorsementPolicy;
///
/// // Both organizations of a trade:
/// let both = EndorsementPolicy::all_of([EndorsementPolicy::peer("Org1MSP"), EndorsementPolicy::peer("Org2MSP")]);
/// // The owner, and two of three others:
/// let others = ["Org2MSP", "Org3MSP", "Org4MSP"].map(EndorsementPolicy::peer);
/// let policy = EndorsementPolicy::all_of([EndorsementPolicy::peer("Org1MSP"), EndorsementPolicy::out_of(2, others)]);
/// assert_eq!(EndorsementPolicy::decode(&policy.encode())?, policy);
/// # Ok::<_, chaincode_shim::PolicyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndorsementPolicy {
    /// One signature of this kind.
    Principal {
        /// The organization's MSP ID.
        msp_id: String,
        /// Which of its identities.
        role: PrincipalRole,
    },
    /// This many of these rules.
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

    /// All of these; of nothing, a policy that needs no signature.
    pub fn all_of(rules: impl IntoIterator<Item = Self>) -> Self {
        let rules: Vec<_> = rules.into_iter().collect();
        Self::OutOf(rules.len(), rules)
    }

    /// Any one of these.
    pub fn any_of(rules: impl IntoIterator<Item = Self>) -> Self {
        Self::out_of(1, rules)
    }

    /// This many of these; more than there are can never be met.
    pub fn out_of(count: usize, rules: impl IntoIterator<Item = Self>) -> Self {
        Self::OutOf(count, rules.into_iter().collect())
    }

    /// The organizations that it names, sorted, each once.
    pub fn msp_ids(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.visit(&mut |msp_id| names.push(msp_id));
        names.sort_unstable();
        names.dedup();
        names
    }

    fn visit<'a>(&'a self, see: &mut impl FnMut(&'a str)) {
        match self {
            Self::Principal { msp_id, .. } => see(msp_id),
            Self::OutOf(_, rules) => rules.iter().for_each(|rule| rule.visit(see)),
        }
    }

    /// An encoded `common.SignaturePolicyEnvelope`.
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

    /// Reads what [`encode`](Self::encode), or another shim, has written.
    ///
    /// # Errors
    ///
    /// When it is something else, or has principals that are not roles.
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
        Some(_) if depth == 0 => Err(PolicyError::Unsupported("rules nested too deep")),
        Some(Type::SignedBy(position)) => {
            let found = usize::try_from(position).ok().and_then(|position| principals.get(position));
            found.cloned().ok_or(PolicyError::Unsupported("a signature of no principal"))
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
    fn the_bytes_are_those_of_the_go_package_statebased() {
        let policy = EndorsementPolicy::all_of([EndorsementPolicy::peer("A"), EndorsementPolicy::peer("B")]);
        // rule: 2 out of (signed by 0, signed by 1); identities: role PEER of A, of B.
        let expected = b"\x12\x0c\x12\x0a\x08\x02\x12\x02\x08\x00\x12\x02\x08\x01\
            \x1a\x07\x12\x05\x0a\x01A\x10\x03\x1a\x07\x12\x05\x0a\x01B\x10\x03";
        assert_eq!(policy.encode(), expected);
    }

    #[test]
    fn a_principal_is_written_once_and_everything_is_read_back() {
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
    fn what_is_no_policy_is_refused() {
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
            (vec![0xff], "cannot be read"),
            (Vec::new(), "an empty rule"),
            (envelope(None, Classification::Role), "an empty rule"),
            (envelope(Some(Type::SignedBy(1)), Classification::Role), "a signature of no principal"),
            (envelope(Some(Type::SignedBy(-1)), Classification::Role), "a signature of no principal"),
            (envelope(Some(Type::SignedBy(0)), Classification::Identity), "a principal that is not a role"),
            (
                envelope(Some(Type::NOutOf(NOutOf { n: -1, rules: Vec::new() })), Classification::Role),
                "a negative count",
            ),
            (envelope(deep.r#type, Classification::Role), "rules nested too deep"),
        ] {
            let error = EndorsementPolicy::decode(&bytes).unwrap_err().to_string();
            assert!(error.contains(text), "expected {text:?}, saw {error:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = EndorsementPolicy::decode(&bytes);
        }
    }
}
