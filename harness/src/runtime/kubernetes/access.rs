//! Whether the user may do in the cluster what a run does, asked before anything is done.

use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::cleanup::cluster::{Cluster, ClusterError};

/// Group, resource and subresource, and what is done with it.
type Need = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// What a run does in the whole cluster.
const EVERYWHERE: [Need; 1] = [("", "namespaces", "", &["get", "create", "delete"])];

/// What it does in its namespace.
const INSIDE: [Need; 10] = [
    ("", "configmaps", "", &["create"]),
    ("", "secrets", "", &["create"]),
    ("", "services", "", &["create"]),
    ("apps", "statefulsets", "", &["create"]),
    ("apps", "deployments", "", &["create", "patch"]),
    ("", "pods", "", &["list", "watch", "delete", "deletecollection"]),
    ("", "pods", "log", &["get"]),
    // Servers before 1.35 ask for the former alone.
    ("", "pods", "exec", &["get", "create"]),
    ("", "pods", "portforward", &["get", "create"]),
    ("", "events", "", &["list", "watch"]),
];

/// What of it this user may not do, such as `create secrets`. A namespace that does not exist yet is
/// asked for as any.
pub(super) async fn denied(
    cluster: &Cluster,
    client: &Client,
    namespace: Option<&str>,
) -> Result<Vec<String>, ClusterError> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let everywhere = EVERYWHERE.iter().map(|need| (need, None));
    let inside = INSIDE.iter().map(|need| (need, Some(namespace.unwrap_or_default())));
    let questions = everywhere.chain(inside).flat_map(|(need, namespace)| {
        need.3.iter().map(move |verb| (question(need, verb, namespace), told(need, verb)))
    });
    let answers = questions.map(|(question, told)| {
        let reviews = reviews.clone();
        async move {
            let review = cluster.ask("tell what you may do", reviews.create(&PostParams::default(), &question)).await?;
            let allowed = review.status.is_some_and(|status| status.allowed);
            Ok((!allowed).then_some(told))
        }
    });
    Ok(try_join_all(answers).await?.into_iter().flatten().collect())
}

fn question((group, resource, sub, _): &Need, verb: &str, namespace: Option<&str>) -> SelfSubjectAccessReview {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: some(group),
                namespace: namespace.and_then(some),
                resource: some(resource),
                subresource: some(sub),
                verb: some(verb),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    }
}

fn told((group, resource, sub, _): &Need, verb: &str) -> String {
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    let sub = if sub.is_empty() { String::new() } else { format!("/{sub}") };
    format!("{verb} {resource}{group}{sub}")
}
