//! The certificates of an organization's members, and their names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::authority::{Authority, Issued, Period, Purpose};
use super::existing::PairPaths;
use super::key::Keys;
use super::tree::{CLIENT_ROOTS, SERVER_ROOTS, node_directory, organization_directory, server_directory};
use super::verify::Parsed;
use super::{
    ChaincodeRoots, Credential, IdentityError, NodeIdentity, OrganizationIdentities, PrivateKey, Source, TlsPair,
};
use crate::topology::{Node, NodeKind, Ordering, Organization};

/// Creates the organizations of one network.
pub(super) struct Factory<'a> {
    source: &'a Source<'a>,
    period: Period,
    keys: Keys,
}

/// The description of an organization of either kind.
struct Plan<'a> {
    name: &'a str,
    msp_id: &'a str,
    domain: &'a str,
    users: u32,
    nodes: &'a [Node],
    kind: NodeKind,
}

/// The two authorities of an organization.
struct Authorities {
    ca: Authority,
    tls_ca: Authority,
}

impl<'a> Factory<'a> {
    pub(super) fn new(source: &'a Source<'a>) -> Result<Self, IdentityError> {
        Ok(Self { source, period: Period::new(source.validity)?, keys: Keys::new(source.seed) })
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
            kind: NodeKind::Peer,
        })
    }

    pub(super) fn orderer_organization(&self, ordering: &Ordering) -> Result<OrganizationIdentities, IdentityError> {
        self.organization(&Plan {
            name: &ordering.name,
            msp_id: &ordering.msp_id,
            domain: &ordering.domain,
            users: 0,
            nodes: &ordering.orderers,
            kind: NodeKind::Orderer,
        })
    }

    fn organization(&self, plan: &Plan<'_>) -> Result<OrganizationIdentities, IdentityError> {
        let domain = plan.domain;
        let directory = organization_directory(plan.kind, domain);
        let authorities = Authorities {
            ca: self.authority(&directory, "ca", domain)?,
            tls_ca: self.authority(&directory, "tlsca", domain)?,
        };
        let sign = |name: &str, role: &str| self.sign(plan, &authorities, &user(&directory, name), name, role);
        let client = |name: &str| {
            let place = PairPaths::client(&user(&directory, name).join("tls"));
            self.tls(&authorities, &place, name, &Purpose::Client)
        };

        let admin = format!("Admin@{domain}");
        let users: Vec<String> = (1..=plan.users).map(|number| format!("User{number}@{domain}")).collect();
        Ok(OrganizationIdentities {
            msp_id: plan.msp_id.to_owned(),
            name: plan.name.to_owned(),
            domain: domain.to_owned(),
            ca_pem: authorities.ca.certificate_pem().to_owned(),
            tls_ca_pem: authorities.tls_ca.certificate_pem().to_owned(),
            ca_key: authorities.ca.private_key_pem().cloned(),
            tls_ca_key: authorities.tls_ca.private_key_pem().cloned(),
            admin: sign(&admin, "admin")?,
            admin_tls: client(&admin)?,
            users: users.iter().map(|user| sign(user, "client")).collect::<Result<_, _>>()?,
            users_tls: users.iter().map(|user| client(user)).collect::<Result<_, _>>()?,
            chaincode_server: self.shared_server(plan, &authorities)?,
            nodes: plan
                .nodes
                .iter()
                .map(|node| self.node(plan, node, &authorities))
                .collect::<Result<BTreeMap<_, _>, _>>()?,
        })
    }

    fn node(
        &self,
        plan: &Plan<'_>,
        node: &Node,
        authorities: &Authorities,
    ) -> Result<(String, NodeIdentity), IdentityError> {
        let name = format!("{}.{}", node.name, plan.domain);
        let placement =
            self.source.placement.nodes.get(&name).ok_or_else(|| IdentityError::NotPlaced { name: name.clone() })?;
        let mut names = vec![name.clone(), node.name.clone()];
        add_names(&mut names, [&placement.host].into_iter().chain(&placement.extra_sans));
        let directory = node_directory(plan.kind, plan.domain, &name);
        let (role, dials_chaincode) = match plan.kind {
            NodeKind::Peer => ("peer", true),
            NodeKind::Orderer => ("orderer", false),
        };
        let sign = self.sign(plan, authorities, &directory, &name, role)?;
        let server = PairPaths::server(&directory.join("tls"));
        let tls = self.tls(authorities, &server, &name, &Purpose::Node { names: &names })?;
        let (server, roots) = self.own_server(plan, authorities, &name)?.unzip();
        let client_roots = server_directory(plan.domain, &name).join(CLIENT_ROOTS);
        let client = PairPaths::client(&directory.join("chaincode"));
        let client =
            dials_chaincode.then(|| self.trusted_tls(authorities, &client_roots, &client, &name, &Purpose::Client));
        Ok((
            name,
            NodeIdentity {
                sign,
                tls,
                chaincode_client: client.transpose()?,
                chaincode_server: server,
                chaincode_roots: roots,
            },
        ))
    }

    /// The pair of the server that all peers of the organization share, if there is one.
    fn shared_server(&self, plan: &Plan<'_>, authorities: &Authorities) -> Result<TlsPair, IdentityError> {
        let names = &self.source.placement.chaincode_hosts;
        if names.is_empty() {
            return Ok(TlsPair { certificate_pem: String::new(), private_key_pem: PrivateKey::from_pem("") });
        }
        let place = PairPaths::server(&organization_directory(plan.kind, plan.domain).join("chaincode"));
        self.tls(authorities, &place, &format!("chaincode.{}", plan.domain), &Purpose::Server { names })
    }

    /// The pair of the server that only this peer dials, if it has one, and the roots of the two.
    fn own_server(
        &self,
        plan: &Plan<'_>,
        authorities: &Authorities,
        peer: &str,
    ) -> Result<Option<(TlsPair, ChaincodeRoots)>, IdentityError> {
        let Some(server) = self.source.servers.and_then(|servers| servers.get(peer)) else { return Ok(None) };
        let mut names = vec![server.host.clone()];
        add_names(&mut names, &server.extra_sans);
        let directory = server_directory(plan.domain, peer);
        let server_roots = node_directory(plan.kind, plan.domain, peer).join(SERVER_ROOTS);
        let name = format!("chaincode.{peer}");
        let purpose = Purpose::Server { names: &names };
        let pair = self.trusted_tls(authorities, &server_roots, &PairPaths::server(&directory), &name, &purpose)?;
        let roots = ChaincodeRoots {
            server_roots_pem: self.roots(authorities, &server_roots)?,
            client_roots_pem: self.roots(authorities, &directory.join(CLIENT_ROOTS))?,
        };
        Ok(Some((pair, roots)))
    }

    /// The roots in this existing file, or else the organization's TLS CA.
    fn roots(&self, authorities: &Authorities, path: &Path) -> Result<String, IdentityError> {
        let existing = self.source.existing.map_or(Ok(None), |existing| existing.file(path))?;
        Ok(existing.unwrap_or_else(|| authorities.tls_ca.certificate_pem().to_owned()))
    }

    /// A pair for a client or server that is verified with these roots.
    fn trusted_tls(
        &self,
        authorities: &Authorities,
        roots: &Path,
        place: &PairPaths,
        name: &str,
        purpose: &Purpose<'_>,
    ) -> Result<TlsPair, IdentityError> {
        let wrong = |problem: String| IdentityError::Existing { path: roots.to_owned(), problem };
        let trusted = Parsed::all(&self.roots(authorities, roots)?).map_err(wrong)?;
        authorities.tls_ca.check_authorities(&trusted).map_err(wrong)?;
        let existing = self.existing(place)?;
        if existing.is_none() && !authorities.tls_ca.is_one_of(&trusted) {
            return Err(wrong(format!(
                "does not contain the organization's TLS CA, which would issue a new pair for {name}; add its \
                 certificate, or provide a pair that one of its authorities issued"
            )));
        }
        authorities.tls_ca.reuse_trusted_or_issue(existing, &trusted, name, purpose).map(TlsPair::from)
    }

    fn authority(&self, organization: &Path, name: &str, domain: &str) -> Result<Authority, IdentityError> {
        match self.existing(&PairPaths::authority(organization, name, domain))? {
            Some(pair) => Authority::of(pair, self.period, self.keys),
            None => Authority::new(&format!("{name}.{domain}"), domain, self.period, self.keys),
        }
    }

    fn sign(
        &self,
        plan: &Plan<'_>,
        authorities: &Authorities,
        directory: &Path,
        name: &str,
        role: &str,
    ) -> Result<Credential, IdentityError> {
        let existing = self.existing(&PairPaths::msp(directory, name))?;
        let issued = authorities.ca.reuse_or_issue(existing, name, &Purpose::Sign { role })?;
        Ok(credential(plan.msp_id, issued))
    }

    fn tls(
        &self,
        authorities: &Authorities,
        place: &PairPaths,
        name: &str,
        purpose: &Purpose<'_>,
    ) -> Result<TlsPair, IdentityError> {
        authorities.tls_ca.reuse_or_issue(self.existing(place)?, name, purpose).map(TlsPair::from)
    }

    fn existing(&self, place: &PairPaths) -> Result<Option<super::existing::ExistingPair>, IdentityError> {
        self.source.existing.map_or(Ok(None), |existing| existing.pair(place))
    }
}

fn user(organization: &Path, name: &str) -> PathBuf {
    organization.join("users").join(name)
}

fn add_names<'a>(names: &mut Vec<String>, further: impl IntoIterator<Item = &'a String>) {
    for name in further {
        if !names.contains(name) {
            names.push(name.clone());
        }
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
