//! A directory of the bundle as `ConfigMaps` and Secrets, and as the volume that makes it a directory
//! again.
//!
//! Every file of the directory is put into one of them by its path, so none is forgotten. TLS pairs
//! are Secrets of the type that certificate managers write.

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

/// Readable for the owner and the group: files of a pod's volumes are root's and the pod's group's.
const MODE: i32 = 0o440;

/// A directory's files as objects.
pub(super) struct Material {
    pub(super) configuration: Vec<ConfigMap>,
    pub(super) secrets: Vec<Secret>,
    /// The directory again, read-only.
    pub(super) volume: Volume,
    /// The SHA-256 of every path and content: a pod with it in its template is made anew when one of
    /// them changes.
    pub(super) digest: String,
    /// Whether there is no file at all.
    pub(super) is_empty: bool,
}

/// The object that a file belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Configuration,
    Msp,
    Tls,
    ChaincodeClient,
}

impl Holder {
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
fn holder_of(path: &str) -> (Holder, String) {
    let (holder, key) = match path {
        "tls/server.crt" | "server.crt" => (Holder::Tls, "tls.crt"),
        "tls/server.key" | "server.key" => (Holder::Tls, "tls.key"),
        "tls/ca.crt" | "client-ca.crt" => (Holder::Tls, "ca.crt"),
        "chaincode/client.crt" => (Holder::ChaincodeClient, "tls.crt"),
        "chaincode/client.key" => (Holder::ChaincodeClient, "tls.key"),
        "chaincode/ca.crt" => (Holder::ChaincodeClient, "ca.crt"),
        "msp/config.yaml" => (Holder::Configuration, "msp.yaml"),
        path if path.starts_with("msp/") => return (Holder::Msp, plain_key(path)),
        path => return (Holder::Configuration, plain_key(path)),
    };
    (holder, key.to_owned())
}

/// A key of a `ConfigMap` or Secret: letters, digits, `-`, `_` and `.`.
pub(super) fn plain_key(path: &str) -> String {
    path.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' }).collect()
}

pub(super) fn item(key: &str, path: &str) -> KeyToPath {
    KeyToPath { key: key.to_owned(), path: path.to_owned(), mode: None }
}

/// A volume made of parts of several objects.
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
type Held<'a> = (String, String, &'a [u8]);

impl Objects<'_> {
    pub(super) fn material(&self, directory: &Path, name: &str, volume: &str, labels: &Labels) -> Material {
        let namespace = &self.settings.namespace;
        let mut held: BTreeMap<Holder, Vec<Held<'_>>> = BTreeMap::new();
        let mut digest = Sha256::new();
        for (path, file) in self.files {
            let Ok(path) = path.strip_prefix(directory) else { continue };
            let path = path.to_string_lossy().into_owned();
            digest.update((path.len() as u64).to_be_bytes());
            digest.update(&path);
            digest.update((file.bytes.len() as u64).to_be_bytes());
            digest.update(&file.bytes);
            let (holder, key) = holder_of(&path);
            held.entry(holder).or_default().push((key, path, &file.bytes));
        }
        let is_empty = held.is_empty();
        let (mut configuration, mut secrets, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        for (holder, files) in held {
            let name = format!("{name}-{}", holder.suffix());
            let metadata = metadata(namespace, &name, labels.clone());
            let items = files.iter().map(|(key, path, _)| item(key, path)).collect();
            if holder == Holder::Configuration {
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
