//! Private data collections: members, and access of clients (`core/common/privdata`).

use std::sync::Arc;

use fabric_protos::protos::{StaticCollectionConfig, collection_policy_config};

use super::PeerChannel;
use crate::chaincode::CollectionAccess;
use crate::config::ChannelConfig;
use crate::ledger::{SharedSimulation, StateView, lock};
use crate::lifecycle::{self, Definition};
use crate::policy::SignaturePolicy;

/// The members of a collection, who may hold its data.
pub(crate) struct CollectionMembers(SignaturePolicy);

impl CollectionMembers {
    /// The members of a collection.
    ///
    /// # Errors
    ///
    /// Fabric's text: the collection's policy is invalid.
    pub(crate) fn new(config: &StaticCollectionConfig) -> Result<Self, String> {
        let policy = config.member_orgs_policy.as_ref().ok_or("Collection config policy is nil")?;
        let Some(collection_policy_config::Payload::SignaturePolicy(policy)) = &policy.payload else {
            return Err("Collection config access policy is nil".to_owned());
        };
        SignaturePolicy::new(policy.clone()).map(Self).map_err(|error| error.to_string())
    }

    /// Whether an identity is a member.
    pub(crate) fn include(&self, config: &ChannelConfig, identity: &[u8]) -> bool {
        let identity = config.msps().deserialize(identity);
        identity.is_ok_and(|identity| self.0.evaluate(&[Arc::clone(&identity)]).is_ok())
    }
}

impl PeerChannel {
    /// The configuration of a collection; `None` if it is undefined.
    pub(crate) fn collection(&self, state: &StateView, chaincode: &str, name: &str) -> Option<StaticCollectionConfig> {
        if chaincode == lifecycle::NAMESPACE {
            return lifecycle::collection(&Definition::default(), name);
        }
        lifecycle::collection(&self.defined(chaincode, state)?.definition, name)
    }

    /// What the creator of a proposal may do with a collection. The simulation records the read of the
    /// definition, as in Fabric.
    ///
    /// # Errors
    ///
    /// Fabric's text: there is no such collection.
    pub(crate) fn collection_access(
        &self,
        simulation: &SharedSimulation,
        chaincode: &str,
        name: &str,
        creator: &[u8],
    ) -> Result<CollectionAccess, String> {
        let definition = lifecycle::read_definition(&mut lock(simulation), chaincode)
            .map_err(|error| format!("could not get chaincode: {error}"))?;
        let config = definition
            .and_then(|definition| lifecycle::collection(&definition, name))
            .ok_or_else(|| format!("collection {}/{chaincode}/{name} could not be found", self.name))?;
        let members = CollectionMembers::new(&config).map_err(|error| {
            format!("error setting up collection for collection criteria {chaincode}/{name}: {error}")
        })?;
        let is_open = !config.member_only_read && !config.member_only_write;
        let is_member = is_open || members.include(&self.config(), creator);
        let (read, write) = (is_member || !config.member_only_read, is_member || !config.member_only_write);
        Ok(CollectionAccess { read, write })
    }

    /// Whether a client of the deliver service may read a collection: anyone, unless it is restricted to members.
    ///
    /// # Errors
    ///
    /// Fabric's text: there is no such collection.
    pub(crate) fn may_read_collection(&self, chaincode: &str, name: &str, identity: &[u8]) -> Result<bool, String> {
        let definition = if chaincode == lifecycle::NAMESPACE {
            Some(Definition::default())
        } else {
            lifecycle::definition(&self.ledger.state(), chaincode)
        };
        let config = definition
            .and_then(|definition| lifecycle::collection(&definition, name))
            .ok_or_else(|| format!("no collection config was found for collection {name} for chaincode {chaincode}"))?;
        if !config.member_only_read {
            return Ok(true);
        }
        let members =
            CollectionMembers::new(&config).map_err(|error| format!("error setting up collection  {name}: {error}"))?;
        Ok(members.include(&self.config(), identity))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use fabric_network::topology::Topology;
    use fabric_protos::protos::CollectionConfigPackage;

    use super::*;
    use crate::ledger::ReadWriteSets;
    use crate::network::Options;
    use crate::testing::lifecycle::define_with;
    use crate::testing::{genesis, started};

    #[tokio::test]
    async fn using_a_collection_reads_the_whole_definition() {
        let (network, bundle, _directory) = started(&Topology::solo(), Options::default(), |_| ());
        let peer = &network.nodes().peers()[0];
        peer.join("mychannel", genesis(&bundle)).unwrap();
        let channel = peer.channel("mychannel").unwrap();
        let none = Some(CollectionConfigPackage::default());
        define_with(&channel.ledger, &channel.config(), "basic", b"", none);
        let simulation = Arc::new(Mutex::new(channel.ledger.simulate("transaction")));
        let ask = |name| channel.collection_access(&simulation, "basic", name, b"creator");
        assert!(ask("_implicit_org_Org1MSP").unwrap().read);
        assert_eq!(ask("other").unwrap_err(), "collection mychannel/basic/other could not be found");

        let results = lock(&simulation).finish().unwrap().public;
        let sets = ReadWriteSets::parse(&results).unwrap();
        let [set] = &sets.namespaces[..] else { panic!("one namespace: {sets:?}") };
        let keys: Vec<_> = set.set.reads.iter().map(|read| &*read.key).collect();
        let fields = ["Collections", "EndorsementInfo", "Sequence", "ValidationInfo"];
        let mut expected: Vec<_> = fields.iter().map(|field| format!("namespaces/fields/basic/{field}")).collect();
        expected.push("namespaces/metadata/basic".to_owned());
        assert_eq!((&*set.namespace, keys), ("_lifecycle", expected.iter().map(String::as_str).collect()));
    }
}
