//! Identities of rendered networks: validity and roles.

mod authorities;
mod hostile;
mod principals;

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
fn identities_have_the_role_of_their_unit() {
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
    // From the cache.
    for _ in 0..2 {
        assert_eq!(identity.verify(b"message", &signed.signature), Ok(()));
    }
    assert_eq!(identity.verify(b"another", &signed.signature), Err(BadSignature::Wrong.into()));
    assert_eq!(identity.verify(b"message", b"nonsense"), Err(BadSignature::Encoding.into()));
}

#[test]
fn a_local_msp_is_read_from_files() {
    let bundle = bundle(&Topology::duo());
    let own = "organizations/peerOrganizations/org1.example.com/peers/peer0.org1.example.com/msp";
    let files = bundle
        .files
        .iter()
        .filter_map(|(path, file)| Some((path.strip_prefix(own).ok()?.to_owned(), file.bytes.clone())));
    let manager = MspManager::from_files("Org1MSP", &files.collect()).unwrap();
    assert_eq!(roles(&manager, &Member::admin(&bundle, 0).creator), [MspRoleType::Member, MspRoleType::Admin]);
    let error = manager.identity(&Member::admin(&bundle, 1).creator).unwrap_err();
    assert_eq!(error.to_string(), "expected MSP ID Org1MSP, received Org2MSP");
}

#[test]
fn identities_of_other_msps_are_not_members() {
    let (bundle, other) = (bundle(&Topology::duo()), bundle_again());
    let manager = config(&bundle).msps().clone();
    let impostor = Member::user(&other, 0);
    assert_eq!(manager.identity(&impostor.creator).unwrap_err(), ChainError::Unknown.into());
    let unknown = SerializedIdentity { mspid: "Org9MSP".to_owned(), id_bytes: Vec::new() }.encode_to_vec();
    assert_eq!(manager.identity(&unknown).unwrap_err().to_string(), "MSP Org9MSP is not defined on channel");
    // A certificate of one organization with the MSP ID of another.
    let user = Member::user(&bundle, 0).creator;
    let mut swapped = SerializedIdentity::decode(&*user).unwrap();
    swapped.mspid = "Org2MSP".to_owned();
    assert_eq!(manager.identity(&swapped.encode_to_vec()).unwrap_err(), ChainError::Unknown.into());
}

fn bundle_again() -> fabric_network::bundle::Bundle {
    bundle(&Topology::duo())
}

#[test]
fn signatures_with_the_higher_s_are_rejected() {
    let bundle = bundle(&Topology::solo());
    let (manager, user) = (config(&bundle).msps().clone(), Member::user(&bundle, 0));
    let identity = manager.identity(&user.creator).unwrap();
    // Half of the signatures have it.
    let high = (0..64).map(|_| user.sign_as_is(b"message")).find(|signature| low_s(signature) != *signature).unwrap();
    assert_eq!(identity.verify(b"message", &high), Err(BadSignature::HighS.into()));
    assert_eq!(identity.verify(b"message", &low_s(&high)), Ok(()));
}

#[test]
fn an_identity_is_parsed_once() {
    let bundle = bundle(&Topology::solo());
    let (manager, user) = (config(&bundle).msps().clone(), Member::user(&bundle, 0));
    let [one, two] = [(); 2].map(|()| manager.identity(&user.creator).unwrap());
    assert!(Arc::ptr_eq(&one, &two));
    assert_eq!(one.msp_id(), "Org1MSP");
    let expected = crate::testing::validity().not_after;
    assert_eq!(one.expires_at(), expected);
}
