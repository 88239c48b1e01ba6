//! Configurations of rendered networks, and invalid changes of them.

mod access;
mod updates;

use std::time::Duration;

use fabric_network::topology::Topology;
use fabric_protos::common::{
    BlockDataHashingStructure, Capabilities as CapabilitiesValue, Capability, Config, ConfigGroup, ConfigValue,
    HashingAlgorithm, OrdererAddresses,
};
use fabric_protos::msp::{FabricMspConfig, MspConfig};
use fabric_protos::orderer::{BatchSize, BatchTimeout};
use fabric_protos::protos::AcLs;
use prost::Message;

use super::*;
use crate::testing::{bundle, config};

#[test]
fn a_genesis_block_matches_the_topology() {
    let config = config(&bundle(&Topology::duo()));
    assert_eq!((config.channel(), config.sequence()), ("mychannel", 0));
    let organizations: Vec<_> = config.organizations().iter().map(|one| (&*one.name, &*one.msp_id)).collect();
    assert_eq!(organizations, [("Org1", "Org1MSP"), ("Org2", "Org2MSP")]);
    assert_eq!(config.orderer_organizations().len(), 1);
    assert_eq!(config.orderer_organizations()[0].endpoints.len(), 3);
    assert_eq!(config.consensus().kind, "etcdraft");
    assert!(!config.consensus().maintenance);
    assert!(config.capabilities().lifecycle());
    assert!(config.capabilities().purge_private_data());
    assert!(config.batch().timeout > Duration::ZERO);
    assert!(config.batch().max_message_count > 0);
    assert_eq!(config.msps().msps().count(), 3);
}

#[test]
fn a_bft_channel_has_consenters() {
    let config = config(&bundle(&Topology::bft()));
    assert_eq!(config.consensus().kind, "BFT");
    assert!(config.capabilities().bft());
    assert_eq!(config.consenters().len(), 4);
    assert!(config.policies().get("/Channel/Orderer/BlockValidation").is_some());
}

/// The error of a configuration after a change.
fn refused(change: impl FnOnce(&mut ConfigGroup)) -> String {
    let config = config(&bundle(&Topology::duo()));
    let mut group = config.config().channel_group.clone().unwrap();
    change(&mut group);
    let config = Config { sequence: 0, channel_group: Some(group) };
    ChannelConfig::new("mychannel", config).unwrap_err().to_string()
}

fn set(group: &mut ConfigGroup, name: &str, value: &impl Message) {
    let value = ConfigValue { value: value.encode_to_vec(), ..ConfigValue::default() };
    group.values.insert(name.to_owned(), value);
}

fn below<'a>(group: &'a mut ConfigGroup, path: &[&str]) -> &'a mut ConfigGroup {
    path.iter().fold(group, |group, name| group.groups.get_mut(*name).unwrap())
}

#[test]
fn invalid_values_are_rejected() {
    let around = |cause: &str| format!("initializing channelconfig failed: {cause}");
    let orderer = |cause: &str| around(&format!("could not create channel Orderer sub-group config: {cause}"));
    let hashing = HashingAlgorithm { name: "MD5".to_owned() };
    assert_eq!(
        refused(|group| set(group, "HashingAlgorithm", &hashing)),
        around("Unknown hashing algorithm type: MD5")
    );
    let structure = BlockDataHashingStructure { width: 2 };
    assert_eq!(
        refused(|group| set(group, "BlockDataHashingStructure", &structure)),
        around("BlockDataHashStructure width only supported at MaxUint32 in this version")
    );
    let timeout = BatchTimeout { timeout: "soon".to_owned() };
    assert_eq!(
        refused(|group| set(below(group, &["Orderer"]), "BatchTimeout", &timeout)),
        orderer("Attempted to set the batch timeout to a invalid value: time: invalid duration \"soon\"")
    );
    for (timeout, seen) in [("-2s", "-2s"), ("-90s", "-1m30s"), ("0", "0s"), ("0s", "0s")] {
        let timeout = BatchTimeout { timeout: timeout.to_owned() };
        assert_eq!(
            refused(|group| set(below(group, &["Orderer"]), "BatchTimeout", &timeout)),
            orderer(&format!("Attempted to set the batch timeout to a non-positive value: {seen}"))
        );
    }
    let size = BatchSize { max_message_count: 0, absolute_max_bytes: 1, preferred_max_bytes: 1 };
    assert_eq!(
        refused(|group| set(below(group, &["Orderer"]), "BatchSize", &size)),
        orderer("Attempted to set the batch size max message count to an invalid value: 0")
    );
    let size = BatchSize { max_message_count: 1, absolute_max_bytes: 1, preferred_max_bytes: 2 };
    assert_eq!(
        refused(|group| set(below(group, &["Orderer"]), "BatchSize", &size)),
        orderer("Attempted to set the batch size preferred max bytes (2) greater than the absolute max bytes (1).")
    );
    assert_eq!(
        refused(|group| set(group, "Surprise", &size)),
        around("failed to deserialize values: Unexpected key Surprise")
    );
    assert_eq!(
        refused(|group| {
            group.groups.insert("Consortiums".to_owned(), ConfigGroup::default());
        }),
        around("Disallowed channel group: Consortiums")
    );
    assert_eq!(
        refused(|group| {
            let application = below(group, &["Application"]);
            set(application, "ACLs", &AcLs::default());
            set(application, "Capabilities", &version_3());
        }),
        around(
            "could not create channel Application sub-group config: ACLs may not be specified without the required capability"
        )
    );
    let addresses = OrdererAddresses { addresses: vec!["127.0.0.1:1".to_owned()] };
    let global = refused(|group| {
        set(group, "Capabilities", &version_3());
        set(group, "OrdererAddresses", &addresses);
    });
    assert!(global.contains("global OrdererAddresses are not allowed with V3_0 capability"), "{global}");
}

/// The capabilities of a channel of Fabric 3.
fn version_3() -> CapabilitiesValue {
    CapabilitiesValue { capabilities: [("V3_0".to_owned(), Capability {})].into() }
}

#[test]
fn invalid_organizations_are_rejected() {
    let organization = ["Application", "Org1"];
    let below_it = refused(|group| {
        below(group, &organization).groups.insert("Team".to_owned(), ConfigGroup::default());
    });
    assert!(below_it.contains("organizations do not support sub-groups"), "{below_it}");
    let unnamed = refused(|group| set(below(group, &organization), "MSP", &MspConfig::default()));
    assert!(unnamed.contains("MSP for org Org1 has empty MSP ID"), "{unnamed}");
    // Org1's MSP ID with Org2's certificates.
    let two_versions = refused(|group| {
        let other = below(group, &["Application", "Org2"]).values["MSP"].clone();
        let msp = MspConfig::decode(&*other.value).unwrap();
        let mut fabric = FabricMspConfig::decode(&*msp.config).unwrap();
        "Org1MSP".clone_into(&mut fabric.name);
        let msp = MspConfig { config: fabric.encode_to_vec(), ..msp };
        set(below(group, &["Application", "Org2"]), "MSP", &msp);
    });
    assert!(two_versions.contains("Attempted to define two different versions of MSP: Org1MSP"), "{two_versions}");
    let sha3 = refused(|group| {
        let msp = MspConfig::decode(&*below(group, &organization).values["MSP"].value).unwrap();
        let mut fabric = FabricMspConfig::decode(&*msp.config).unwrap();
        "SHA3".clone_into(&mut fabric.crypto_config.as_mut().unwrap().signature_hash_family);
        set(below(group, &organization), "MSP", &MspConfig { config: fabric.encode_to_vec(), ..msp });
    });
    assert!(sha3.contains("signature hash family 'SHA3' is not supported by these nodes: use SHA2"), "{sha3}");
    let idemix = MspConfig {
        r#type: 1,
        config: FabricMspConfig { name: "X".to_owned(), ..FabricMspConfig::default() }.encode_to_vec(),
    };
    let idemix = refused(|group| set(below(group, &organization), "MSP", &idemix));
    assert!(idemix.contains("unsupported msp type 1"), "{idemix}");
}

#[test]
fn invalid_names_are_rejected() {
    let name = |group: &mut ConfigGroup| {
        let application = below(group, &["Application"]);
        let organization = application.groups.remove("Org1").unwrap();
        application.groups.insert("Org 1".to_owned(), organization);
    };
    assert_eq!(
        refused(name),
        "initializing configtx manager failed: error converting config to map: illegal characters in key: [Group]  : config ID 'Org 1' contains illegal characters"
    );
    let config = config(&bundle(&Topology::solo()));
    for (channel, cause) in [
        ("", "channel ID illegal, cannot be empty"),
        ("My", "'My' contains illegal characters"),
        ("1a", "'1a' contains illegal characters"),
        ("a_b", "'a_b' contains illegal characters"),
        (&"a".repeat(250), "channel ID illegal, cannot be longer than 249"),
    ] {
        let error = ChannelConfig::new(channel, config.config().clone()).unwrap_err();
        assert_eq!(error.to_string(), format!("initializing configtx manager failed: bad channel ID: {cause}"));
    }
}
