//! Access to resources.

use fabric_network::topology::Topology;
use fabric_protos::common::{Config, ConfigValue};
use fabric_protos::protos::{AcLs, ApiResource};
use prost::Message;

use crate::config::ChannelConfig;
use crate::config::acl::{Local, check, local_policy};
use crate::msp::MspManager;
use crate::testing::{Member, bundle, config};

struct Network {
    config: ChannelConfig,
    local: MspManager,
    admin: Member,
    user: Member,
    peer: Member,
    other_admin: Member,
}

impl Network {
    fn new() -> Self {
        let bundle = bundle(&Topology::duo());
        let config = with_acls(&config(&bundle), &[]);
        let local = MspManager::local(config.msps().msp("Org1MSP").unwrap().config().clone()).unwrap();
        Self {
            config,
            local,
            admin: Member::admin(&bundle, 0),
            user: Member::user(&bundle, 0),
            peer: Member::peer(&bundle, 0),
            other_admin: Member::admin(&bundle, 1),
        }
    }

    fn check(&self, resource: &str, member: &Member) -> Result<(), String> {
        check(resource, Some(&self.config), &self.local, &member.signed(b"proposal"))
    }
}

/// The configuration with only these ACLs.
fn with_acls(config: &ChannelConfig, acls: &[(&str, &str)]) -> ChannelConfig {
    let mut group = config.config().channel_group.clone().unwrap();
    let acls = acls
        .iter()
        .map(|(resource, policy)| ((*resource).to_owned(), ApiResource { policy_ref: (*policy).to_owned() }));
    let value = AcLs { acls: acls.collect() }.encode_to_vec();
    let value = ConfigValue { value, ..ConfigValue::default() };
    group.groups.get_mut("Application").unwrap().values.insert("ACLs".to_owned(), value);
    ChannelConfig::new("mychannel", Config { sequence: 0, channel_group: Some(group) }).unwrap()
}

#[test]
fn resources_of_the_peer_need_its_organizations_administrators() {
    let network = Network::new();
    let resource = "_lifecycle/InstallChaincode";
    assert_eq!(local_policy(resource), Some(Local::Admins));
    assert_eq!(network.config.acl(resource), None);
    assert_eq!(network.check(resource, &network.admin), Ok(()));
    assert_eq!(check(resource, None, &network.local, &network.admin.signed(b"x")), Ok(()));
    assert_eq!(
        network.check(resource, &network.user).unwrap_err(),
        "Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy with policy [Admins]: [The identity is not an admin under this MSP [Org1MSP]: The identity does not contain OU [ADMIN], MSP: [Org1MSP]]"
    );
    assert_eq!(
        network.check(resource, &network.other_admin).unwrap_err(),
        "Failed deserializing proposal creator during channelless check policy with policy [Admins]: [expected MSP ID Org1MSP, received Org2MSP]"
    );
    assert_eq!(network.check("cscc/GetChannels", &network.user), Ok(()));
    let mut forged = network.admin.signed(b"proposal");
    forged.message = b"another".to_vec().into();
    assert_eq!(check(resource, None, &network.local, &forged).unwrap_err(), "The signature is invalid");
}

#[test]
fn resources_of_the_channel_have_defaults() {
    let network = Network::new();
    assert_eq!(network.config.acl("peer/Propose"), Some("/Channel/Application/Writers"));
    assert_eq!(network.config.acl("event/Block"), Some("/Channel/Application/Readers"));
    assert_eq!(network.config.acl("nothing"), None);
    assert_eq!(network.check("peer/Propose", &network.user), Ok(()));
    assert_eq!(network.check("event/Block", &network.peer), Ok(()));
    assert_eq!(
        network.check("peer/Propose", &network.peer).unwrap_err(),
        "Failed evaluating policy on signed data during check policy on channel [mychannel] with policy [/Channel/Application/Writers]: [implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the 'Writers' sub-policies to be satisfied]"
    );
    assert_eq!(network.check("nothing", &network.user).unwrap_err(), "Unmapped policy for nothing");
}

#[test]
fn the_channel_may_replace_default_policies() {
    let mut network = Network::new();
    network.config = with_acls(
        &network.config,
        &[
            ("peer/Propose", "/Channel/Application/Org1/Admins"),
            ("event/Block", "Writers"),
            ("qscc/GetChainInfo", ""),
            ("qscc/GetBlockByHash", "Nothing"),
            ("_lifecycle/InstallChaincode", "Writers"),
        ],
    );
    assert_eq!(network.check("peer/Propose", &network.admin), Ok(()));
    assert_eq!(
        network.check("peer/Propose", &network.user).unwrap_err(),
        "failed evaluating policy on signed data during check policy [/Channel/Application/Org1/Admins]: [signature set did not satisfy policy]"
    );
    assert_eq!(network.config.acl("event/Block"), Some("/Channel/Application/Writers"));
    assert_eq!(network.config.acl("qscc/GetChainInfo"), Some("/Channel/Application/Readers"));
    assert_eq!(
        network.check("qscc/GetBlockByHash", &network.admin).unwrap_err(),
        "failed evaluating policy on signed data during check policy [/Channel/Application/Nothing]: [policy /Channel/Application/Nothing not found]"
    );
    assert!(network.check("_lifecycle/InstallChaincode", &network.user).is_err(), "the peer's own stay its own");
}
