//! The Kubernetes cluster of the kubeconfig's current context, which is only asked for its version.

use super::cluster::{Cluster, ClusterError};
use crate::console::error_text;
use crate::runtime::Finding;

pub(super) async fn look() -> Vec<Finding> {
    let without = "without it there is no kubernetes runtime";
    let warning = |error: ClusterError| Finding::warning("cluster", format!("{}; {without}", error_text(&error)));
    let finding = match Cluster::find(None) {
        // Most people have none, and need none.
        Err(ClusterError::NoKubeconfig { .. }) => Finding::ok("cluster", format!("no kubeconfig; {without}")),
        Err(error) => warning(error),
        Ok(cluster) => match cluster.connect().await {
            Ok((_, version)) => Finding::ok("cluster", format!("context {}, Kubernetes {version}", cluster.context)),
            Err(error) => warning(error),
        },
    };
    vec![finding]
}
