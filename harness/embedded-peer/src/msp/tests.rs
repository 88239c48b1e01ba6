//! Identities of rendered networks: who is valid, and what they are.

use fabric_network::topology::Topology;
use fabric_protos::common::msp_role::MspRoleType;

use super::*;
use crate::testing::{Member, bundle, config};

fn roles(manager: &MspManager, serialized: &[u8]) -> Vec<MspRoleType> {
    let identity = manager.identity(serialized).unwrap();
    let all = [MspRoleType::Member, MspRoleType::Admin, MspRoleType::Client, MspRoleType::Peer, MspRoleType::Orderer];
    all.into_iter().filter(|kind| identity.satisfies(&role(identity.msp_id(), *kind))).collect()
}

#[test]
fn everyone_has_the_role_of_their_unit() {
    let bundle = bundle(&Topology::duo());
    let manager = config(&bundle).msps().clone();
    let member = MspRoleType::Member;
    assert_eq!(roles(&manager, &Member::admin(&bundle, 0).creator), [member, MspRoleType::Admin]);
    assert_eq!(roles(&manager, &Member::user(&bundle, 1).creator), [member, MspRoleType::Client]);
    assert_eq!(roles(&manager, &Member::peer(&bundle, 1).creator), [member, MspRoleType::Peer]);
    assert_eq!(roles(&manager, &Member::orderer(&bundle).creator), [member, MspRoleType::Orderer]);
}

#[test]
fn signatures_are_verified_and_must_be_low() {
    let bundle = bundle(&Topology::solo());
    let (manager, user) = (config(&bundle).msps().clone(), Member::user(&bundle, 0));
    let identity = manager.identity(&user.creator).unwrap();
    let signed = user.signed(b"message");
    // The second time, from memory.
    for _ in 0..2 {
        assert_eq!(identity.verify(b"message", &signed.signature), Ok(()));
    }
    assert_eq!(identity.verify(b"another", &signed.signature), Err(BadSignature::Wrong.into()));
    assert_eq!(identity.verify(b"message", b"nonsense"), Err(BadSignature::Encoding.into()));
}
