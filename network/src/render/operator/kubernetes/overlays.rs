//! The overlays: for development, for production, and with each chaincode server in its peer's pod.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec, PodTemplateSpec};

use super::objects::NODE_CONTAINER;
use super::{Context, DIRECTORY, Files, names};
use crate::bundle::File;
use crate::chaincode::ServerSpec;

const DEVELOPMENT: &str = include_str!("../templates/development.yaml");
const PRODUCTION: &str = include_str!("../templates/production.yaml");
const PRODUCTION_BUDGETS: &str = include_str!("../templates/production-budgets.yaml");

/// The address of a chaincode server in its peer's pod.
const LOOPBACK: &str = "127.0.0.1";

impl Context<'_> {
    pub(super) fn overlays(&self) -> Files {
        let namespace = &self.source.options.namespace;
        let budgets = PRODUCTION_BUDGETS.replace("${namespace}", namespace);
        let mut files = Files::from([
            (overlay("development/kustomization.yaml"), File::public(DEVELOPMENT)),
            (overlay("production/kustomization.yaml"), File::public(PRODUCTION)),
            (overlay("production/budgets.yaml"), File::public(budgets)),
        ]);
        let mut text = "# The development overlay, with each chaincode server in its peer's pod. They connect on the\n\
                        # loopback address, which no other pod can reach.\n\
                        apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n\
                        resources:\n  - ../development\npatches:\n"
            .to_owned();
        for server in &self.source.bundle.servers {
            let peer = self.objects.names.of(&server.peer);
            let own = names::of_server(&peer);
            let _ = writeln!(text, "  - path: {peer}.yaml");
            for (group, kind) in
                [("apps/v1", "Deployment"), ("v1", "Service"), ("networking.k8s.io/v1", "NetworkPolicy")]
            {
                let _ = write!(
                    text,
                    "  - patch: |-\n      apiVersion: {group}\n      kind: {kind}\n      metadata:\n        name: {own}\n        \
                     namespace: {namespace}\n      $patch: delete\n"
                );
            }
            let patch = super::super::yaml(&self.sidecar(server, &peer));
            files.insert(overlay(&format!("development-sidecar/{peer}.yaml")), File::public(patch));
        }
        files.insert(overlay("development-sidecar/kustomization.yaml"), File::public(text));
        files
    }

    /// A strategic merge patch of the peer, which adds the server and sets its address.
    fn sidecar(&self, server: &ServerSpec, peer: &str) -> StatefulSet {
        let of_server = self.server(server);
        let material = self.objects.material_of(&server.directory, &of_server);
        let variable =
            |name: &str, value: String| EnvVar { name: name.to_owned(), value: Some(value), ..EnvVar::default() };
        let address = format!("{LOOPBACK}:{}", server.placement.port);
        let node = Container {
            name: NODE_CONTAINER.to_owned(),
            env: Some(vec![variable("CORE_CHAINCODE_ADDRESS", address.clone())]),
            ..Container::default()
        };
        let mut chaincode = self.objects.server_container(&of_server, &material);
        for variable in
            chaincode.env.iter_mut().flatten().filter(|variable| variable.name == "CHAINCODE_SERVER_ADDRESS")
        {
            variable.value = Some(address.clone());
        }
        chaincode.ports = None;
        let volumes = (!material.is_empty).then(|| vec![material.volume.clone()]);
        let pod = PodSpec { containers: vec![node, chaincode], volumes, ..PodSpec::default() };
        StatefulSet {
            metadata: self.metadata(peer, super::parts::part_of()),
            spec: Some(StatefulSetSpec {
                template: PodTemplateSpec { metadata: None, spec: Some(pod) },
                ..StatefulSetSpec::default()
            }),
            ..StatefulSet::default()
        }
    }
}

fn overlay(path: &str) -> PathBuf {
    Path::new(DIRECTORY).join("overlays").join(path)
}
