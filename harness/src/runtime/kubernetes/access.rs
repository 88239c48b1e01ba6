//! Checks the user's rights in the cluster, before anything is created.

use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

use super::cluster::{Cluster, ClusterError};

/// Group, resource, subresource and verbs.
type Need = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// The rights that a run needs in the whole cluster.
const EVERYWHERE: [Need; 1] = [("", "namespaces", "", &["get", "create", "delete"])];

/// The rights that it needs in its namespace.
const INSIDE: [Need; 10] = [
    ("", "configmaps", "", &["create"]),
    ("", "secrets", "", &["create"]),
    ("", "services", "", &["create"]),
    ("apps", "statefulsets", "", &["create"]),
    ("apps", "deployments", "", &["create", "patch"]),
    ("", "pods", "", &["list", "watch", "delete", "deletecollection"]),
    ("", "pods", "log", &["get"]),
    // Servers before 1.35 check only `get`.
    ("", "pods", "exec", &["get", "create"]),
    ("", "pods", "portforward", &["get", "create"]),
    ("", "events", "", &["list", "watch"]),
];

/// The missing rights, such as `create secrets`. Without a namespace, those in any namespace.
pub(super) async fn denied(
    cluster: &Cluster,
    client: &Client,
    namespace: Option<&str>,
) -> Result<Vec<String>, ClusterError> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let everywhere = EVERYWHERE.iter().map(|need| (need, None));
    let inside = INSIDE.iter().map(|need| (need, Some(namespace.unwrap_or_default())));
    let questions = everywhere.chain(inside).flat_map(|(need, namespace)| {
        need.3.iter().map(move |verb| (question(need, verb, namespace), describe(need, verb)))
    });
    let answers = questions.map(|(question, right)| {
        let reviews = reviews.clone();
        async move {
            let review = cluster.ask("review your rights", reviews.create(&PostParams::default(), &question)).await?;
            let allowed = review.status.is_some_and(|status| status.allowed);
            Ok((!allowed).then_some(right))
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

fn describe((group, resource, sub, _): &Need, verb: &str) -> String {
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    let sub = if sub.is_empty() { String::new() } else { format!("/{sub}") };
    format!("{verb} {resource}{group}{sub}")
}
