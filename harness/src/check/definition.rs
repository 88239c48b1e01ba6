//! The section `[chaincode]`: the definition that organizations approve and commit, and the package's contents other
//! than the connection.

use super::own_package::{Content, OwnPackage, Supplied};
use super::policy::{is_disjunction, signature_policy};
use super::scope::Misfit;
use super::values::Values;
use crate::client::{Definition, EndorsementPolicy};
use crate::console::error_text;
use crate::server::Server;
use ccaas_builder::indexes;
use ccaas_builder::package::Contents;
use fabric_primitives::names::{self, InvalidName};
use fabric_primitives::text::shorten;
use fabric_protos::common::SignaturePolicyEnvelope;
use fabric_protos::protos::collection_config::Payload;
use fabric_protos::protos::{
    ApplicationPolicy, CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig, StaticCollectionConfig,
    application_policy, collection_policy_config,
};
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer as _, MapAccess, SeqAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// A policy of a definition that names MSPs.
pub(super) struct PolicyOf<'a> {
    /// Its place below the section.
    pub(super) path: String,
    /// Its name in messages.
    pub(super) what: String,
    pub(super) policy: &'a SignaturePolicyEnvelope,
    /// Whether it lists the members of a collection.
    pub(super) is_membership: bool,
}

/// The section `[chaincode]`.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChaincodeSection {
    /// The name in the definition. Default: `asset-transfer`.
    pub name: Option<Name>,
    /// Additional names, each with the same definition, its own package and its own server.
    pub also_named: Vec<Name>,
    /// The version in the definition, which Fabric does not interpret. Default `1.0`.
    pub version: Option<Version>,
    /// Whether the first transaction must be an initialization. Default: no.
    pub init_required: bool,
    /// The endorsement policy. Default: the channel's policy `/Channel/Application/Endorsement`.
    pub endorsement_policy: Option<Policy>,
    /// The private data collections. Default: none.
    pub collections: Collections,
    /// The label of the package, the first part of its ID. Default: name and version, such as
    /// `asset-transfer_1.0`.
    pub label: Option<Label>,
    /// The CouchDB indexes in the package. Default: none.
    pub indexes: Indexes,
    /// A package that is installed unmodified, with its label and indexes. Default: one is made.
    pub package: Option<OwnPackage>,
    /// The values of its templates, on each peer, in addition to `peername` and `peer_hostname`. Default: none.
    pub values: Values,
    /// The fields of its connection.json that its operators' peers supply. Default: none.
    pub supplied_by_peers: BTreeSet<Supplied>,
}

/// The default name.
const DEFAULT_NAME: &str = "asset-transfer";

impl ChaincodeSection {
    /// The name in the definition.
    pub fn name(&self) -> &str {
        self.name.as_ref().map_or(DEFAULT_NAME, |name| &name.0)
    }

    /// The version in the definition.
    pub fn version(&self) -> &str {
        self.version.as_ref().map_or("1.0", |version| &version.0)
    }

    /// Checks that the server can serve all names and organizations.
    ///
    /// # Errors
    ///
    /// The reason why it cannot.
    pub(crate) fn check_server(&self, server: &Server) -> Result<(), &'static str> {
        let is_one = !server.source.is_ours();
        if is_one && !self.also_named.is_empty() {
            return Err("each name in `also_named` needs its own server, but an `address` is one server; give a \
                        `program`, `command` or `image`");
        }
        if is_one && server.per_organization {
            return Err("`per_organization` needs several servers, but an `address` is one server; give a `program`, \
                        `command` or `image`");
        }
        if self.package.is_some() && server.per_organization {
            return Err("`per_organization` needs a package for each organization, but `package` is one package");
        }
        Ok(())
    }

    /// What no peer accepts: names, and fields that contradict each other.
    pub(super) fn misfits(&self) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        let mut check = |path: String, checked: Result<(), InvalidName>| {
            misfits.extend(checked.err().map(|invalid| (path, invalid.to_string())));
        };
        check("name".to_owned(), names::chaincode(self.name()));
        for (index, name) in self.also_named.iter().enumerate() {
            check(format!("also_named[{index}]"), names::chaincode(&name.0));
        }
        check("version".to_owned(), names::version(self.version()));
        if let Some(label) = &self.label {
            check("label".to_owned(), names::label(&label.0));
        }
        if misfits.is_empty() && self.label.is_none() && self.package.is_none() {
            let mut labels = self.definitions().into_iter().map(|definition| self.label(&definition));
            let invalid = labels.find_map(|label| names::label(&label).err());
            misfits.extend(invalid.map(|invalid| (String::new(), format!("{invalid}; give a `label`"))));
        }
        let reason = |name| format!("duplicate chaincode name {name}; give different names in `name` and `also_named`");
        misfits.extend(self.name_twice().map(|name| (String::new(), reason(shorten(name)))));
        misfits.extend(self.contradiction().map(|reason| (String::new(), reason.to_owned())));
        misfits
    }

    /// The policies that name MSPs.
    pub(super) fn policies(&self) -> Vec<PolicyOf<'_>> {
        let mut policies = Vec::new();
        let mut keep = |path: String, what, policy, is_membership| {
            policies.push(PolicyOf { path, what, policy, is_membership });
        };
        if let Some(Policy(EndorsementPolicy::Signature(policy))) = &self.endorsement_policy {
            keep("endorsement_policy".to_owned(), "the endorsement policy".to_owned(), policy, false);
        }
        let Collections::Here(collections) = &self.collections else { return policies };
        for (index, Collection(collection)) in collections.iter().enumerate() {
            let (path, name) = (format!("collections[{index}]"), shorten(&collection.name));
            let members = collection.member_orgs_policy.as_ref().and_then(|policy| policy.payload.as_ref());
            if let Some(collection_policy_config::Payload::SignaturePolicy(policy)) = members {
                keep(format!("{path}.policy"), format!("the collection {name}"), policy, true);
            }
            let endorsement = collection.endorsement_policy.as_ref().and_then(|policy| policy.r#type.as_ref());
            if let Some(application_policy::Type::SignaturePolicy(policy)) = endorsement {
                let what = format!("the endorsement policy of the collection {name}");
                keep(format!("{path}.endorsement_policy"), what, policy, false);
            }
        }
        policies
    }

    /// A duplicate name.
    fn name_twice(&self) -> Option<&str> {
        let mut names = BTreeSet::from([self.name()]);
        self.also_named.iter().map(|name| name.0.as_str()).find(|name| !names.insert(name))
    }

    /// The user's package, if there is one.
    pub fn own_package(&self) -> Option<&Content> {
        self.package.as_ref().and_then(OwnPackage::content)
    }

    /// Fields that contradict each other.
    fn contradiction(&self) -> Option<&'static str> {
        if self.package.is_none() {
            if !self.supplied_by_peers.is_empty() {
                return Some("`supplied_by_peers` needs a `package`");
            }
            let reason = "`values` needs a `package` with templates";
            return (!self.values.is_empty()).then_some(reason);
        }
        if self.label.is_some() || self.indexes != Indexes::default() {
            return Some("a `package` has its own label and indexes; leave out `label` and `indexes`");
        }
        let reason = "each name in `also_named` needs its own package, but `package` is one package";
        (!self.also_named.is_empty()).then_some(reason)
    }

    /// The label of a definition's package.
    pub fn label(&self, definition: &Definition) -> String {
        let label = self.label.as_ref().map(|label| label.0.clone());
        label.unwrap_or_else(|| format!("{}_{}", definition.name, definition.version))
    }

    /// The definitions to commit. The first one is that of the chaincode under test.
    pub fn definitions(&self) -> Vec<Definition> {
        let names = std::iter::once(self.name()).chain(self.also_named.iter().map(|name| name.0.as_str()));
        let version = self.version();
        names
            .map(|name| Definition {
                endorsement_policy: self.endorsement_policy.as_ref().map(|policy| policy.0.clone()),
                init_required: self.init_required,
                collections: self.collections.package(),
                ..Definition::new(name, version)
            })
            .collect()
    }
}

/// A chaincode name. The plan of a run checks it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
pub struct Name(pub String);

/// A chaincode version, which is checked like a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Version(pub String);

/// A package label, which is checked like a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Label(pub String);

/// An endorsement policy: a text, or the object of Fabric's collection files.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy(pub EndorsementPolicy);

impl Policy {
    fn read(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self(EndorsementPolicy::ChannelConfig(text.to_owned())));
        }
        let policy = signature_policy(text).map_err(|error| error.to_string())?;
        Ok(Self(EndorsementPolicy::Signature(policy)))
    }

    fn message(&self) -> ApplicationPolicy {
        let policy = match self.0.clone() {
            EndorsementPolicy::ChannelConfig(path) => application_policy::Type::ChannelConfigPolicyReference(path),
            EndorsementPolicy::Signature(policy) => application_policy::Type::SignaturePolicy(policy),
        };
        ApplicationPolicy { r#type: Some(policy) }
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PolicyVisitor;
        impl<'de> Visitor<'de> for PolicyVisitor {
            type Value = Policy;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a policy such as \"OR('Org1MSP.peer')\", or the path of a channel policy")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Policy, E> {
                Policy::read(text).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Policy, A::Error> {
                let Some((kind, text)) = map.next_entry::<String, String>()? else {
                    return Err(A::Error::custom("the policy is missing"));
                };
                match kind.as_str() {
                    "signaturePolicy" => signature_policy(&text)
                        .map(|policy| Policy(EndorsementPolicy::Signature(policy)))
                        .map_err(A::Error::custom),
                    "channelConfigPolicy" => Ok(Policy(EndorsementPolicy::ChannelConfig(text))),
                    other => Err(A::Error::unknown_field(other, &["signaturePolicy", "channelConfigPolicy"])),
                }
            }
        }
        deserializer.deserialize_any(PolicyVisitor)
    }
}

/// A policy that any one of its members satisfies.
#[derive(Debug, Clone, PartialEq)]
pub struct Members(pub SignaturePolicyEnvelope);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let policy = signature_policy(&String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        if policy.rule.as_ref().is_some_and(is_disjunction) {
            return Ok(Self(policy));
        }
        Err(D::Error::custom("a collection's members must be a single OR(…)"))
    }
}

/// A private data collection. Names and defaults are those of Fabric's `collections_config.json`,
/// in either spelling.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, try_from = "CollectionText")]
pub struct Collection(StaticCollectionConfig);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct CollectionText {
    name: String,
    policy: Members,
    #[serde(default, alias = "requiredPeerCount")]
    required_peer_count: u16,
    #[serde(default = "one", alias = "maxPeerCount")]
    max_peer_count: u16,
    #[serde(default, alias = "blockToLive")]
    block_to_live: u64,
    #[serde(default, alias = "memberOnlyRead")]
    member_only_read: bool,
    #[serde(default, alias = "memberOnlyWrite")]
    member_only_write: bool,
    #[serde(default, alias = "endorsementPolicy")]
    endorsement_policy: Option<Policy>,
}

fn one() -> u16 {
    1
}

impl TryFrom<CollectionText> for Collection {
    type Error = String;

    fn try_from(text: CollectionText) -> Result<Self, String> {
        let name = &text.name;
        names::collection(name).map_err(|invalid| invalid.to_string())?;
        if text.required_peer_count > text.max_peer_count {
            return Err(format!("the collection {name} requires more peers than its maximum"));
        }
        let members =
            CollectionPolicyConfig { payload: Some(collection_policy_config::Payload::SignaturePolicy(text.policy.0)) };
        Ok(Self(StaticCollectionConfig {
            name: text.name,
            member_orgs_policy: Some(members),
            required_peer_count: text.required_peer_count.into(),
            maximum_peer_count: text.max_peer_count.into(),
            block_to_live: text.block_to_live,
            member_only_read: text.member_only_read,
            member_only_write: text.member_only_write,
            endorsement_policy: text.endorsement_policy.as_ref().map(Policy::message),
        }))
    }
}

/// Collections, inline or in a file in Fabric's format.
#[derive(Debug, Clone, PartialEq)]
pub enum Collections {
    /// Inline.
    Here(Vec<Collection>),
    /// A `collections_config.json`, relative to the case file.
    File(PathBuf),
}

impl Default for Collections {
    fn default() -> Self {
        Self::Here(Vec::new())
    }
}

impl Collections {
    /// Reads `collections_config.json`.
    ///
    /// # Errors
    ///
    /// It is invalid; with line and column.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let collections: Vec<Collection> = serde_json::from_str(text)?;
        Self::checked(collections).map_err(serde_json::Error::custom)
    }

    fn checked(collections: Vec<Collection>) -> Result<Self, String> {
        let mut names = BTreeSet::new();
        let twice = collections.iter().find(|collection| !names.insert(collection.0.name.clone()));
        match twice {
            Some(twice) => Err(format!("duplicate collection {}", twice.0.name)),
            None => Ok(Self::Here(collections)),
        }
    }

    fn package(&self) -> Option<CollectionConfigPackage> {
        let Self::Here(collections) = self else { return None };
        let payload = |collection: &Collection| Payload::StaticCollectionConfig(collection.0.clone());
        let config = |collection| CollectionConfig { payload: Some(payload(collection)) };
        (!collections.is_empty()).then(|| CollectionConfigPackage { config: collections.iter().map(config).collect() })
    }
}

impl<'de> Deserialize<'de> for Collections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CollectionsVisitor;
        impl<'de> Visitor<'de> for CollectionsVisitor {
            type Value = Collections;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an array of collections, or the path of a collections_config.json")
            }

            fn visit_str<E: Error>(self, path: &str) -> Result<Collections, E> {
                PathBuf::deserialize(path.into_deserializer()).map(Collections::File)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Collections, A::Error> {
                let mut collections = Vec::new();
                while let Some(collection) = sequence.next_element()? {
                    collections.push(collection);
                }
                Collections::checked(collections).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(CollectionsVisitor)
    }
}

/// CouchDB indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Indexes {
    /// Files by their paths in the package, which start with `META-INF/statedb/couchdb/`.
    Here(BTreeMap<PathBuf, Vec<u8>>),
    /// A directory with `META-INF`, or `META-INF` itself, relative to the case file.
    Directory(PathBuf),
}

impl Default for Indexes {
    fn default() -> Self {
        Self::Here(BTreeMap::new())
    }
}

impl<'de> Deserialize<'de> for Indexes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        PathBuf::deserialize(deserializer).map(Self::Directory)
    }
}

impl Indexes {
    /// Reads the indexes of a directory.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or peers would reject it as an index.
    pub fn read(directory: &Path) -> Result<Self, String> {
        const TOP: &str = "META-INF";
        let below = directory.join(TOP);
        let top = if below.is_dir() { below } else { directory.to_owned() };
        let of = |what: String| format!("indexes {}: {what}", directory.display());
        let found = Contents::from_directory(&top.join(STATEDB)).map_err(|error| of(error_text(&error)))?;
        for (path, bytes) in &found.files {
            let checked = indexes::check_path(path).and_then(|()| indexes::check_content(bytes));
            checked.map_err(|misfit| {
                of(format!("{STATEDB}/{}: found {}, expected {}", path.display(), misfit.found, misfit.expected))
            })?;
        }
        if found.files.is_empty() {
            return Err(of("there is no index in META-INF/statedb/couchdb/".to_owned()));
        }
        let place = |(path, bytes): (PathBuf, Vec<u8>)| (Path::new(TOP).join(STATEDB).join(path), bytes);
        Ok(Self::Here(found.files.into_iter().map(place).collect()))
    }

    /// The files of the package.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        match self {
            Self::Here(files) => files.clone(),
            Self::Directory(_) => BTreeMap::new(),
        }
    }
}

/// What Fabric calls the directory of a state database's indexes.
const STATEDB: &str = "statedb";

#[cfg(test)]
mod tests {
    use super::super::cases::CaseFile;
    use super::*;

    fn section(text: &str) -> Result<ChaincodeSection, String> {
        let file = CaseFile::from_toml("my.toml", &format!("[chaincode]\n{}", text.replace("[[", "[[chaincode.")));
        file.map(|file| file.chaincode).map_err(|error| error.to_string())
    }

    #[test]
    fn a_section_becomes_the_definition_of_each_name() {
        let section = section(
            "name = 'basic'\nalso_named = ['basic_2']\nversion = '2'\ninit_required = true\n\
             endorsement_policy = \"OR('A.peer')\"\n\
             [[collections]]\nname = 'c'\npolicy = \"OR('A.member')\"\nmember_only_read = true\n\
             endorsement_policy = '/Channel/X'\n",
        );
        let definitions = section.unwrap().definitions();
        let names: Vec<_> = definitions.iter().map(|definition| definition.name.as_str()).collect();
        assert_eq!(names, ["basic", "basic_2"]);
        for definition in definitions {
            assert!(definition.init_required && definition.version == "2" && definition.sequence == 1);
            assert!(matches!(definition.endorsement_policy, Some(EndorsementPolicy::Signature(_))));
            let Some(Payload::StaticCollectionConfig(collection)) = &definition.collections.unwrap().config[0].payload
            else {
                panic!("no collection");
            };
            assert_eq!((collection.name.as_str(), collection.maximum_peer_count), ("c", 1));
            assert!(collection.member_only_read && !collection.member_only_write);
            let policy = collection.endorsement_policy.as_ref().unwrap().r#type.as_ref().unwrap();
            assert!(
                matches!(policy, application_policy::Type::ChannelConfigPolicyReference(path) if path == "/Channel/X")
            );
        }
        let default = ChaincodeSection::default().definitions().remove(0);
        assert_eq!(default, Definition::new("asset-transfer", "1.0"));
    }

    #[test]
    fn fabrics_own_file_of_collections_is_read() {
        let json = r#"[{"name": "a", "policy": "OR('A.member', 'B.member')", "requiredPeerCount": 1, "maxPeerCount": 3,
            "blockToLive": 5, "memberOnlyRead": true, "memberOnlyWrite": true,
            "endorsementPolicy": {"signaturePolicy": "OR('A.member')"}}]"#;
        let package = Collections::from_json(json).unwrap().package().unwrap();
        let Some(Payload::StaticCollectionConfig(collection)) = &package.config[0].payload else { panic!("none") };
        let counts = (collection.required_peer_count, collection.maximum_peer_count, collection.block_to_live);
        assert_eq!(counts, (1, 3, 5));
        assert!(collection.member_only_read && collection.member_only_write);
        assert!(collection.endorsement_policy.is_some());
        let wrong = Collections::from_json("[\n{\"name\": \"a\", \"policie\": \"\"}]").unwrap_err().to_string();
        assert!(wrong.contains("unknown field `policie`") && wrong.contains("line 2"), "{wrong}");
    }

    #[test]
    fn a_mistake_reports_what_and_where() {
        let collection = |rest: &str| format!("[[collections]]\nname = 'c'\npolicy = \"OR('A.member')\"\n{rest}");
        for (text, line, expected) in [
            ("name = 'a--b'".to_owned(), 1, "invalid chaincode name"),
            ("version = ''".to_owned(), 1, "invalid chaincode version"),
            ("endorsement_policy = \"OR('A.boss')\"".to_owned(), 1, "invalid policy at character 4"),
            ("\nnames = 'a'".to_owned(), 2, "unknown field `names`"),
            (collection("max_peer_count = 0\nrequired_peer_count = 1\n"), 1, "requires more peers"),
            (collection("peers = 1\n"), 4, "unknown field `peers`"),
            (format!("{0}{0}", collection("")), 1, "duplicate collection c"),
            ("collections = [{ name = '_c', policy = \"OR('A.member')\" }]".to_owned(), 1, "not starting with `_`"),
            ("collections = [{ name = 'c', policy = \"AND('A.member','B.member')\" }]".to_owned(), 1, "a single OR(…)"),
        ] {
            let error = section(&text).unwrap_err();
            assert!(error.contains(expected) && error.contains(&format!("line {}, ", line + 1)), "{text}:\n{error}");
        }
    }
}
