//! The input of genesis blocks, from topology, placement and identities. The configuration is built in `channel`.

use crate::bundle::ChannelArtifact;
use crate::channel::{
    self, ChannelInput, ConsenterInput, HostPort, MspInput, OrderingInput, OrganizationInput, default_acls,
};
use crate::identity::{self, Identities, IdentityError, OrganizationIdentities};
use crate::placement::Placement;
use crate::topology::{Channel, Consensus, Topology};

use super::{RenderError, RenderOptions};

/// The input of every channel.
pub(super) struct Source<'a> {
    pub(super) topology: &'a Topology,
    pub(super) placement: &'a Placement,
    pub(super) identities: &'a Identities,
    pub(super) options: &'a RenderOptions,
}

impl Source<'_> {
    /// Every channel of the topology.
    pub(super) fn channels(&self) -> Result<Vec<ChannelArtifact>, RenderError> {
        self.topology
            .channels
            .iter()
            .map(|channel| {
                let genesis_block = channel::genesis_block(&self.input(channel)?)
                    .map_err(|source| RenderError::Channel { name: channel.name.clone(), source })?;
                Ok(ChannelArtifact { name: channel.name.clone(), genesis_block })
            })
            .collect()
    }

    fn input(&self, channel: &Channel) -> Result<ChannelInput, RenderError> {
        let organizations = self
            .topology
            .organizations
            .iter()
            .zip(&self.identities.peer_organizations)
            .filter(|(organization, _)| channel.has(organization))
            .map(|(organization, identities)| {
                // One anchor peer is enough to find the others by gossip.
                let anchor = organization.peer_names().next();
                Ok(OrganizationInput {
                    name: organization.name.clone(),
                    msp: msp(identities),
                    anchor_peers: anchor.map(|name| self.address(&name)).into_iter().collect::<Result<_, _>>()?,
                })
            })
            .collect::<Result<_, IdentityError>>()?;
        Ok(ChannelInput {
            name: channel.name.clone(),
            // Existing identities must give the same block again.
            created: identity::not_before(&self.identities.orderer_organization.ca_pem)
                .unwrap_or(self.options.validity.not_before),
            release: self.options.release,
            organizations,
            ordering: self.ordering()?,
            endorsement: channel.endorsement,
            acls: default_acls(),
        })
    }

    fn ordering(&self) -> Result<OrderingInput, IdentityError> {
        let ordering = &self.topology.ordering;
        let identities = &self.identities.orderer_organization;
        let consenters = ordering
            .orderer_names()
            .map(|name| {
                let node =
                    identities.nodes.get(&name).ok_or_else(|| IdentityError::NotPlaced { name: name.clone() })?;
                Ok(ConsenterInput {
                    address: self.address(&name)?,
                    client_tls_certificate_pem: node.tls.certificate_pem.clone(),
                    server_tls_certificate_pem: node.tls.certificate_pem.clone(),
                    identity_certificate_pem: node.sign.certificate_pem.clone(),
                })
            })
            .collect::<Result<Vec<_>, IdentityError>>()?;
        Ok(OrderingInput {
            name: ordering.name.clone(),
            msp: msp(identities),
            endpoints: consenters.iter().map(|consenter| consenter.address.clone()).collect(),
            consensus: match ordering.consensus {
                Consensus::Etcdraft => channel::Consensus::Etcdraft { tick: ordering.tick },
                Consensus::Bft => channel::Consensus::Bft,
            },
            consenters,
            batch: ordering.batch.clone(),
        })
    }

    fn address(&self, name: &str) -> Result<HostPort, IdentityError> {
        let at = self.placement.nodes.get(name).ok_or_else(|| IdentityError::NotPlaced { name: name.to_owned() })?;
        Ok(HostPort { host: at.host.clone(), port: at.ports.grpc })
    }
}

fn msp(identities: &OrganizationIdentities) -> MspInput {
    MspInput {
        msp_id: identities.msp_id.clone(),
        ca_certificate_pem: identities.ca_pem.clone(),
        tls_ca_certificate_pem: identities.tls_ca_pem.clone(),
    }
}
