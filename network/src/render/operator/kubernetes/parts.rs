//! Parts that many objects share: labels, security, probes, ports, volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, ExecAction, HTTPGetAction,
    Namespace, PodSecurityContext, PodSpec, Probe, ResourceRequirements, SeccompProfile, SecretKeySelector,
    SecurityContext, Service, ServicePort, ServiceSpec, TCPSocketAction, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::objects::{RECEIVER, UPLOADED};

/// The user of every container, instead of root in the official images.
const USER: i64 = 10_001;

pub(super) const COMPONENT: &str = "app.kubernetes.io/component";
pub(super) const INSTANCE: &str = "app.kubernetes.io/instance";
const PART_OF: &str = "app.kubernetes.io/part-of";
/// The value of the label of every object.
pub(super) const NETWORK: &str = "fabric-network";

pub(super) type Labels = BTreeMap<String, String>;

/// The labels that select the pods of one workload.
pub(super) fn selector(component: &str, instance: &str) -> Labels {
    [(COMPONENT, component), (INSTANCE, instance)].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

pub(super) fn labels(component: &str, instance: &str) -> Labels {
    let mut labels = selector(component, instance);
    labels.insert(PART_OF.to_owned(), NETWORK.to_owned());
    labels
}

/// The label of every object of the network.
pub(super) fn part_of() -> Labels {
    [(PART_OF.to_owned(), NETWORK.to_owned())].into()
}

pub(super) fn metadata(namespace: &str, name: &str, labels: Labels) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(labels),
        ..ObjectMeta::default()
    }
}

pub(super) fn matching(labels: Labels) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

/// The namespace, which enforces the pod security level "restricted".
pub(super) fn namespace(name: &str) -> Namespace {
    let mut labels = part_of();
    for mode in ["enforce", "audit", "warn"] {
        labels.insert(format!("pod-security.kubernetes.io/{mode}"), "restricted".to_owned());
    }
    let metadata = ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
    Namespace { metadata, ..Namespace::default() }
}

/// A pod for the security level "restricted". The official images also run as this user: they contain nothing that
/// only root can read, and nodes write only to volumes of its group.
pub(super) fn confined_pod() -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        // Variables of other services could override a node's configuration.
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

pub(super) fn confined_container(name: &str, image: &str) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// Waits for a file, ten minutes at most. The first process of a container exits on SIGTERM only with a trap.
const WAIT_SCRIPT: &str = "trap 'exit 143' TERM; rounds=6000; until [ -e \"$0\" ]; do [ \"$rounds\" -gt 0 ] || exit 1; rounds=$((rounds - 1)); sleep 0.1; done";

/// Waits until somebody uploads a file into the volume, with `tar` in this container.
pub(super) fn receiver(image: &str, volume: &str, directory: &str) -> Container {
    let command = ["sh", "-c", WAIT_SCRIPT, &format!("{directory}/{UPLOADED}")];
    Container {
        command: Some(command.map(str::to_owned).into()),
        volume_mounts: Some(vec![mount(volume, directory, false)]),
        resources: Some(requests("10m", "16Mi")),
        termination_message_policy: Some(LOG_ON_FAILURE.to_owned()),
        ..confined_container(RECEIVER, image)
    }
}

/// Puts the end of a failed container's log into its status, which `kubectl describe` shows.
const LOG_ON_FAILURE: &str = "FallbackToLogsOnError";

/// Copies the program of an image into a volume, without a shell.
pub(super) fn installer(name: &str, image: &str, volume: &str, directory: &str) -> Container {
    Container {
        args: Some(vec!["install".to_owned(), directory.to_owned()]),
        volume_mounts: Some(vec![mount(volume, directory, false)]),
        resources: Some(requests("10m", "16Mi")),
        termination_message_policy: Some(LOG_ON_FAILURE.to_owned()),
        ..confined_container(name, image)
    }
}

pub(super) fn environment(variables: &BTreeMap<String, String>) -> Vec<EnvVar> {
    let variable = |(name, value): (&String, &String)| EnvVar {
        name: name.clone(),
        // `$(X)` is a reference to another variable.
        value: Some(value.replace("$(", "$$(")),
        ..EnvVar::default()
    };
    variables.iter().map(variable).collect()
}

/// Variables whose values are in a Secret, with the same names.
pub(super) fn secret_environment<'a>(
    names: impl Iterator<Item = &'a String>,
    secret: &str,
) -> impl Iterator<Item = EnvVar> {
    names.map(move |name| {
        let reference = SecretKeySelector { name: secret.to_owned(), key: name.clone(), optional: None };
        let source = EnvVarSource { secret_key_ref: Some(reference), ..EnvVarSource::default() };
        EnvVar { name: name.clone(), value_from: Some(source), value: None }
    })
}

pub(super) fn requests(cpu: &str, memory: &str) -> ResourceRequirements {
    let quantities =
        [("cpu", cpu), ("memory", memory)].map(|(name, text)| (name.to_owned(), Quantity(text.to_owned())));
    ResourceRequirements { requests: Some(quantities.into()), ..ResourceRequirements::default() }
}

pub(super) fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

pub(super) fn empty(name: &str) -> Volume {
    Volume { name: name.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
}

pub(super) fn container_ports(ports: &[(&str, u16)]) -> Vec<ContainerPort> {
    let port = |(name, number): &(&str, u16)| ContainerPort {
        name: Some((*name).to_owned()),
        container_port: i32::from(*number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    ports.iter().map(port).collect()
}

/// The service of one pod. Its name is in the certificate of the pod.
pub(super) fn service(metadata: ObjectMeta, selector: Labels, ports: &[(&str, u16)]) -> Service {
    let port = |(name, number): &(&str, u16)| ServicePort {
        name: Some((*name).to_owned()),
        port: i32::from(*number),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String((*name).to_owned())),
        ..ServicePort::default()
    };
    Service {
        metadata,
        spec: Some(ServiceSpec {
            selector: Some(selector),
            ports: Some(ports.iter().map(port).collect()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

pub(super) fn command_probe(command: Vec<String>, period: i32, failures: i32) -> Probe {
    let exec = ExecAction { command: Some(command) };
    Probe { exec: Some(exec), ..probe(period, failures) }
}

/// Checks Fabric's `/healthz`, which reports a broken node, but not whether a node is ready.
pub(super) fn health_probe(port: &str, period: i32, failures: i32) -> Probe {
    let get = HTTPGetAction {
        path: Some("/healthz".to_owned()),
        port: IntOrString::String(port.to_owned()),
        scheme: Some("HTTPS".to_owned()),
        ..HTTPGetAction::default()
    };
    Probe { http_get: Some(get), ..probe(period, failures) }
}

/// Checks that a port is open.
pub(super) fn port_probe(port: &str, period: i32, failures: i32) -> Probe {
    let socket = TCPSocketAction { port: IntOrString::String(port.to_owned()), ..TCPSocketAction::default() };
    Probe { tcp_socket: Some(socket), ..probe(period, failures) }
}

fn probe(period: i32, failures: i32) -> Probe {
    Probe {
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}
