//! A run's namespace: requests to it, with a timeout.

use std::fmt;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use kube::api::PostParams;
use kube::core::Status;
use kube::{Api, Client, Error as KubeError, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;
use super::cluster::{Cluster, ClusterError, mark};
use crate::cleanup::RunGuard;
use crate::runtime::RuntimeError;

/// A namespace of a cluster, and a client of the cluster.
#[derive(Clone)]
pub(super) struct Space {
    pub(super) cluster: Cluster,
    pub(super) client: Client,
    pub(super) name: String,
}

impl fmt::Debug for Space {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Space")
            .field("cluster", &self.cluster)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The objects of a node or chaincode server: those that its pod uses, and the workload that makes the pod.
pub(super) struct Applied<W> {
    pub(super) configuration: Vec<ConfigMap>,
    pub(super) secrets: Vec<Secret>,
    pub(super) service: Service,
    pub(super) workload: W,
}

impl Space {
    /// The API of a kind in the namespace.
    pub(super) fn all<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    pub(super) async fn ask<T>(
        &self,
        action: &str,
        answer: impl Future<Output = Result<T, KubeError>>,
    ) -> Result<T, ClusterError> {
        self.cluster.ask(action, answer).await
    }

    /// Creates the namespace itself.
    pub(super) async fn create(&self, guard: &RunGuard, mut namespace: Namespace) -> Result<(), RuntimeError> {
        mark(&mut namespace, guard);
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let parameters = PostParams::default();
        let create = namespaces.create(&parameters, &namespace);
        match self.ask("create the namespace", create).await {
            Ok(_) => Ok(()),
            Err(error) if error.status().is_some_and(Status::is_already_exists) => {
                Err(Error::NamespaceInUse { namespace: self.name.clone() }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn add<K>(&self, object: &K) -> Result<K, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Serialize
            + DeserializeOwned
            + Clone
            + fmt::Debug,
    {
        let name = object.meta().name.as_deref().unwrap_or_default();
        let action = format!("create the {} {name}", K::kind(&()));
        self.ask(&action, self.all::<K>().create(&PostParams::default(), object)).await
    }

    async fn add_files<W>(&self, objects: &Applied<W>) -> Result<(), ClusterError> {
        let configuration = futures::future::try_join_all(objects.configuration.iter().map(|object| self.add(object)));
        let secrets = futures::future::try_join_all(objects.secrets.iter().map(|object| self.add(object)));
        tokio::try_join!(configuration, secrets).map(drop)
    }

    /// Creates the objects of a node, the workload last, since its pod needs the others.
    pub(super) async fn add_node(&self, objects: &Applied<StatefulSet>) -> Result<(), ClusterError> {
        tokio::try_join!(self.add_files(objects), self.add(&objects.service))?;
        self.add(&objects.workload).await.map(drop)
    }

    /// Creates the service of a chaincode server, which may precede everything else. Returns its address.
    pub(super) async fn add_service(&self, service: &Service) -> Result<Option<String>, ClusterError> {
        Ok(self.add(service).await?.spec.and_then(|spec| spec.cluster_ip))
    }

    /// Creates the objects of a chaincode server, except its service.
    pub(super) async fn add_server(&self, objects: &Applied<Deployment>) -> Result<(), ClusterError> {
        self.add_files(objects).await?;
        self.add(&objects.workload).await.map(drop)
    }
}
