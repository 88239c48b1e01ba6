//! The record in a run's directory: the harness that owns the run, and where the run's parts are.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::control_group::ControlGroup;
use super::processes::Stat;
use super::{ResourceKind, Resources};

/// The owner of a run, and where its parts are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The harness.
    pub(crate) owner: Owner,
    /// The process group of the run's processes on this machine.
    pub(crate) group: Option<u32>,
    /// The control group of these processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) control_group: Option<ControlGroup>,
    /// Where containers or a namespace of the run may be, by [`ResourceKind::key`].
    #[serde(flatten)]
    resources: BTreeMap<String, Value>,
}

/// A record names resources of a kind that this program does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnknownResources;

impl Record {
    /// A record without a control group.
    pub(crate) fn new(owner: Owner, group: Option<u32>, resources: Option<&dyn Resources>) -> Self {
        let resources = resources.map(|resources| (resources.kind().key.to_owned(), resources.to_record()));
        Self { owner, group, control_group: None, resources: resources.into_iter().collect() }
    }

    /// Where containers or a namespace of the run may be, if anywhere; an error if that is of none of these
    /// kinds.
    pub(crate) fn resources(
        &self,
        kinds: &[&'static ResourceKind],
    ) -> Result<Option<Arc<dyn Resources>>, UnknownResources> {
        let Some((key, value)) = self.resources.iter().find(|(_, value)| !value.is_null()) else { return Ok(None) };
        let kind = kinds.iter().find(|kind| kind.key == key).ok_or(UnknownResources)?;
        (kind.read)(value).map(Some).ok_or(UnknownResources)
    }
}

/// The identity of a harness, unique among those that can share an engine or a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// Host name, boot ID and process namespace. Process IDs are unique within these.
    pub(crate) place: String,
    /// The process ID of the harness.
    pub(crate) process: u32,
    /// Its start in clock ticks after boot; 0 if unknown.
    pub(crate) started: u64,
}

impl Owner {
    /// This process.
    pub(crate) fn this() -> Self {
        let process = std::process::id();
        let started = Stat::read(process).map_or(0, |stat| stat.started);
        Self { place: this_place(), process, started }
    }

    /// Whether the harness is known to have ended. Only known in the same place.
    pub(crate) fn is_known_dead(&self) -> bool {
        self.place == this_place()
            && self.started != 0
            && Stat::read(self.process).is_none_or(|stat| stat.started != self.started)
    }

    /// Whether its processes are visible from here, or have ended with an earlier boot of this machine.
    pub(super) fn is_visible(&self) -> bool {
        let here = this_place();
        let [its, own] = [&self.place, &here].map(|place| place.splitn(3, ' ').collect::<Vec<_>>());
        match (its.as_slice(), own.as_slice()) {
            ([host, boot, namespace], [own_host, own_boot, own_namespace]) => {
                host == own_host && (boot != own_boot || namespace == own_namespace)
            }
            _ => false,
        }
    }
}

pub(super) fn this_place() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{host} {} {}", boot.trim(), namespace.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleanup::{Aftermath, Leftover, ShellRemoval};

    #[test]
    fn this_process_is_alive_and_one_with_another_start_is_dead() {
        let this = Owner::this();
        assert!(!this.is_known_dead());
        if cfg!(target_os = "linux") {
            assert!(Owner { started: this.started + 1, ..this.clone() }.is_known_dead());
        }
        assert!(!Owner { place: "elsewhere".into(), process: 0, started: 1 }.is_known_dead());
    }

    #[derive(Debug)]
    struct Engine;

    static ENGINE: ResourceKind =
        ResourceKind { key: "engine", read: |value| value.as_str().map(|_| Arc::new(Engine) as _), current: || None };

    impl Resources for Engine {
        fn kind(&self) -> &'static ResourceKind {
            &ENGINE
        }

        fn to_record(&self) -> Value {
            "unix:///engine.sock".into()
        }

        fn is_local(&self) -> bool {
            true
        }

        fn remove(&self, _: &str, _: &Aftermath) -> Result<(), Leftover> {
            Ok(())
        }

        fn shell_removal(&self, _: &str) -> ShellRemoval {
            ShellRemoval { script: "", arguments: Vec::new(), environment: Vec::new() }
        }
    }

    #[test]
    fn a_record_names_the_engine_also_in_its_former_form() {
        let written = serde_json::to_value(Record::new(Owner::this(), Some(7), Some(&Engine))).unwrap();
        assert_eq!(written["engine"], "unix:///engine.sock");
        let read = |engine: Value| {
            let mut record = written.clone();
            record["engine"] = engine;
            record["cluster"] = Value::Null;
            serde_json::from_value::<Record>(record).unwrap()
        };
        let record = read(written["engine"].clone());
        assert!(matches!(record.resources(&[&ENGINE]), Ok(Some(_))));
        assert_eq!(record.resources(&[]).err(), Some(UnknownResources), "by a program without that runtime");
        assert_eq!(read(7.into()).resources(&[&ENGINE]).err(), Some(UnknownResources));
        assert!(matches!(read(Value::Null).resources(&[]), Ok(None)));
    }
}
