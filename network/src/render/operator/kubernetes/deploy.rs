//! The Job that creates the channels, deploys the chaincode and checks it. It needs the administrators' keys, which
//! the network does not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec, PodTemplateSpec, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::material::{from_config_map, from_secret, item, plain_key, projected};
use super::parts::{confined_container, confined_pod, labels, mount, requests};
use super::{Context, DIRECTORY, Kustomization, Manifest};
use crate::bundle::File;
use crate::render::operator::{DEPLOYMENT, description};

const NAME: &str = "deploy";
/// The Secret with the administrators' identities.
const ADMINISTRATORS: &str = "deploy-administrators";

impl Context<'_> {
    pub(super) fn deploy(&self) -> Kustomization {
        let (public, private) = self.deployment_files();
        let labels = labels(NAME, NAME);
        // One object for each file, because the limit of an object is 1 MB.
        let maps = public.iter().map(|(path, bytes)| {
            let data = [(plain_key(path), ByteString(bytes.clone()))].into();
            let metadata = self.metadata(&config_map_name(path), labels.clone());
            ConfigMap { metadata, binary_data: Some(data), ..ConfigMap::default() }
        });
        let administrators = Secret {
            metadata: self.metadata(ADMINISTRATORS, labels.clone()),
            data: Some(private.iter().map(|(path, bytes)| (plain_key(path), ByteString(bytes.clone()))).collect()),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        let mut sources: Vec<_> = public
            .keys()
            .map(|path| from_config_map(&config_map_name(path), vec![item(&plain_key(path), path)]))
            .collect();
        sources.push(from_secret(ADMINISTRATORS, private.keys().map(|path| item(&plain_key(path), path)).collect()));
        let pod = PodSpec {
            restart_policy: Some("Never".to_owned()),
            containers: vec![Container {
                args: Some([NAME, DEPLOYMENT].map(str::to_owned).into()),
                volume_mounts: Some(vec![mount("bundle", DEPLOYMENT, true)]),
                resources: Some(requests("50m", "64Mi")),
                ..confined_container(NAME, &self.source.options.images.harness)
            }],
            volumes: Some(vec![projected("bundle", sources)]),
            ..confined_pod()
        };
        let template = ObjectMeta { labels: Some(labels.clone()), ..ObjectMeta::default() };
        let job = Job {
            metadata: self.metadata(NAME, labels.clone()),
            spec: Some(JobSpec {
                // A retry skips the steps that are done.
                backoff_limit: Some(3),
                active_deadline_seconds: Some(1800),
                template: PodTemplateSpec { metadata: Some(template), spec: Some(pod) },
                ..JobSpec::default()
            }),
            ..Job::default()
        };
        Kustomization {
            directory: Path::new(DIRECTORY).join(NAME),
            manifests: vec![
                ("configuration.yaml", Manifest::all(maps)),
                ("secrets.yaml", Manifest::all([administrators]).private()),
                ("job.yaml", Manifest::all([job])),
            ],
        }
    }

    /// The files for the Job, by their path in the bundle: public and private ones.
    fn deployment_files(&self) -> (Contents, Contents) {
        let source = self.source;
        let (mut public, mut private) = (Contents::new(), Contents::new());
        let own = [
            (description::FILE.into(), File::public(description::describe(source).to_yaml())),
            (PathBuf::from("topology.yaml"), File::public(source.topology.to_yaml())),
            (source.package_path(), File::public(source.options.package.bytes.clone())),
        ];
        public.extend(own.map(|(path, file)| (text(&path), file.bytes)));
        let wanted = source.deployment_paths();
        for (path, file) in &source.bundle.files {
            if wanted.iter().any(|wanted| path.starts_with(wanted)) {
                let contents = if path.starts_with("organizations") { &mut private } else { &mut public };
                contents.insert(text(path), file.bytes.clone());
            }
        }
        (public, private)
    }
}

type Contents = BTreeMap<String, Vec<u8>>;

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The name of the `ConfigMap` of a file.
fn config_map_name(path: &str) -> String {
    let plain: String =
        path.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    format!("deploy-{}", plain.trim_matches('-'))
}
