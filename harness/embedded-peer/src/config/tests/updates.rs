//! Configuration updates: read set, write set, signatures.

use fabric_network::topology::Topology;
use fabric_protos::common::{
    ChannelHeader, ConfigEnvelope, ConfigGroup, ConfigPolicy, ConfigSignature, ConfigUpdate, ConfigUpdateEnvelope,
    ConfigValue, Envelope, Header, HeaderType, Payload, SignatureHeader,
};
use fabric_protos::orderer::BatchSize;
use prost::Message;

use super::below;
use crate::config::ChannelConfig;
use crate::testing::{Member, bundle, config};

pub(super) struct Network {
    pub(super) config: ChannelConfig,
    pub(super) admins: [Member; 2],
    pub(super) user: Member,
    pub(super) orderer_admin: Member,
}

impl Network {
    pub(super) fn new() -> Self {
        let bundle = bundle(&Topology::duo());
        Self {
            config: config(&bundle),
            admins: [Member::admin(&bundle, 0), Member::admin(&bundle, 1)],
            user: Member::user(&bundle, 0),
            orderer_admin: Member::new(&bundle.identities.orderer_organization.admin),
        }
    }
}

/// The group at a path with only versions, as in an update's read and write sets.
fn bare(config: &ChannelConfig, path: &[&str]) -> ConfigGroup {
    let mut full = config.config().channel_group.clone().unwrap();
    let mut bare = ConfigGroup { version: full.version, ..ConfigGroup::default() };
    if let [first, rest @ ..] = path {
        let mut inner = &mut bare;
        let mut outer = &mut full;
        for name in std::iter::once(first).chain(rest) {
            outer = outer.groups.get_mut(*name).unwrap();
            let group =
                ConfigGroup { version: outer.version, mod_policy: outer.mod_policy.clone(), ..ConfigGroup::default() };
            inner = inner.groups.entry((*name).to_owned()).or_insert(group);
        }
    }
    bare
}

fn update(channel: &str, read_set: ConfigGroup, write_set: ConfigGroup, signers: &[&Member]) -> Envelope {
    let update = ConfigUpdate {
        channel_id: channel.to_owned(),
        read_set: Some(read_set),
        write_set: Some(write_set),
        ..ConfigUpdate::default()
    };
    let config_update = update.encode_to_vec();
    let signature = |signer: &&Member| {
        let header = SignatureHeader { creator: signer.creator.clone(), nonce: vec![1; 24] }.encode_to_vec();
        ConfigSignature { signature: signer.sign(&[&*header, &*config_update].concat()), signature_header: header }
    };
    let signatures = signers.iter().map(signature).collect();
    let channel_header = ChannelHeader {
        r#type: HeaderType::ConfigUpdate.into(),
        channel_id: channel.to_owned(),
        ..ChannelHeader::default()
    };
    let header = Header { channel_header: channel_header.encode_to_vec(), signature_header: Vec::new() };
    let data = ConfigUpdateEnvelope { config_update, signatures }.encode_to_vec();
    Envelope { payload: Payload { header: Some(header), data }.encode_to_vec(), signature: Vec::new() }
}

const ORGANIZATION: [&str; 2] = ["Application", "Org1"];

/// An update that adds a value to the first organization.
fn new_value(network: &Network, signers: &[&Member]) -> Envelope {
    let full = network.config.config().channel_group.clone().unwrap();
    let current = full.groups["Application"].groups["Org1"].clone();
    let mut read = bare(&network.config, &ORGANIZATION);
    // A group's read and write sets have the names and versions of its members.
    let reads = below(&mut read, &ORGANIZATION);
    let versions = |(name, value): (&String, &ConfigValue)| {
        (name.clone(), ConfigValue { version: value.version, ..ConfigValue::default() })
    };
    reads.values = current.values.iter().map(versions).collect();
    let versions = |(name, policy): (&String, &ConfigPolicy)| {
        (name.clone(), ConfigPolicy { version: policy.version, ..ConfigPolicy::default() })
    };
    reads.policies = current.policies.iter().map(versions).collect();
    let mut write = read.clone();
    let organization = below(&mut write, &ORGANIZATION);
    organization.version += 1;
    let value = ConfigValue { mod_policy: "Admins".to_owned(), ..ConfigValue::default() };
    organization.values.insert("Surprise".to_owned(), value);
    update("mychannel", read, write, signers)
}

fn batch_size(network: &Network, version: u64, signers: &[&Member]) -> Envelope {
    let read = bare(&network.config, &["Orderer"]);
    let mut write = read.clone();
    let size = BatchSize { max_message_count: 7, absolute_max_bytes: 1_000, preferred_max_bytes: 500 };
    let value = ConfigValue { version, value: size.encode_to_vec(), mod_policy: "Admins".to_owned() };
    below(&mut write, &["Orderer"]).values.insert("BatchSize".to_owned(), value);
    update("mychannel", read, write, signers)
}

fn refused(network: &Network, update: &Envelope) -> String {
    network.config.apply_update(update).unwrap_err().to_string()
}

#[test]
fn an_update_leads_to_the_next_configuration() {
    let network = Network::new();
    let envelope = network.config.apply_update(&batch_size(&network, 1, &[&network.orderer_admin])).unwrap();
    let next = network.config.next(&envelope).unwrap();
    assert_eq!(next.sequence(), 1);
    assert_eq!(next.batch().max_message_count, 7);
    let group = next.config().channel_group.clone().unwrap();
    assert_eq!(group.groups["Orderer"].values["BatchSize"].version, 1);
    // Nothing else has changed.
    let mut expected = network.config.config().channel_group.clone().unwrap();
    let changed = group.groups["Orderer"].values["BatchSize"].clone();
    below(&mut expected, &["Orderer"]).values.insert("BatchSize".to_owned(), changed);
    assert_eq!(group, expected);
}

#[test]
fn a_configuration_must_result_from_its_update() {
    let network = Network::new();
    let good = network.config.apply_update(&batch_size(&network, 1, &[&network.orderer_admin])).unwrap();
    let refused = |change: &dyn Fn(&mut ConfigEnvelope)| {
        let mut envelope = good.clone();
        change(&mut envelope);
        network.config.next(&envelope).unwrap_err().to_string()
    };
    assert_eq!(refused(&|envelope| envelope.config = None), "config envelope has nil config");
    assert_eq!(
        refused(&|envelope| envelope.config.as_mut().unwrap().sequence = 3),
        "config currently at sequence 0, cannot validate config at sequence 3"
    );
    let other = |envelope: &mut ConfigEnvelope| {
        let group = envelope.config.as_mut().unwrap().channel_group.as_mut().unwrap();
        below(group, &["Orderer"]).values.get_mut("BatchSize").unwrap().version = 2;
    };
    assert_eq!(refused(&other), "ConfigEnvelope LastUpdate did not produce the supplied config result");
    assert_eq!(refused(&|envelope| envelope.last_update = None), "envelope must have a Header");
}

#[test]
fn an_update_must_satisfy_the_modification_policies() {
    let network = Network::new();
    assert_eq!(
        refused(&network, &batch_size(&network, 1, &[&network.admins[0], &network.admins[1]])),
        "error authorizing update: error validating DeltaSet: policy for [Value]  /Channel/Orderer/BatchSize not satisfied: implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the 'Admins' sub-policies to be satisfied"
    );
    assert_eq!(
        refused(&network, &new_value(&network, &[&network.admins[1], &network.user])),
        "error authorizing update: error validating DeltaSet: policy for [Group]  /Channel/Application/Org1 not satisfied: signature set did not satisfy policy"
    );
    // Its administrator is authorized, but there is no such value.
    let unknown = refused(&network, &new_value(&network, &[&network.admins[0]]));
    assert_eq!(
        unknown,
        "initializing channelconfig failed: could not create channel Application sub-group config: failed to deserialize values: Unexpected key Surprise"
    );
}

#[test]
fn versions_must_be_current() {
    let network = Network::new();
    let signers = [&network.orderer_admin];
    let around = |cause: &str| format!("error authorizing update: {cause}");
    assert_eq!(
        refused(&network, &batch_size(&network, 0, &signers)),
        around(
            "error validating DeltaSet: attempt to set key [Value]  /Channel/Orderer/BatchSize to version 0, but key is at version 0"
        )
    );
    assert_eq!(
        refused(&network, &batch_size(&network, 2, &signers)),
        around(
            "error validating DeltaSet: attempt to set key [Value]  /Channel/Orderer/BatchSize to version 2, but key is at version 0"
        )
    );
    let mut read = bare(&network.config, &["Orderer"]);
    below(&mut read, &["Orderer"]).version = 5;
    assert_eq!(
        refused(&network, &update("mychannel", read, ConfigGroup::default(), &signers)),
        around(
            "error validating ReadSet: proposed update requires that key [Group]  /Channel/Orderer be at version 5, but it is currently at version 0"
        )
    );
    let mut read = bare(&network.config, &[]);
    read.groups.insert("Nothing".to_owned(), ConfigGroup::default());
    assert_eq!(
        refused(&network, &update("mychannel", read, ConfigGroup::default(), &signers)),
        around(
            "error validating ReadSet: existing config does not contain element for [Group]  /Channel/Nothing but was in the read set"
        )
    );
    let mut write = bare(&network.config, &["Orderer"]);
    let new = ConfigValue { version: 3, value: Vec::new(), mod_policy: "Admins".to_owned() };
    below(&mut write, &["Orderer"]).values.insert("New".to_owned(), new);
    let read = bare(&network.config, &["Orderer"]);
    assert_eq!(
        refused(&network, &update("mychannel", read.clone(), write.clone(), &signers)),
        around(
            "error validating DeltaSet: attempted to set key [Value]  /Channel/Orderer/New to version 3, but key does not exist"
        )
    );
    below(&mut write, &["Orderer"]).values.get_mut("New").unwrap().mod_policy.clear();
    assert_eq!(
        refused(&network, &update("mychannel", read, write, &signers)),
        around(
            "error validating DeltaSet: invalid mod_policy for element [Value]  /Channel/Orderer/New: mod_policy not set"
        )
    );
}

#[test]
fn an_update_must_change_something_of_this_channel() {
    let network = Network::new();
    let signers = [&network.orderer_admin];
    let same = bare(&network.config, &["Orderer"]);
    assert_eq!(
        refused(&network, &update("mychannel", same.clone(), same.clone(), &signers)),
        "error authorizing update: error validating DeltaSet: delta set was empty -- update would have no effect"
    );
    assert_eq!(
        refused(&network, &update("other", same.clone(), same, &signers)),
        "error authorizing update: ConfigUpdate for channel 'other' but envelope for channel 'mychannel'"
    );
    assert_eq!(
        refused(&network, &Envelope::default()),
        "error converting envelope to config update: envelope must have a Header"
    );
    let header = Header { channel_header: ChannelHeader::default().encode_to_vec(), ..Header::default() };
    let payload = Payload { header: Some(header), data: Vec::new() }.encode_to_vec();
    assert_eq!(
        refused(&network, &Envelope { payload, signature: Vec::new() }),
        "error converting envelope to config update: invalid type MESSAGE, expected CONFIG_UPDATE"
    );
}

#[test]
fn an_organization_keeps_its_msp_id() {
    let network = Network::new();
    let mut next = network.config.config().clone();
    let group = next.channel_group.as_mut().unwrap();
    let [one, two] = ["Org1", "Org2"].map(|name| below(group, &["Application", name]).values["MSP"].clone());
    below(group, &["Application", "Org1"]).values.insert("MSP".to_owned(), two);
    below(group, &["Application", "Org2"]).values.insert("MSP".to_owned(), one);
    let next = ChannelConfig::new("mychannel", next).unwrap();
    let error = crate::config::update::check_successor(&network.config, &next).unwrap_err();
    assert_eq!(error.to_string(), "application org Org1 attempted to change MSP ID from Org1MSP to Org2MSP");
}
