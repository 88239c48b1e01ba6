//! Arbitrary bytes: they may be rejected, but nothing panics.

use std::sync::LazyLock;

use fabric_network::topology::Topology;
use fabric_protos::common::MspPrincipal;
use fabric_protos::msp::{FabricMspConfig, SerializedIdentity};
use proptest::prelude::*;
use prost::Message;

use crate::msp::{MspManager, Principal, low_s};
use crate::testing::{Member, bundle, config};

fn user() -> (MspManager, Vec<u8>) {
    let bundle = bundle(&Topology::solo());
    (config(&bundle).msps().clone(), Member::user(&bundle, 0).creator)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_as_an_identity(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let root = super::authorities::Authority::root("ca");
        let manager = MspManager::local(super::authorities::with_roles(&root)).unwrap();
        prop_assert!(manager.identity(&bytes).is_err());
        let in_msp = SerializedIdentity { mspid: "MSP".to_owned(), id_bytes: bytes }.encode_to_vec();
        prop_assert!(manager.identity(&in_msp).is_err());
    }

    #[test]
    fn any_bytes_as_a_signature(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let lower = low_s(&bytes);
        prop_assert_eq!(low_s(&lower), lower);
    }

    #[test]
    fn any_principal_is_decoded(kind in -1..7_i32, bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        static USER: LazyLock<(MspManager, Vec<u8>)> = LazyLock::new(user);
        let identity = USER.0.identity(&USER.1).unwrap();
        let wrapped = SerializedIdentity { mspid: "Org9MSP".to_owned(), id_bytes: bytes.clone() }.encode_to_vec();
        for content in [bytes, wrapped] {
            let principal = MspPrincipal { principal_classification: kind, principal: content };
            // Anyone with a certificate is nominal; nobody satisfies other malformed principals.
            prop_assert!(!identity.satisfies(&principal) || Principal::new(&principal) == Principal::Nominal);
        }
    }

    #[test]
    fn any_bytes_as_an_msp(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let root = super::authorities::Authority::root("ca");
        let good = super::authorities::with_roles(&root);
        let configs = [
            FabricMspConfig { root_certs: vec![bytes.clone()], ..good.clone() },
            FabricMspConfig { revocation_list: vec![bytes.clone()], ..good.clone() },
            FabricMspConfig { admins: vec![bytes], ..good },
        ];
        for config in configs {
            prop_assert!(MspManager::local(config).is_err());
        }
    }
}

#[test]
fn a_changed_certificate_is_not_a_member() {
    let (manager, creator) = user();
    let serialized = SerializedIdentity::decode(&*creator).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&serialized.id_bytes).unwrap();
    manager.identity(&creator).unwrap();
    let unnoticed = (0..pem.contents.len()).filter(|index| {
        let mut der = pem.contents.clone();
        der[*index] ^= 1;
        let text = super::principals::pem(&der);
        let changed = SerializedIdentity { mspid: serialized.mspid.clone(), id_bytes: text.into_bytes() };
        manager.identity(&changed.encode_to_vec()).is_ok()
    });
    assert_eq!(unnoticed.collect::<Vec<_>>(), Vec::<usize>::new(), "of {}", hex::encode(&pem.contents));
}
