//! Network policies. Everything that is not listed is denied, if the network plugin enforces policies.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::parts::{COMPONENT, Labels, NETWORK, matching, part_of, selector};
use super::{Context, names};

/// The label of pods that may call peers and orderers.
const CLIENT: &str = "fabric-network/client";

impl Context<'_> {
    pub(super) fn policies(&self) -> Vec<NetworkPolicy> {
        let mut policies = vec![
            self.policy("default-deny", LabelSelector::default(), &["Ingress"], Vec::new()),
            self.policy(
                "orderers",
                matching(of("orderer")),
                &["Ingress"],
                vec![
                    allow(vec![pods(of("orderer")), pods(of("peer")), pods(of("deploy")), clients()], &["grpc"]),
                    allow(vec![pods(of("deploy"))], &["admin"]),
                ],
            ),
            self.policy(
                "peers",
                matching(of("peer")),
                &["Ingress"],
                vec![allow(vec![pods(of("peer")), pods(of("deploy")), clients()], &["grpc"])],
            ),
        ];
        for server in &self.source.bundle.servers {
            let peer = self.objects.names.of(&server.peer);
            let name = names::of_server(&peer);
            // Without a rule, egress is denied.
            let server = matching(selector("chaincode", &name));
            let only_its_peer = allow(vec![pods(selector("peer", &peer))], &["chaincode"]);
            policies.push(self.policy(&name, server, &["Ingress", "Egress"], vec![only_its_peer]));
        }
        policies
    }

    fn policy(
        &self,
        name: &str,
        pods: LabelSelector,
        types: &[&str],
        ingress: Vec<NetworkPolicyIngressRule>,
    ) -> NetworkPolicy {
        NetworkPolicy {
            metadata: self.metadata(name, part_of()),
            spec: Some(NetworkPolicySpec {
                pod_selector: Some(pods),
                policy_types: Some(types.iter().map(|name| (*name).to_owned()).collect()),
                ingress: (!ingress.is_empty()).then_some(ingress),
                egress: None,
            }),
        }
    }
}

/// The pods of one kind.
fn of(component: &str) -> Labels {
    let mut labels = part_of();
    labels.insert(COMPONENT.to_owned(), component.to_owned());
    labels
}

fn pods(labels: Labels) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(matching(labels)), ..NetworkPolicyPeer::default() }
}

/// Pods with the client label, in any namespace.
fn clients() -> NetworkPolicyPeer {
    let labels = [(CLIENT.to_owned(), NETWORK.to_owned())].into();
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(matching(labels)),
        ..NetworkPolicyPeer::default()
    }
}

fn allow(from: Vec<NetworkPolicyPeer>, ports: &[&str]) -> NetworkPolicyIngressRule {
    let port = |name: &&str| NetworkPolicyPort {
        port: Some(IntOrString::String((*name).to_owned())),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    };
    NetworkPolicyIngressRule { from: Some(from), ports: Some(ports.iter().map(port).collect()) }
}
