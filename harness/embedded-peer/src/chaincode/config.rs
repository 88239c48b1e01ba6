//! The chaincode settings of core.yaml, read as Fabric reads them: case-insensitive names, Go
//! durations, overriding `CORE_…` variables, Fabric's defaults and minimums.
//!
//! Follows Fabric's core/chaincode/config.go and core/peer/config.go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fabric_network::release::Release;
use fabric_primitives::duration;
use fabric_protos::protos::ChaincodeAdditionalParams;
use serde_json::Value;

use super::go;

const DEFAULT_EXECUTE_TIMEOUT: Duration = Duration::from_secs(30);
const MINIMUM_EXECUTE_TIMEOUT: Duration = Duration::from_secs(1);
const MINIMUM_STARTUP_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_QUERY_LIMIT: i32 = 10_000;
const DEFAULT_BATCH: u32 = 1_000;

/// A configured external builder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalBuilder {
    /// The name in logs and in build-info.json.
    pub name: String,
    /// The directory that contains `bin/detect` and the other programs.
    pub path: PathBuf,
    /// The variables that its programs inherit in addition to PATH, `LD_LIBRARY_PATH`, LIBPATH and
    /// TMPDIR.
    pub propagate_environment: Vec<String>,
}

/// A peer's chaincode settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChaincodeConfig {
    /// The Fabric release to imitate. 2.5 sends an empty READY and ignores `domain` in
    /// connection.json.
    pub release: Release,
    /// The parameters that READY offers on 3.1.
    pub runtime_parameters: ChaincodeAdditionalParams,
    /// Limit for detect, build and release together. The execute timeout applies if it is larger.
    pub install_timeout: Duration,
    /// Time from the start of a launch to the chaincode's registration. At least 5 s.
    pub startup_timeout: Duration,
    /// Limit for one transaction. 30 s if set to less than a second.
    pub execute_timeout: Duration,
    /// Interval of KEEPALIVE messages; `None` sends none.
    pub keepalive: Option<Duration>,
    /// Maximum number of results of one query.
    pub total_query_limit: i32,
    /// The builders, in the order in which detect runs.
    pub external_builders: Vec<ExternalBuilder>,
    /// The directory of installed packages and builds.
    pub file_system_path: PathBuf,
    /// The working directory of the peer and of the builders.
    pub working_directory: PathBuf,
    /// Environment variables of the peer in addition to this process's. The peer does not inherit
    /// `CORE_…` and `ORDERER_…` variables.
    pub environment: BTreeMap<String, String>,
    /// The peer's MSP ID, for chaincode that the peer starts.
    pub msp_id: String,
    /// The address that chaincode started by the peer connects to.
    pub chaincode_address: String,
    /// The address that the peer listens on for such chaincode.
    pub chaincode_listen_address: String,
    /// Whether these connections use TLS.
    pub is_tls: bool,
}

/// Why core.yaml is invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not valid YAML.
    #[error("core.yaml cannot be read: {0}")]
    Yaml(String),
    /// A setting is invalid.
    #[error("core.yaml's {name} is {found}, expected {expected}")]
    Setting {
        /// The setting's dotted name.
        name: &'static str,
        /// The value found.
        found: String,
        /// The value expected.
        expected: &'static str,
    },
    /// Neither a builder nor Docker is configured: no chaincode could be installed.
    #[error("VMEndpoint not set and no ExternalBuilders defined")]
    NoBuilder,
}

impl ChaincodeConfig {
    /// Reads the text of core.yaml. `base` is the directory of the file and the peer's working
    /// directory. `environment` is added to this process's environment; its variables override the
    /// file as in Fabric.
    ///
    /// The release is derived from the file: the newest one, unless its chaincode section lacks
    /// `runtimeParams`. Set [`release`](Self::release) to override it.
    ///
    /// # Errors
    ///
    /// The text is not valid YAML, a setting has the wrong type, or there is no external builder.
    pub fn from_core_yaml(
        text: &str,
        base: &Path,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let file: Value = serde_saphyr::from_str(text).map_err(|error| ConfigError::Yaml(error.to_string()))?;
        let settings = Settings { file, environment };
        let execute_timeout = settings.duration("chaincode.executetimeout");
        let seconds = settings.text("chaincode.keepalive").and_then(|text| text.parse().ok()).unwrap_or(0);
        let has_key_batches = settings.find("chaincode.runtimeParams").is_some();
        let mut releases = Release::ALL.into_iter().rev();
        let release = releases.find(|release| release.has_key_batches() == has_key_batches).unwrap_or_default();
        let external_builders = settings.external_builders(base)?;
        if external_builders.is_empty() {
            return Err(ConfigError::NoBuilder);
        }
        Ok(Self {
            release,
            runtime_parameters: settings.runtime_parameters(),
            install_timeout: settings.duration("chaincode.installTimeout"),
            startup_timeout: settings.duration("chaincode.startuptimeout").max(MINIMUM_STARTUP_TIMEOUT),
            execute_timeout: if execute_timeout < MINIMUM_EXECUTE_TIMEOUT {
                DEFAULT_EXECUTE_TIMEOUT
            } else {
                execute_timeout
            },
            keepalive: (seconds > 0).then(|| Duration::from_secs(seconds)),
            total_query_limit: settings.number("ledger.state.totalQueryLimit").unwrap_or(DEFAULT_QUERY_LIMIT),
            external_builders,
            file_system_path: base.join(settings.text("peer.fileSystemPath").unwrap_or_default()),
            working_directory: base.to_owned(),
            environment: environment.clone(),
            msp_id: settings.text("peer.localMspId").unwrap_or_default(),
            chaincode_address: settings.chaincode_address(),
            chaincode_listen_address: settings.text("peer.chaincodeListenAddress").unwrap_or_default(),
            is_tls: settings.is_on("peer.tls.enabled"),
        })
    }

    /// The effective timeout of an installation.
    pub fn install_limit(&self) -> Duration {
        self.install_timeout.max(self.execute_timeout)
    }

    /// An environment variable of the peer's programs.
    pub(super) fn variable(&self, name: &str) -> Option<std::ffi::OsString> {
        if let Some(value) = self.environment.get(name) {
            return Some(value.into());
        }
        if name.starts_with("CORE_") || name.starts_with("ORDERER_") { None } else { std::env::var_os(name) }
    }
}

/// A configuration file and the variables that override it.
struct Settings<'a> {
    file: Value,
    environment: &'a BTreeMap<String, String>,
}

impl Settings<'_> {
    /// A setting of the file by its dotted name.
    fn find(&self, name: &str) -> Option<&Value> {
        name.split('.')
            .try_fold(&self.file, |value, part| go::json_member(value.as_object()?, part))
            .filter(|value| !value.is_null())
    }

    /// The variable that overrides a setting.
    fn variable(&self, name: &str) -> Option<&str> {
        let variable = format!("CORE_{}", name.replace('.', "_").to_uppercase());
        // Fabric's configuration library ignores empty variables.
        self.environment.get(&variable).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> Option<String> {
        if let Some(value) = self.variable(name) {
            return Some(value.to_owned());
        }
        match self.find(name)? {
            Value::String(text) => Some(text.clone()),
            scalar @ (Value::Number(_) | Value::Bool(_)) => Some(scalar.to_string()),
            _ => None,
        }
    }

    /// Zero if the setting is missing or not a duration. A number without a unit is in nanoseconds.
    fn duration(&self, name: &str) -> Duration {
        let nanoseconds = duration::parse_setting(&self.text(name).unwrap_or_default()).unwrap_or(0);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.trim().parse().ok()
    }

    fn is_on(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| matches!(text.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"))
    }

    fn runtime_parameters(&self) -> ChaincodeAdditionalParams {
        let size = |name| self.number(name).filter(|number| *number > 0).unwrap_or(DEFAULT_BATCH);
        ChaincodeAdditionalParams {
            use_write_batch: self.is_on("chaincode.runtimeParams.useWriteBatch"),
            max_size_write_batch: size("chaincode.runtimeParams.maxSizeWriteBatch"),
            use_get_multiple_keys: self.is_on("chaincode.runtimeParams.useGetMultipleKeys"),
            max_size_get_multiple_keys: size("chaincode.runtimeParams.maxSizeGetMultipleKeys"),
        }
    }

    /// The address for chaincode: `chaincodeAddress`, else the listen address, with the peer's host
    /// if that is the unspecified address.
    fn chaincode_address(&self) -> String {
        if let Some(address) = self.text("peer.chaincodeAddress").filter(|text| !text.is_empty()) {
            return address;
        }
        let listens = self.text("peer.chaincodeListenAddress").unwrap_or_default();
        match (listens.rsplit_once(':'), self.text("peer.address")) {
            (Some(("0.0.0.0" | "[::]" | "", port)), Some(peer)) => {
                format!("{}:{port}", peer.rsplit_once(':').map_or(peer.as_str(), |(host, _)| host))
            }
            _ => listens,
        }
    }

    fn external_builders(&self, base: &Path) -> Result<Vec<ExternalBuilder>, ConfigError> {
        const NAME: &str = "chaincode.externalBuilders";
        let from_variable: Option<Value> = match self.variable(NAME) {
            Some(text) => Some(serde_saphyr::from_str(text).map_err(|error| ConfigError::Yaml(error.to_string()))?),
            None => None,
        };
        let Some(list) = from_variable.as_ref().or_else(|| self.find(NAME)) else {
            return Ok(Vec::new());
        };
        let wrong = |value: &Value| ConfigError::Setting {
            name: NAME,
            found: format!("a {}", go::json_kind(value)),
            expected: "a list of name, path and propagateEnvironment",
        };
        let builder = |value: &Value| {
            let members = value.as_object().ok_or_else(|| wrong(value))?;
            let text = |name| go::json_member(members, name).and_then(Value::as_str).unwrap_or_default();
            let names = ["propagateEnvironment", "environmentWhitelist"]
                .into_iter()
                .find_map(|name| go::json_member(members, name).and_then(Value::as_array));
            let names = names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
            let (name, path) = (text("name"), text("path"));
            if path.is_empty() {
                let found = "without a path".to_owned();
                return Err(ConfigError::Setting { name: NAME, found, expected: "the path of each builder" });
            }
            // Fabric uses the path as the name if there is none.
            let name = if name.is_empty() { path } else { name };
            Ok(ExternalBuilder { name: name.to_owned(), path: base.join(path), propagate_environment: names })
        };
        list.as_array().ok_or_else(|| wrong(list))?.iter().map(builder).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "chaincode: {externalBuilders: [{name: b, path: /b}]}";

    fn read(text: &str) -> ChaincodeConfig {
        ChaincodeConfig::from_core_yaml(text, Path::new("/peer"), &BTreeMap::new()).unwrap()
    }

    #[test]
    fn an_empty_section_uses_fabric_defaults() {
        let config = read(MINIMAL);
        assert_eq!(config.release, Release::V2_5);
        assert_eq!(config.startup_timeout, Duration::from_secs(5));
        assert_eq!(config.execute_timeout, Duration::from_secs(30));
        assert_eq!(config.install_limit(), Duration::from_secs(30));
        assert_eq!(config.keepalive, None);
        assert_eq!(config.total_query_limit, 10_000);
        assert_eq!(config.runtime_parameters.max_size_write_batch, 1000);
        assert!(!config.runtime_parameters.use_write_batch);
        assert_eq!(config.file_system_path, Path::new("/peer"));
    }

    #[test]
    fn setting_names_are_case_insensitive() {
        let config = read(
            "peer: {fileSystemPath: ../data, localMspId: Org1MSP, chaincodeListenAddress: 127.0.0.1:7052}\n\
             ledger: {state: {totalQueryLimit: 7}}\n\
             chaincode:\n  startupTimeout: 1m30s\n  executetimeout: 1.5s\n  installTimeout: 60s\n  keepalive: 10\n\
             \x20 runtimeParams: {useWriteBatch: true, maxSizeWriteBatch: 0, useGetMultipleKeys: false}\n\
             \x20 externalBuilders:\n  - {name: one, path: /one, propagateEnvironment: [A, B]}\n  - {path: two}\n",
        );
        assert_eq!(config.release, Release::V3_1);
        assert_eq!(config.startup_timeout, Duration::from_secs(90));
        assert_eq!(config.execute_timeout, Duration::from_millis(1500));
        assert_eq!(config.install_limit(), Duration::from_mins(1));
        assert_eq!(config.keepalive, Some(Duration::from_secs(10)));
        assert_eq!(config.total_query_limit, 7);
        assert!(config.runtime_parameters.use_write_batch);
        assert_eq!(config.runtime_parameters.max_size_write_batch, 1000);
        assert_eq!(config.file_system_path, Path::new("/peer/../data"));
        assert_eq!(config.msp_id, "Org1MSP");
        assert_eq!(config.chaincode_address, "127.0.0.1:7052");
        let [one, two] = config.external_builders.as_slice() else { panic!("{:?}", config.external_builders) };
        assert_eq!((one.name.as_str(), one.propagate_environment.len()), ("one", 2));
        assert_eq!((two.name.as_str(), two.path.as_path()), ("two", Path::new("/peer/two")));
    }

    #[test]
    fn a_variable_overrides_the_file_and_replaces_lists() {
        let environment = BTreeMap::from([
            ("CORE_CHAINCODE_EXECUTETIMEOUT".to_owned(), "7s".to_owned()),
            (
                "CORE_CHAINCODE_EXTERNALBUILDERS".to_owned(),
                "[{name: a, path: /x, propagateEnvironment: [V]}]".to_owned(),
            ),
        ]);
        let config = ChaincodeConfig::from_core_yaml(MINIMAL, Path::new("/peer"), &environment).unwrap();
        assert_eq!(config.execute_timeout, Duration::from_secs(7));
        let names: Vec<&str> = config.external_builders.iter().map(|builder| builder.name.as_str()).collect();
        assert_eq!(names, ["a"]);
    }

    #[test]
    fn a_peer_without_builders_does_not_start() {
        let error = ChaincodeConfig::from_core_yaml("chaincode: {}", Path::new("/peer"), &BTreeMap::new());
        assert_eq!(error.unwrap_err().to_string(), "VMEndpoint not set and no ExternalBuilders defined");
    }
}
