//! Identities as files, in the layout of `cryptogen`, which `peer`, `osnadmin` and the examples of the SDKs
//! expect.
//!
//! Two differences: there is no empty directory `admincerts` in an MSP, because with `NodeOUs` the OU in a
//! certificate makes an administrator; and there are files for chaincode.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Credential, Identities, OrganizationIdentities, TlsPair};
use crate::files::File;
use crate::topology::NodeKind;

type Files = BTreeMap<PathBuf, File>;

/// The roots for the certificate of a peer's chaincode server, in the peer's directory.
pub(crate) const SERVER_ROOTS: &str = "chaincode/ca.crt";

/// The roots for the certificate of a chaincode server's peer, in the server's directory.
pub(crate) const CLIENT_ROOTS: &str = "client-ca.crt";

/// Every file of every identity, relative to the bundle.
pub(crate) fn files(identities: &Identities) -> Files {
    let mut files = Files::new();
    add_organization(&mut files, &identities.orderer_organization, NodeKind::Orderer);
    for organization in &identities.peer_organizations {
        add_organization(&mut files, organization, NodeKind::Peer);
    }
    files
}

/// The directory of a node, relative to the bundle.
pub(crate) fn node_directory(kind: NodeKind, domain: &str, name: &str) -> PathBuf {
    let nodes = match kind {
        NodeKind::Peer => "peers",
        NodeKind::Orderer => "orderers",
    };
    organization_directory(kind, domain).join(nodes).join(name)
}

pub(crate) fn organization_directory(kind: NodeKind, domain: &str) -> PathBuf {
    let organizations = match kind {
        NodeKind::Peer => "peerOrganizations",
        NodeKind::Orderer => "ordererOrganizations",
    };
    Path::new("organizations").join(organizations).join(domain)
}

/// The file name of an authority's certificate.
pub(super) fn authority_certificate(authority: &str, domain: &str) -> String {
    format!("{authority}.{domain}-cert.pem")
}

/// The directory of the chaincode server that serves only this peer.
pub(crate) fn server_directory(domain: &str, peer: &str) -> PathBuf {
    organization_directory(NodeKind::Peer, domain).join("chaincode").join(peer)
}

fn add_organization(files: &mut Files, organization: &OrganizationIdentities, kind: NodeKind) {
    let domain = &*organization.domain;
    let directory = organization_directory(kind, domain);
    for (name, certificate_pem, key) in [
        ("ca", &organization.ca_pem, &organization.ca_key),
        ("tlsca", &organization.tls_ca_pem, &organization.tls_ca_key),
    ] {
        let directory = directory.join(name);
        let certificate = directory.join(authority_certificate(name, domain));
        files.insert(certificate, File::public(&**certificate_pem));
        if let Some(key) = key {
            files.insert(directory.join("priv_sk"), File::private(key.as_pem()));
        }
    }
    add_msp(files, &directory.join("msp"), organization);

    let admin = (format!("Admin@{domain}"), &organization.admin, &organization.admin_tls);
    let users = organization.users.iter().zip(&organization.users_tls).zip(1..);
    let users = users.map(|((sign, tls), number)| (format!("User{number}@{domain}"), sign, tls));
    for (name, sign, tls) in std::iter::once(admin).chain(users) {
        let directory = directory.join("users").join(&name);
        add_local_msp(files, &directory.join("msp"), organization, &name, sign);
        add_tls(files, &directory.join("tls"), "client", &organization.tls_ca_pem, tls);
    }
    for (name, node) in &organization.nodes {
        let directory = node_directory(kind, domain, name);
        add_local_msp(files, &directory.join("msp"), organization, name, &node.sign);
        add_tls(files, &directory.join("tls"), "server", &organization.tls_ca_pem, &node.tls);
        if let Some(pair) = &node.chaincode_client {
            add_pair(files, &directory.join("chaincode"), "client", pair);
        }
        if let Some(pair) = &node.chaincode_server {
            add_pair(files, &server_directory(domain, name), "server", pair);
        }
    }
    if kind == NodeKind::Peer && !organization.chaincode_server.certificate_pem.is_empty() {
        let pair = &organization.chaincode_server;
        add_tls(files, &directory.join("chaincode"), "server", &organization.tls_ca_pem, pair);
    }
}

/// The public part of an MSP, which every member of a channel has.
fn add_msp(files: &mut Files, directory: &Path, organization: &OrganizationIdentities) {
    let domain = &organization.domain;
    let ca = format!("cacerts/ca.{domain}-cert.pem");
    files.insert(directory.join(&ca), File::public(&*organization.ca_pem));
    files
        .insert(directory.join(format!("tlscacerts/tlsca.{domain}-cert.pem")), File::public(&*organization.tls_ca_pem));
    files.insert(directory.join("config.yaml"), File::public(node_ous(&ca)));
}

/// The local MSP of one member: the public part, its certificate and its key.
fn add_local_msp(
    files: &mut Files,
    directory: &Path,
    organization: &OrganizationIdentities,
    name: &str,
    credential: &Credential,
) {
    add_msp(files, directory, organization);
    files.insert(directory.join(format!("signcerts/{name}-cert.pem")), File::public(&*credential.certificate_pem));
    files.insert(directory.join("keystore/priv_sk"), File::private(credential.private_key_pem.as_pem()));
}

fn add_tls(files: &mut Files, directory: &Path, name: &str, ca_pem: &str, pair: &TlsPair) {
    files.insert(directory.join("ca.crt"), File::public(ca_pem));
    add_pair(files, directory, name, pair);
}

fn add_pair(files: &mut Files, directory: &Path, name: &str, pair: &TlsPair) {
    files.insert(directory.join(format!("{name}.crt")), File::public(&*pair.certificate_pem));
    files.insert(directory.join(format!("{name}.key")), File::private(pair.private_key_pem.as_pem()));
}

/// The config.yaml of an MSP: the OU of a certificate is the member's role.
fn node_ous(ca: &str) -> String {
    let roles = [("Client", "client"), ("Peer", "peer"), ("Admin", "admin"), ("Orderer", "orderer")];
    let identifiers = roles.map(|(key, role)| {
        format!("  {key}OUIdentifier:\n    Certificate: {ca}\n    OrganizationalUnitIdentifier: {role}\n")
    });
    format!("NodeOUs:\n  Enable: true\n{}", identifiers.concat())
}
