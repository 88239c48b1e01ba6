//! The policies of a channel: which roles and identities each of them names.

use fabric_protos::common::implicit_meta_policy::Rule as MetaRule;
use fabric_protos::common::msp_principal::Classification;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::common::policy::PolicyType;
use fabric_protos::common::signature_policy::{NOutOf, Type};
use fabric_protos::common::{
    ImplicitMetaPolicy, MspPrincipal, MspRole, Policy, SignaturePolicy, SignaturePolicyEnvelope,
};
use fabric_protos::msp::SerializedIdentity;
use prost::Message;

use super::input::ConsenterInput;
use crate::topology::Rule;

pub(super) const READERS: &str = "Readers";
pub(super) const WRITERS: &str = "Writers";
pub(super) const ADMINS: &str = "Admins";
pub(super) const ENDORSEMENT: &str = "Endorsement";
pub(super) const LIFECYCLE_ENDORSEMENT: &str = "LifecycleEndorsement";
pub(super) const BLOCK_VALIDATION: &str = "BlockValidation";

/// A policy over the policies of this name in the subgroups.
pub(super) fn implicit_meta(rule: Rule, sub_policy: &str) -> Policy {
    let rule = match rule {
        Rule::Majority => MetaRule::Majority,
        Rule::Any => MetaRule::Any,
        Rule::All => MetaRule::All,
    };
    let policy = ImplicitMetaPolicy { sub_policy: sub_policy.to_owned(), rule: rule.into() };
    Policy { r#type: PolicyType::ImplicitMeta.into(), value: policy.encode_to_vec() }
}

/// Readers and writers: any subgroup. Admins: a majority of the subgroups.
pub(super) fn upper_group() -> [(&'static str, Policy); 3] {
    [
        (READERS, implicit_meta(Rule::Any, READERS)),
        (WRITERS, implicit_meta(Rule::Any, WRITERS)),
        (ADMINS, implicit_meta(Rule::Majority, ADMINS)),
    ]
}

/// The policies of an organization with peers.
pub(super) fn peer_organization(msp_id: &str) -> [(&'static str, Policy); 4] {
    use MspRoleType::{Admin, Client, Peer};
    [
        (READERS, any_role(msp_id, &[Admin, Peer, Client])),
        (WRITERS, any_role(msp_id, &[Admin, Client])),
        (ADMINS, any_role(msp_id, &[Admin])),
        (ENDORSEMENT, any_role(msp_id, &[Peer])),
    ]
}

/// The policies of the ordering organization.
pub(super) fn ordering_organization(msp_id: &str) -> [(&'static str, Policy); 3] {
    use MspRoleType::{Admin, Member};
    [
        (READERS, any_role(msp_id, &[Member])),
        (WRITERS, any_role(msp_id, &[Member])),
        (ADMINS, any_role(msp_id, &[Admin])),
    ]
}

/// The signatures that a BFT block needs: those of a quorum of the consenters. Fabric computes the same and
/// compares (`common/policies/bft.go`).
pub(super) fn bft_block_validation(msp_id: &str, consenters: &[ConsenterInput]) -> Policy {
    let identities = consenters.iter().map(|consenter| {
        let identity = SerializedIdentity {
            mspid: msp_id.to_owned(),
            id_bytes: consenter.identity_certificate_pem.clone().into_bytes(),
        };
        principal(Classification::Identity, &identity)
    });
    signatures(bft_quorum(consenters.len()), identities.collect())
}

/// How many consenters are enough, when fewer than a third of them may be malicious.
fn bft_quorum(consenters: usize) -> usize {
    let malicious = consenters.saturating_sub(1) / 3;
    (consenters + malicious + 1).div_ceil(2)
}

fn any_role(msp_id: &str, roles: &[MspRoleType]) -> Policy {
    let identities = roles.iter().map(|role| {
        let role = MspRole { msp_identifier: msp_id.to_owned(), role: (*role).into() };
        principal(Classification::Role, &role)
    });
    signatures(1, identities.collect())
}

fn principal(classification: Classification, message: &impl Message) -> MspPrincipal {
    MspPrincipal { principal_classification: classification.into(), principal: message.encode_to_vec() }
}

/// `needed` signatures of different identities.
fn signatures(needed: usize, identities: Vec<MspPrincipal>) -> Policy {
    let signed_by = (0..).take(identities.len()).map(|index| SignaturePolicy { r#type: Some(Type::SignedBy(index)) });
    let n_out_of = NOutOf { n: i32::try_from(needed).unwrap_or(i32::MAX), rules: signed_by.collect() };
    let envelope = SignaturePolicyEnvelope {
        version: 0,
        rule: Some(SignaturePolicy { r#type: Some(Type::NOutOf(n_out_of)) }),
        identities,
    };
    Policy { r#type: PolicyType::Signature.into(), value: envelope.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bft_quorum_is_what_fabric_computes() {
        let quorums: Vec<usize> = [1, 2, 3, 4, 5, 6, 7, 10].into_iter().map(bft_quorum).collect();
        assert_eq!(quorums, [1, 2, 2, 3, 4, 4, 5, 7]);
    }
}
