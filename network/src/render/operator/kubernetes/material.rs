//! A directory of the bundle as `ConfigMaps` and Secrets, and as the volume that joins them to a directory.
//!
//! The path of a file decides its object, so no file is forgotten. TLS pairs are Secrets of the type that
//! certificate managers write.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapProjection, KeyToPath, ProjectedVolumeSource, Secret, SecretProjection, Volume,
    VolumeProjection,
};
use sha2::{Digest, Sha256};

use super::objects::Objects;
use super::parts::{Labels, metadata};

/// Readable for owner and group. Files in a pod's volumes belong to root and to the pod's group.
const MODE: i32 = 0o440;

/// A directory's files as objects.
pub(super) struct Material {
    pub(super) configuration: Vec<ConfigMap>,
    pub(super) secrets: Vec<Secret>,
    /// The volume of the directory, read-only.
    pub(super) volume: Volume,
    /// SHA-256 of every path and content. It is in the template of a pod, so that a change replaces the pod.
    pub(super) digest: String,
    /// Whether the directory has no files.
    pub(super) is_empty: bool,
}

/// The object of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Object {
    Configuration,
    Msp,
    Tls,
    ChaincodeClient,
}

impl Object {
    fn suffix(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Msp => "msp",
            Self::Tls => "tls",
            Self::ChaincodeClient => "chaincode-client",
        }
    }
}

/// The object of a file, and its key in it.
fn object_of(path: &str) -> (Object, String) {
    let (object, key) = match path {
        "tls/server.crt" | "server.crt" => (Object::Tls, "tls.crt"),
        "tls/server.key" | "server.key" => (Object::Tls, "tls.key"),
        "tls/ca.crt" | "client-ca.crt" => (Object::Tls, "ca.crt"),
        "chaincode/client.crt" => (Object::ChaincodeClient, "tls.crt"),
        "chaincode/client.key" => (Object::ChaincodeClient, "tls.key"),
        "chaincode/ca.crt" => (Object::ChaincodeClient, "ca.crt"),
        "msp/config.yaml" => (Object::Configuration, "msp.yaml"),
        path if path.starts_with("msp/") => return (Object::Msp, plain_key(path)),
        path => return (Object::Configuration, plain_key(path)),
    };
    (object, key.to_owned())
}

/// A key of a `ConfigMap` or Secret: letters, digits, `-`, `_` and `.`.
pub(super) fn plain_key(path: &str) -> String {
    path.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' }).collect()
}

pub(super) fn item(key: &str, path: &str) -> KeyToPath {
    KeyToPath { key: key.to_owned(), path: path.to_owned(), mode: None }
}

/// A volume with items of several objects.
pub(super) fn projected(name: &str, sources: Vec<VolumeProjection>) -> Volume {
    let projected = ProjectedVolumeSource { default_mode: Some(MODE), sources: Some(sources) };
    Volume { name: name.to_owned(), projected: Some(projected), ..Volume::default() }
}

pub(super) fn from_config_map(name: &str, items: Vec<KeyToPath>) -> VolumeProjection {
    let config_map = ConfigMapProjection { name: name.to_owned(), items: Some(items), optional: None };
    VolumeProjection { config_map: Some(config_map), ..VolumeProjection::default() }
}

pub(super) fn from_secret(name: &str, items: Vec<KeyToPath>) -> VolumeProjection {
    let secret = SecretProjection { name: name.to_owned(), items: Some(items), optional: None };
    VolumeProjection { secret: Some(secret), ..VolumeProjection::default() }
}

/// A file's key in its object, its path, and its content.
type Entry<'a> = (String, String, &'a [u8]);

impl Objects<'_> {
    pub(super) fn material(&self, directory: &Path, name: &str, volume: &str, labels: &Labels) -> Material {
        let namespace = &self.settings.namespace;
        let mut objects: BTreeMap<Object, Vec<Entry<'_>>> = BTreeMap::new();
        let mut digest = Sha256::new();
        for (path, file) in self.files {
            let Ok(path) = path.strip_prefix(directory) else { continue };
            let path = path.to_string_lossy().into_owned();
            digest.update((path.len() as u64).to_be_bytes());
            digest.update(&path);
            digest.update((file.bytes.len() as u64).to_be_bytes());
            digest.update(&file.bytes);
            let (object, key) = object_of(&path);
            objects.entry(object).or_default().push((key, path, &file.bytes));
        }
        let is_empty = objects.is_empty();
        let (mut configuration, mut secrets, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        for (object, files) in objects {
            let name = format!("{name}-{}", object.suffix());
            let metadata = metadata(namespace, &name, labels.clone());
            let items = files.iter().map(|(key, path, _)| item(key, path)).collect();
            if object == Object::Configuration {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let data = files.into_iter().map(|(key, _, bytes)| (key, text(bytes))).collect();
                configuration.push(ConfigMap { metadata, data: Some(data), ..ConfigMap::default() });
                sources.push(from_config_map(&name, items));
            } else {
                let data: BTreeMap<_, _> =
                    files.into_iter().map(|(key, _, bytes)| (key, ByteString(bytes.to_vec()))).collect();
                let is_pair = data.contains_key("tls.crt") && data.contains_key("tls.key");
                let type_ = if is_pair { "kubernetes.io/tls" } else { "Opaque" };
                let type_ = Some(type_.to_owned());
                secrets.push(Secret { metadata, data: Some(data), type_, ..Secret::default() });
                sources.push(from_secret(&name, items));
            }
        }
        let volume = projected(volume, sources);
        Material { configuration, secrets, volume, digest: hex::encode(digest.finalize()), is_empty }
    }
}
