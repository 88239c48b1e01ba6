//! Waits until peers reach other pods by their Services: a cluster's nodes learn of a Service's pods a little after
//! a pod is ready.

use std::time::Duration;

use futures::future::try_join_all;
use kube::ResourceExt as _;
use tokio::time::timeout;

use super::member::Member;
use crate::runtime::RuntimeError;

/// How much longer the command may take than its own timeout.
const MORE: Duration = Duration::from_secs(10);

/// `$0` is the timeout in seconds, the others are HOST:PORT.
const SCRIPT: &str = r#"
for target; do
    until timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "${target%:*}" "${target##*:}" 2>/dev/null; do
        [ "$SECONDS" -lt "$0" ] || { echo "nothing answers at $target" >&2; exit 1; }
        sleep 0.1
    done
done
"#;

/// Waits until each of these peers can connect to each target, `HOST:PORT`.
pub(super) async fn wait_until_reached(
    peers: impl Iterator<Item = &Member>,
    targets: &[String],
    bound: Duration,
) -> Result<(), RuntimeError> {
    if targets.is_empty() {
        return Ok(());
    }
    let seconds = bound.as_secs().to_string();
    let mut command = vec!["bash", "-c", SCRIPT, &seconds];
    command.extend(targets.iter().map(String::as_str));
    let reach = peers.map(|peer| {
        let command = &command;
        async move {
            let failed = |reason: String| {
                let reason = format!("it does not reach the other pods: {reason}");
                Err(RuntimeError::Container { name: peer.name.clone(), reason })
            };
            let Some(pod) = peer.pod() else { return failed("its pod is gone".to_owned()) };
            match timeout(bound + MORE, peer.execute(&pod.name_any(), command)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(reason)) => failed(reason),
                Err(_) => failed(format!("timed out after {} s", bound.as_secs())),
            }
        }
    });
    try_join_all(reach).await.map(drop)
}
