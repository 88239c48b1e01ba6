//! What the state of a pod means: whether it can still come up, how its container has ended.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Event, Pod};

/// The label by which a pod is known as that of a node or chaincode server.
const INSTANCE: &str = "app.kubernetes.io/instance";

/// What a container waits for that it will not get without somebody's doing, and what to do.
const HOPELESS: [(&str, &str); 8] = [
    ("ErrImagePull", IMAGE),
    ("ImagePullBackOff", IMAGE),
    ("ErrImageNeverPull", IMAGE),
    ("InvalidImageName", "the name of the image is wrong"),
    ("ImageInspectError", "the image is damaged; remove it from the cluster's node"),
    ("CreateContainerConfigError", CONFIGURATION),
    ("CreateContainerError", CONFIGURATION),
    ("RunContainerError", CONFIGURATION),
];

const IMAGE: &str = "put the image where the cluster's nodes can pull it from, or load it into them; --fabric chooses \
                     another version";
const CONFIGURATION: &str = "the cluster can't run such a container";

/// The name of the objects that a pod belongs to.
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

/// Whether the pod is ready, which of a chaincode server means that it listens.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Why a pod will not come up, if that is certain.
pub(super) fn trouble(pod: &Pod) -> Option<String> {
    statuses(pod).find_map(|status| {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        let (_, advice) = HOPELESS.iter().find(|(sign, _)| *sign == reason)?;
        let said = waiting.message.as_deref().map(|message| format!(": {}", message.trim())).unwrap_or_default();
        Some(format!("{reason}, image {}{said}; {advice}", status.image))
    })
}

/// What a pod waits for, in a few words.
pub(super) fn seen(pod: &Pod) -> String {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("not known");
    let mut seen = format!("its pod is {phase}");
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    for condition in conditions.into_iter().flatten() {
        if condition.type_ == "PodScheduled" && condition.status == "False" {
            let said = condition.message.as_deref().unwrap_or_default();
            seen = format!("{seen}, {}: {said}", condition.reason.as_deref().unwrap_or("not scheduled"));
        }
    }
    let waiting = statuses(pod).filter_map(|status| Some((&status.name, status.state.as_ref()?.waiting.as_ref()?)));
    for (name, waiting) in waiting {
        let said = waiting.message.as_deref().map(|message| format!(" ({message})")).unwrap_or_default();
        seen = format!("{seen}, its container {name} is {}{said}", waiting.reason.as_deref().unwrap_or("waiting"));
    }
    seen
}

/// An end of one of a pod's containers, and the container's identifier.
pub(super) fn ends(pod: &Pod) -> impl Iterator<Item = (String, String)> + '_ {
    let of_containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    of_containers
        .flat_map(|status| [status.last_state.as_ref(), status.state.as_ref()])
        .filter_map(|state| state?.terminated.as_ref())
        .filter_map(|end| Some((end.container_id.clone()?, how(end))))
}

/// The identifier of the container of this name, as of [`ends`].
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

/// Whether an event is about objects of this name: the `StatefulSet` or pod, or what a Deployment makes.
pub(super) fn is_about(event: &Event, instance: &str) -> bool {
    let object = event.involved_object.name.as_deref().unwrap_or_default();
    object.strip_prefix(instance).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Why the cluster refuses to make a pod at all: a quota, or the security of pods.
pub(super) fn rejection(event: &Event) -> Option<String> {
    let message = event.message.as_deref()?;
    // The account that every namespace has may come a little later than the namespace.
    let is_final = message.contains("forbidden") && !message.contains("serviceaccount");
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
