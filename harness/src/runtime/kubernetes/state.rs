//! Interprets the state of a pod: whether it can still start, and how its container has exited.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Event, Pod};

/// The label with the name of a node's or chaincode server's objects.
const INSTANCE: &str = "app.kubernetes.io/instance";

/// Reasons of a container to wait that do not go away by themselves, and what to do.
const FATAL: [(&str, &str); 8] = [
    ("ErrImagePull", IMAGE),
    ("ImagePullBackOff", IMAGE),
    ("ErrImageNeverPull", IMAGE),
    ("InvalidImageName", "invalid name of an image"),
    ("ImageInspectError", "the image is damaged; remove it from the cluster's node"),
    ("CreateContainerConfigError", CONFIGURATION),
    ("CreateContainerError", CONFIGURATION),
    ("RunContainerError", CONFIGURATION),
];

const IMAGE: &str = "put the image where the cluster's nodes can pull it from, or load it into them; choose \
                     another image with --fabric, --builder-image, or in the chaincode file";
const CONFIGURATION: &str = "the cluster cannot run such a container";

/// The name of a pod's node or server.
pub(super) fn instance(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(INSTANCE).map(String::as_str)
}

/// The status of one of a pod's containers, init containers among them.
pub(super) fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    statuses(pod).find(|status| status.name == name)
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        let inits = status.init_container_statuses.iter().flatten();
        inits.chain(status.container_statuses.iter().flatten())
    })
}

/// Whether a container runs.
pub(super) fn runs(pod: &Pod, name: &str) -> bool {
    let state = container(pod, name).and_then(|status| status.state.as_ref());
    state.is_some_and(|state| state.running.is_some())
}

/// Whether the pod is ready. A chaincode server then listens.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Why a pod will certainly not start.
pub(super) fn trouble(pod: &Pod) -> Option<String> {
    fatal_wait(pod).or_else(|| failed_init(pod))
}

/// The exit of an init container. The cluster would run it again and again.
fn failed_init(pod: &Pod) -> Option<String> {
    let inits = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    inits.flat_map(|status| [(status, &status.state), (status, &status.last_state)]).find_map(|(status, state)| {
        let end = state.as_ref()?.terminated.as_ref().filter(|end| end.exit_code != 0)?;
        Some(format!("its init container {}, image {}, exited: {}", status.name, status.image, how(end)))
    })
}

fn fatal_wait(pod: &Pod) -> Option<String> {
    statuses(pod).find_map(|status| {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        let (_, advice) = FATAL.iter().find(|(sign, _)| *sign == reason)?;
        let message = waiting.message.as_deref().map(|message| format!(": {}", message.trim())).unwrap_or_default();
        Some(format!("{reason}, image {}{message}; {advice}", status.image))
    })
}

/// Why a pod is unschedulable.
pub(super) fn unschedulable(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    // Other pods are evicted for it.
    if status.nominated_node_name.as_ref().is_some_and(|node| !node.is_empty()) {
        return None;
    }
    let condition = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled")?;
    let is_unschedulable = condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable");
    let message = condition.message.as_deref().unwrap_or_default().trim().trim_end_matches('.');
    is_unschedulable.then(|| {
        format!("its pod is unschedulable: {message}; free what it needs, add a node, or use a smaller --topology")
    })
}

/// Whether an event says that the cluster adds a node for the pod: those of the cluster autoscaler and of
/// Karpenter.
pub(super) fn adds_node(event: &Event) -> bool {
    matches!(event.reason.as_deref(), Some("TriggeredScaleUp" | "Nominated"))
}

/// What a pod waits for.
pub(super) fn summary(pod: &Pod) -> String {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("unknown");
    let mut summary = format!("its pod is {phase}");
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    for condition in conditions.into_iter().flatten() {
        if condition.type_ == "PodScheduled" && condition.status == "False" {
            let message = condition.message.as_deref().unwrap_or_default();
            summary = format!("{summary}, {}: {message}", condition.reason.as_deref().unwrap_or("not scheduled"));
        }
    }
    let waiting = statuses(pod).filter_map(|status| Some((&status.name, status.state.as_ref()?.waiting.as_ref()?)));
    for (name, waiting) in waiting {
        let message = waiting.message.as_deref().map(|message| format!(" ({message})")).unwrap_or_default();
        summary =
            format!("{summary}, its container {name} is {}{message}", waiting.reason.as_deref().unwrap_or("waiting"));
    }
    summary
}

/// The exits of a pod's containers: the ID and the status of each.
pub(super) fn exits(pod: &Pod) -> impl Iterator<Item = (String, String)> + '_ {
    let of_containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    of_containers
        .flat_map(|status| [status.last_state.as_ref(), status.state.as_ref()])
        .filter_map(|state| state?.terminated.as_ref())
        .filter_map(|end| Some((end.container_id.clone()?, how(end))))
}

/// The ID of the container of this name, as of [`exits`].
pub(super) fn id_of(pod: &Pod, name: &str) -> Option<String> {
    let status = container(pod, name)?;
    status.container_id.clone().filter(|id| !id.is_empty())
}

fn how(end: &ContainerStateTerminated) -> String {
    let mut how = format!("exit status: {}", end.exit_code);
    match end.reason.as_deref() {
        Some("OOMKilled") => how.push_str(" (out of memory)"),
        None | Some("Error" | "Completed") => {}
        Some(reason) => how = format!("{how} ({reason})"),
    }
    if let Some(message) = end.message.as_deref().filter(|message| !message.trim().is_empty()) {
        how = format!("{how}: {}", message.trim());
    }
    how
}

/// Whether an event is about objects of this name: the `StatefulSet`, its pod, or what a Deployment makes.
pub(super) fn is_about(event: &Event, instance: &str) -> bool {
    let object = event.involved_object.name.as_deref().unwrap_or_default();
    object.strip_prefix(instance).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Why the cluster refuses to create a pod: a quota, or the pod security.
pub(super) fn rejection(event: &Event) -> Option<String> {
    let message = event.message.as_deref()?;
    // The default account of a namespace may be created a little after the namespace, and so may the usage of a
    // quota.
    let is_temporary = ["serviceaccount", "status unknown for quota"].iter().any(|sign| message.contains(sign));
    let is_final = message.contains("forbidden") && !is_temporary;
    (event.reason.as_deref() == Some("FailedCreate") && is_final)
        .then(|| format!("the cluster refuses its pod: {message}"))
}

/// An event as a line of a log.
pub(super) fn line(event: &Event) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let object = &event.involved_object;
    let first = event.event_time.as_ref().map(|time| time.0.to_string());
    let at = event.last_timestamp.as_ref().map(|time| time.0.to_string()).or(first).unwrap_or_default();
    let count = event.count.filter(|count| *count > 1).map(|count| format!(" ({count} times)")).unwrap_or_default();
    let message = text(&event.message);
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    format!(
        "{at} {} {} {}/{}: {message}{count}",
        text(&event.type_),
        text(&event.reason),
        text(&object.kind),
        text(&object.name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ContainerState, PodCondition, PodStatus};

    fn event(reason: &str, message: &str) -> Event {
        Event { reason: Some(reason.to_owned()), message: Some(message.to_owned()), ..Event::default() }
    }

    #[test]
    fn a_refusal_is_final_unless_what_is_missing_will_be_created() {
        let refused = |message: &str| rejection(&event("FailedCreate", message));
        let quota = "create Pod peer0-0 in StatefulSet peer0 failed error: pods \"peer0-0\" is forbidden: ";
        let reason = refused(&format!("{quota}exceeded quota: small, requested: pods=1, used: pods=1")).unwrap();
        assert!(reason.starts_with("the cluster refuses its pod: create Pod") && reason.contains("exceeded quota"));
        assert_eq!(refused(&format!("{quota}status unknown for quota: small, resources: pods")), None);
        assert_eq!(refused(&format!("{quota}error looking up service account a/default: serviceaccount")), None);
        assert_eq!(rejection(&event("FailedScheduling", "it is forbidden")), None);
    }

    #[test]
    fn an_unschedulable_pod_has_a_reason_unless_others_are_evicted_for_it() {
        let condition = PodCondition {
            type_: "PodScheduled".to_owned(),
            status: "False".to_owned(),
            reason: Some("Unschedulable".to_owned()),
            message: Some("0/1 nodes are available: 1 Insufficient cpu.".to_owned()),
            ..PodCondition::default()
        };
        let status = PodStatus { conditions: Some(vec![condition.clone()]), ..PodStatus::default() };
        let pod = |status: PodStatus| Pod { status: Some(status), ..Pod::default() };
        let reason = unschedulable(&pod(status.clone())).unwrap();
        assert!(
            reason.contains("its pod is unschedulable: 0/1 nodes are available: 1 Insufficient cpu; free"),
            "{reason}"
        );
        let nominated = PodStatus { nominated_node_name: Some("node1".to_owned()), ..status.clone() };
        assert_eq!(unschedulable(&pod(nominated)), None);
        let waits = PodCondition { reason: Some("SchedulingGated".to_owned()), ..condition };
        assert_eq!(unschedulable(&pod(PodStatus { conditions: Some(vec![waits]), ..status })), None);
        assert!(adds_node(&event("TriggeredScaleUp", "")) && !adds_node(&event("NotTriggerScaleUp", "")));
    }

    #[test]
    fn the_failure_of_an_init_container_has_its_message() {
        let ended = |exit_code| ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code,
                message: Some("no such directory\n".to_owned()),
                ..ContainerStateTerminated::default()
            }),
            ..ContainerState::default()
        };
        let reason = |state: ContainerState| {
            let status = ContainerStatus {
                name: "install-builder".to_owned(),
                image: "a:1".to_owned(),
                last_state: Some(state),
                ..ContainerStatus::default()
            };
            let status = PodStatus { init_container_statuses: Some(vec![status]), ..PodStatus::default() };
            trouble(&Pod { status: Some(status), ..Pod::default() })
        };
        assert_eq!(
            reason(ended(2)).as_deref(),
            Some("its init container install-builder, image a:1, exited: exit status: 2: no such directory")
        );
        assert_eq!(reason(ended(0)), None);
    }
}
