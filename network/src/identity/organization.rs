//! The members of an organization: which certificates there are, under which names.

use std::collections::BTreeMap;

use super::authority::{Authority, Issued, Period, Purpose};
use super::{Credential, IdentityError, NodeIdentity, OrganizationIdentities, TlsPair, Validity};
use crate::placement::Placement;
use crate::topology::{Node, Ordering, Organization};

/// Makes organizations for one network.
pub(super) struct Factory<'a> {
    placement: &'a Placement,
    period: Period,
}

/// What differs between organizations with peers and the one with orderers.
struct Plan<'a> {
    name: &'a str,
    msp_id: &'a str,
    domain: &'a str,
    users: u32,
    nodes: &'a [Node],
    role: &'a str,
    dials_chaincode: bool,
}

impl<'a> Factory<'a> {
    pub(super) fn new(placement: &'a Placement, validity: Validity) -> Result<Self, IdentityError> {
        Ok(Self { placement, period: Period::new(validity)? })
    }

    pub(super) fn peer_organization(
        &self,
        organization: &Organization,
    ) -> Result<OrganizationIdentities, IdentityError> {
        self.organization(&Plan {
            name: &organization.name,
            msp_id: &organization.msp_id,
            domain: &organization.domain,
            users: organization.users,
            nodes: &organization.peers,
            role: "peer",
            dials_chaincode: true,
        })
    }

    pub(super) fn orderer_organization(&self, ordering: &Ordering) -> Result<OrganizationIdentities, IdentityError> {
        self.organization(&Plan {
            name: &ordering.name,
            msp_id: &ordering.msp_id,
            domain: &ordering.domain,
            users: 0,
            nodes: &ordering.orderers,
            role: "orderer",
            dials_chaincode: false,
        })
    }

    fn organization(&self, plan: &Plan<'_>) -> Result<OrganizationIdentities, IdentityError> {
        let domain = plan.domain;
        let ca = Authority::new(&format!("ca.{domain}"), domain, self.period)?;
        let tls_ca = Authority::new(&format!("tlsca.{domain}"), domain, self.period)?;
        let sign = |name: &str, role: &str| {
            ca.issue(name, &Purpose::Sign { role }).map(|issued| credential(plan.msp_id, issued))
        };
        let tls = |name: &str, purpose: &Purpose<'_>| tls_ca.issue(name, purpose).map(TlsPair::from);

        let admin = format!("Admin@{domain}");
        let users: Vec<String> = (1..=plan.users).map(|number| format!("User{number}@{domain}")).collect();
        let chaincode = Purpose::Server { names: &self.placement.chaincode_hosts };
        Ok(OrganizationIdentities {
            msp_id: plan.msp_id.to_owned(),
            name: plan.name.to_owned(),
            domain: domain.to_owned(),
            ca_pem: ca.certificate_pem().to_owned(),
            tls_ca_pem: tls_ca.certificate_pem().to_owned(),
            ca_key: ca.private_key_pem().clone(),
            tls_ca_key: tls_ca.private_key_pem().clone(),
            admin: sign(&admin, "admin")?,
            admin_tls: tls(&admin, &Purpose::Client)?,
            users: users.iter().map(|user| sign(user, "client")).collect::<Result<_, _>>()?,
            users_tls: users.iter().map(|user| tls(user, &Purpose::Client)).collect::<Result<_, _>>()?,
            chaincode_server: tls(&format!("chaincode.{domain}"), &chaincode)?,
            nodes: plan
                .nodes
                .iter()
                .map(|node| self.node(plan, node, &ca, &tls_ca))
                .collect::<Result<BTreeMap<_, _>, _>>()?,
        })
    }

    fn node(
        &self,
        plan: &Plan<'_>,
        node: &Node,
        ca: &Authority,
        tls_ca: &Authority,
    ) -> Result<(String, NodeIdentity), IdentityError> {
        let name = format!("{}.{}", node.name, plan.domain);
        let placement =
            self.placement.nodes.get(&name).ok_or_else(|| IdentityError::NotPlaced { name: name.clone() })?;
        let mut names = vec![name.clone(), node.name.clone()];
        for further in [&placement.host].into_iter().chain(&placement.extra_sans) {
            if !names.contains(further) {
                names.push(further.clone());
            }
        }
        let sign = ca.issue(&name, &Purpose::Sign { role: plan.role })?;
        let tls = tls_ca.issue(&name, &Purpose::Node { names: &names })?;
        let chaincode_client =
            plan.dials_chaincode.then(|| tls_ca.issue(&name, &Purpose::Client).map(TlsPair::from)).transpose()?;
        let identity = NodeIdentity { sign: credential(plan.msp_id, sign), tls: tls.into(), chaincode_client };
        Ok((name, identity))
    }
}

fn credential(msp_id: &str, issued: Issued) -> Credential {
    Credential {
        msp_id: msp_id.to_owned(),
        certificate_pem: issued.certificate_pem,
        private_key_pem: issued.private_key_pem,
    }
}

impl From<Issued> for TlsPair {
    fn from(issued: Issued) -> Self {
        Self { certificate_pem: issued.certificate_pem, private_key_pem: issued.private_key_pem }
    }
}
