//! The configuration tree as a flat map, for comparing updates (`common/configtx/configmap.go`).

use std::collections::BTreeMap;

use fabric_protos::common::{ConfigGroup, ConfigPolicy, ConfigValue};

use super::ConfigError;

const ROOT: &str = "Channel";
/// The maximum length of an element's name.
const LONGEST_NAME: usize = 249;

/// The key of an element, such as `[Group]  /Channel/Application`.
pub(super) type Key = String;

/// An element of the tree. A group holds the names of its members, not their contents.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Element {
    Group(ConfigGroup),
    Value(ConfigValue),
    Policy(ConfigPolicy),
}

/// An element, and the group that relative policy names in it refer to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) element: Element,
    /// `Channel/Application`, without a leading slash.
    pub(super) group: String,
}

impl Item {
    pub(super) fn version(&self) -> u64 {
        match &self.element {
            Element::Group(group) => group.version,
            Element::Value(value) => value.version,
            Element::Policy(policy) => policy.version,
        }
    }

    pub(super) fn mod_policy(&self) -> &str {
        match &self.element {
            Element::Group(group) => &group.mod_policy,
            Element::Value(value) => &value.mod_policy,
            Element::Policy(policy) => &policy.mod_policy,
        }
    }
}

/// All elements of a tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree(pub(super) BTreeMap<Key, Item>);

impl Tree {
    pub(super) fn new(root: &ConfigGroup) -> Result<Self, ConfigError> {
        let map = Self::map(Some(root));
        map.map_err(|cause| ConfigError::Name(format!("error converting config to map: {cause}")))
    }

    /// Like `new`, with an error for the caller to wrap. Without a group it is empty.
    pub(super) fn map(root: Option<&ConfigGroup>) -> Result<Self, String> {
        let mut tree = Self::default();
        if let Some(root) = root {
            tree.add_group(ROOT, ROOT, root)?;
        }
        Ok(tree)
    }

    fn add_group(&mut self, path: &str, name: &str, group: &ConfigGroup) -> Result<(), String> {
        self.add("[Group]  ", path, name, Item { element: Element::Group(shallow(group)), group: path.to_owned() })?;
        for (name, below) in &group.groups {
            self.add_group(&format!("{path}/{name}"), name, below)?;
        }
        for (name, value) in &group.values {
            let item = Item { element: Element::Value(value.clone()), group: path.to_owned() };
            self.add("[Value]  ", &format!("{path}/{name}"), name, item)?;
        }
        for (name, policy) in &group.policies {
            let item = Item { element: Element::Policy(policy.clone()), group: path.to_owned() };
            self.add("[Policy] ", &format!("{path}/{name}"), name, item)?;
        }
        Ok(())
    }

    fn add(&mut self, kind: &str, path: &str, name: &str, item: Item) -> Result<(), String> {
        check_name(name).map_err(|cause| format!("illegal characters in key: {kind}: {cause}"))?;
        self.0.insert(format!("{kind}/{path}"), item);
        Ok(())
    }

    /// Converts the map back to a tree.
    pub(super) fn to_group(&self) -> Result<ConfigGroup, String> {
        self.group_at(ROOT)
    }

    fn group_at(&self, path: &str) -> Result<ConfigGroup, String> {
        let key = format!("[Group]  /{path}");
        let Some(Item { element: Element::Group(group), .. }) = self.0.get(&key) else {
            return Err(format!("missing group at path: {key}"));
        };
        let mut whole = group.clone();
        for (name, below) in &mut whole.groups {
            *below = self.group_at(&format!("{path}/{name}"))?;
        }
        for (name, below) in &mut whole.values {
            let key = format!("[Value]  /{path}/{name}");
            let Some(Item { element: Element::Value(value), .. }) = self.0.get(&key) else {
                return Err(format!("missing value at path: {key}"));
            };
            *below = value.clone();
        }
        for (name, below) in &mut whole.policies {
            let key = format!("[Policy] /{path}/{name}");
            let Some(Item { element: Element::Policy(policy), .. }) = self.0.get(&key) else {
                return Err(format!("missing policy at path: {key}"));
            };
            *below = policy.clone();
        }
        if self.0.contains_key("[Value]  /Channel/Orderer/Capabilities") {
            fill_mod_policies(&mut whole);
        }
        Ok(whole)
    }
}

/// Elements of very old channels may lack a modification policy; it becomes `Admins`.
fn fill_mod_policies(group: &mut ConfigGroup) {
    let values = group.values.values_mut().map(|value| &mut value.mod_policy);
    let policies = group.policies.values_mut().map(|policy| &mut policy.mod_policy);
    for mod_policy in values.chain(policies).chain([&mut group.mod_policy]) {
        if mod_policy.is_empty() {
            "Admins".clone_into(mod_policy);
        }
    }
}

/// A group with the names of its members, without their contents.
fn shallow(group: &ConfigGroup) -> ConfigGroup {
    ConfigGroup {
        version: group.version,
        groups: group.groups.keys().map(|name| (name.clone(), ConfigGroup::default())).collect(),
        values: group.values.keys().map(|name| (name.clone(), ConfigValue::default())).collect(),
        policies: group.policies.keys().map(|name| (name.clone(), ConfigPolicy::default())).collect(),
        mod_policy: group.mod_policy.clone(),
    }
}

/// Checks the name of an element.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("config ID illegal, cannot be empty".to_owned());
    }
    if name.len() > LONGEST_NAME {
        return Err(format!("config ID illegal, cannot be longer than {LONGEST_NAME}"));
    }
    if name == "." || name == ".." {
        return Err(format!("name '{name}' for config ID is not allowed"));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-') {
        return Err(format!("config ID '{name}' contains illegal characters"));
    }
    Ok(())
}
