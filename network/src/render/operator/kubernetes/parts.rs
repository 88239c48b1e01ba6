//! What many objects have in common: labels, security, probes, ports, volumes.

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

/// No user of any image; the official images' own is root.
const USER: i64 = 10_001;

pub(super) const COMPONENT: &str = "app.kubernetes.io/component";
pub(super) const INSTANCE: &str = "app.kubernetes.io/instance";
const PART_OF: &str = "app.kubernetes.io/part-of";
/// What everything belongs to.
pub(super) const NETWORK: &str = "fabric-network";

pub(super) type Labels = BTreeMap<String, String>;

/// What the pods of one workload, and no others, have.
pub(super) fn selector(component: &str, instance: &str) -> Labels {
    [(COMPONENT, component), (INSTANCE, instance)].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

pub(super) fn labels(component: &str, instance: &str) -> Labels {
    let mut labels = selector(component, instance);
    labels.insert(PART_OF.to_owned(), NETWORK.to_owned());
    labels
}

/// The label of everything in the network.
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

/// The namespace, in which no pod may do more than ours need.
pub(super) fn namespace(name: &str) -> Namespace {
    let mut labels = part_of();
    for mode in ["enforce", "audit", "warn"] {
        labels.insert(format!("pod-security.kubernetes.io/{mode}"), "restricted".to_owned());
    }
    let metadata = ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
    Namespace { metadata, ..Namespace::default() }
}

/// A pod as the level "restricted" wants it. The official images run as this user as well: they hold
/// nothing that only root may read, and all that is written is on volumes of its group.
pub(super) fn confined_pod() -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        // Variables of other services are none of a node's configuration.
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

/// How often a receiver looks, and how many times: ten minutes in all. The first process of a container
/// ends on SIGTERM only if it says so.
const LOOKS: &str = "trap 'exit 143' TERM; rounds=6000; until [ -e \"$0\" ]; do [ \"$rounds\" -gt 0 ] || exit 1; rounds=$((rounds - 1)); sleep 0.1; done";

/// Waits until a file is in a volume, which somebody puts there by `tar` in this very container.
pub(super) fn receiver(image: &str, volume: &str, directory: &str) -> Container {
    let command = ["sh", "-c", LOOKS, &format!("{directory}/{UPLOADED}")];
    Container {
        command: Some(command.map(str::to_owned).into()),
        volume_mounts: Some(vec![mount(volume, directory, false)]),
        resources: Some(requests("10m", "16Mi")),
        termination_message_policy: Some(LAST_WORDS.to_owned()),
        ..confined_container(RECEIVER, image)
    }
}

/// The end of its log is in the status of a container that failed, and so in what `kubectl describe` shows.
const LAST_WORDS: &str = "FallbackToLogsOnError";

/// Puts an image's program into a volume, without a shell.
pub(super) fn installer(name: &str, image: &str, volume: &str, directory: &str) -> Container {
    Container {
        args: Some(vec!["install".to_owned(), directory.to_owned()]),
        volume_mounts: Some(vec![mount(volume, directory, false)]),
        resources: Some(requests("10m", "16Mi")),
        termination_message_policy: Some(LAST_WORDS.to_owned()),
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

/// Variables whose values are in a Secret, under their own names.
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

/// A service of its own for each pod: others dial it by name, and its certificate holds that.
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

/// Asks Fabric's own `/healthz`, which tells of a node that is ill, not of one that is ready.
pub(super) fn health_probe(port: &str, period: i32, failures: i32) -> Probe {
    let get = HTTPGetAction {
        path: Some("/healthz".to_owned()),
        port: IntOrString::String(port.to_owned()),
        scheme: Some("HTTPS".to_owned()),
        ..HTTPGetAction::default()
    };
    Probe { http_get: Some(get), ..probe(period, failures) }
}

/// Whether a port opens.
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
