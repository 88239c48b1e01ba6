//! Networks and signers for unit tests and fuzz targets.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

pub(crate) mod lifecycle;
pub(crate) mod transaction;

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fabric_network::bundle::Bundle;
use fabric_network::identity::{Credential, OrganizationIdentities, Validity};
use fabric_network::node::NodeKind;
use fabric_network::placement::{NodePlacement, Placement, Ports};
use fabric_network::release::Release;
use fabric_network::render::{RenderOptions, render};
use fabric_network::topology::Topology;
use fabric_protos::common::Block;
use fabric_protos::msp::SerializedIdentity;
use prost::Message;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use crate::config::ChannelConfig;
use crate::network::{Network, Options};
use crate::policy::SignedData;

/// A hundred years from 2024.
pub(crate) fn validity() -> Validity {
    let start = SystemTime::UNIX_EPOCH + Duration::from_hours(473_352);
    Validity { not_before: start, not_after: start + Duration::from_hours(24 * 365 * 100) }
}

/// The artifacts of a network that is not deployed.
pub(crate) fn bundle(topology: &Topology) -> Bundle {
    let mut port = 7050;
    let mut next = || {
        port += 1;
        port
    };
    let nodes = topology.nodes().map(|node| {
        let placement = NodePlacement {
            host: "127.0.0.1".to_owned(),
            bind: [127, 0, 0, 1].into(),
            ports: Ports {
                grpc: next(),
                operations: next(),
                admin: (node.kind == NodeKind::Orderer).then(&mut next),
                chaincode: (node.kind == NodeKind::Peer).then(&mut next),
            },
            extra_sans: vec!["localhost".to_owned()],
            config_dir: Path::new("/network").join(&node.name),
            data_dir: "data".into(),
            builder_dir: "/builder".into(),
        };
        (node.name, placement)
    });
    let placement = Placement { nodes: nodes.collect(), chaincode_hosts: vec!["127.0.0.1".to_owned()] };
    render(topology, &placement, &RenderOptions::new(Release::V3_1, validity())).unwrap()
}

/// Starts a network on free ports with these changes to its files; also returns the directory of
/// the files.
pub(crate) fn started(
    topology: &Topology,
    options: Options,
    change: impl FnOnce(&mut Bundle),
) -> (Network, Bundle, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut listeners = Vec::new();
    let mut port = || {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        listeners.push(listener);
        port
    };
    let nodes = topology.nodes().map(|node| {
        let ports = Ports {
            grpc: port(),
            operations: port(),
            admin: (node.kind == NodeKind::Orderer).then(&mut port),
            chaincode: (node.kind == NodeKind::Peer).then(&mut port),
        };
        let placement = NodePlacement {
            host: "127.0.0.1".to_owned(),
            bind: [127, 0, 0, 1].into(),
            ports,
            extra_sans: Vec::new(),
            config_dir: directory.path().join(&node.name),
            data_dir: "data".into(),
            builder_dir: Path::new("/builder").to_owned(),
        };
        (node.name, placement)
    });
    let placement = Placement { nodes: nodes.collect(), chaincode_hosts: vec!["127.0.0.1".to_owned()] };
    let mut bundle = render(topology, &placement, &RenderOptions::new(options.release, validity())).unwrap();
    change(&mut bundle);
    let network = Network::start(&bundle, Options { listeners, ..options }).unwrap();
    (network, bundle, directory)
}

/// The genesis block of the first channel.
pub(crate) fn genesis(bundle: &Bundle) -> Block {
    Block::decode(&*bundle.channels[0].genesis_block).unwrap()
}

/// The configuration of the first channel.
pub(crate) fn config(bundle: &Bundle) -> ChannelConfig {
    ChannelConfig::from_block(&genesis(bundle)).unwrap()
}

/// The organization with this index among those with peers.
pub(crate) fn organization(bundle: &Bundle, index: usize) -> &OrganizationIdentities {
    &bundle.identities.peer_organizations[index]
}

/// An identity with its private key.
pub(crate) struct Member {
    pub(crate) creator: Vec<u8>,
    key: EcdsaKeyPair,
}

impl Member {
    pub(crate) fn new(credential: &Credential) -> Self {
        let (_, pem) = x509_parser::pem::parse_x509_pem(credential.private_key_pem.as_pem().as_bytes()).unwrap();
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pem.contents, &random).unwrap();
        let creator = SerializedIdentity {
            mspid: credential.msp_id.clone(),
            id_bytes: credential.certificate_pem.clone().into_bytes(),
        };
        Self { creator: creator.encode_to_vec(), key }
    }

    /// The administrator of the organization with this index.
    pub(crate) fn admin(bundle: &Bundle, index: usize) -> Self {
        Self::new(&organization(bundle, index).admin)
    }

    /// The first user of the organization with this index.
    pub(crate) fn user(bundle: &Bundle, index: usize) -> Self {
        Self::new(&organization(bundle, index).users[0])
    }

    /// The first peer of the organization with this index.
    pub(crate) fn peer(bundle: &Bundle, index: usize) -> Self {
        Self::new(&organization(bundle, index).nodes.values().next().unwrap().sign)
    }

    /// An orderer.
    pub(crate) fn orderer(bundle: &Bundle) -> Self {
        Self::new(&bundle.identities.orderer_organization.nodes.values().next().unwrap().sign)
    }

    /// Signs with a low S, as Fabric requires.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        crate::msp::low_s(&self.sign_as_is(message))
    }

    /// Signs without normalizing S.
    pub(crate) fn sign_as_is(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    pub(crate) fn signed(&self, message: &[u8]) -> SignedData {
        SignedData {
            message: message.to_vec().into(),
            identity: self.creator.clone().into(),
            signature: self.sign(message).into(),
        }
    }
}
