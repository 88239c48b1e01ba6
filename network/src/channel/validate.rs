//! Finds input that Fabric would reject. Fabric often does so only when a node joins, with a message about its
//! code. Certificate chains are not verified.

use std::collections::BTreeSet;
use std::time::Duration;

use fabric_primitives::names;

use super::error::ChannelError;
use super::input::{ChannelInput, Consensus, ConsenterInput, HostPort, MspInput, OrderingInput};
use crate::topology::Batch;

/// Fabric's limit for names of groups, in bytes.
const LONGEST_NAME: usize = 249;

/// `SmartBFT` compares its default for the largest request with the batch before it reads the configured one
/// (`pkg/types/config.go`).
const SMALLEST_BFT_BATCH: u32 = 10 * 1024;

pub(super) fn validate(channel: &ChannelInput) -> Result<(), ChannelError> {
    names::channel(&channel.name)?;
    let ordering = &channel.ordering;
    let missing = |what| ChannelError::Missing { channel: channel.name.clone(), what };
    if channel.organizations.is_empty() {
        return Err(missing("organization with peers"));
    }
    if ordering.consenters.is_empty() {
        return Err(missing("consenter"));
    }
    if ordering.endpoints.is_empty() {
        return Err(missing("orderer endpoint"));
    }
    validate_organizations(channel)?;
    ordering.endpoints.iter().try_for_each(validate_address)?;
    ordering.consenters.iter().try_for_each(|consenter| validate_consenter(consenter, ordering.consensus))?;
    validate_distinct_consenters(ordering)?;
    match ordering.consensus {
        Consensus::Etcdraft { tick } => validate_time("tick", tick)?,
        Consensus::Bft if !channel.release.has_bft() => {
            return Err(ChannelError::Bft { release: channel.release });
        }
        Consensus::Bft => {}
    }
    validate_batch(&ordering.batch, ordering.consensus)
}

fn validate_organizations(channel: &ChannelInput) -> Result<(), ChannelError> {
    let mut names = BTreeSet::new();
    let mut msp_ids = BTreeSet::new();
    for organization in &channel.organizations {
        validate_organization(&organization.name, &organization.msp)?;
        organization.anchor_peers.iter().try_for_each(validate_address)?;
        unique(&mut names, "organization name", &organization.name)?;
        unique(&mut msp_ids, "MSP ID", &organization.msp.msp_id)?;
    }
    validate_organization(&channel.ordering.name, &channel.ordering.msp)?;
    unique(&mut msp_ids, "MSP ID", &channel.ordering.msp.msp_id)
}

fn validate_organization(name: &str, msp: &MspInput) -> Result<(), ChannelError> {
    if !is_group_name(name) {
        return Err(ChannelError::OrganizationName { name: name.to_owned() });
    }
    if msp.msp_id.is_empty() {
        return Err(ChannelError::MspId { organization: name.to_owned() });
    }
    validate_pem(&msp.msp_id, "CA certificate", &msp.ca_certificate_pem)?;
    validate_pem(&msp.msp_id, "TLS CA certificate", &msp.tls_ca_certificate_pem)
}

fn validate_consenter(consenter: &ConsenterInput, consensus: Consensus) -> Result<(), ChannelError> {
    validate_address(&consenter.address)?;
    let owner = consenter.address.to_string();
    validate_pem(&owner, "client TLS certificate", &consenter.client_tls_certificate_pem)?;
    validate_pem(&owner, "server TLS certificate", &consenter.server_tls_certificate_pem)?;
    if consensus == Consensus::Bft {
        validate_pem(&owner, "identity certificate", &consenter.identity_certificate_pem)?;
    }
    Ok(())
}

/// A consenter is identified by its certificates, so two cannot share one.
fn validate_distinct_consenters(ordering: &OrderingInput) -> Result<(), ChannelError> {
    let mut client_certificates = BTreeSet::new();
    let mut server_certificates = BTreeSet::new();
    let mut identities = BTreeSet::new();
    for consenter in &ordering.consenters {
        let duplicate = |what| ChannelError::Duplicate { what, value: consenter.address.to_string() };
        if !client_certificates.insert(&consenter.client_tls_certificate_pem) {
            return Err(duplicate("client TLS certificate of consenter"));
        }
        if !server_certificates.insert(&consenter.server_tls_certificate_pem) {
            return Err(duplicate("server TLS certificate of consenter"));
        }
        if ordering.consensus == Consensus::Bft && !identities.insert(&consenter.identity_certificate_pem) {
            return Err(duplicate("identity certificate of consenter"));
        }
    }
    Ok(())
}

fn validate_batch(batch: &Batch, consensus: Consensus) -> Result<(), ChannelError> {
    let error = |given: String, rule| Err(ChannelError::Batch { given, rule });
    validate_time("batch timeout", batch.timeout)?;
    if batch.max_messages == 0 {
        return error("0 messages".to_owned(), "allow at least one");
    }
    if batch.preferred_max_bytes == 0 {
        return error("0 preferred bytes".to_owned(), "allow at least one");
    }
    if batch.absolute_max_bytes < batch.preferred_max_bytes {
        return error(
            format!("{} absolute bytes", batch.absolute_max_bytes),
            "allow no fewer than the preferred bytes",
        );
    }
    if consensus == Consensus::Bft && batch.absolute_max_bytes < SMALLEST_BFT_BATCH {
        return error(format!("{} absolute bytes", batch.absolute_max_bytes), "allow at least 10 KB with BFT");
    }
    if consensus == Consensus::Bft && batch.absolute_max_bytes < batch.max_messages {
        return error(format!("{} messages", batch.max_messages), "allow no more than the absolute bytes with BFT");
    }
    Ok(())
}

fn validate_time(what: &'static str, given: Duration) -> Result<(), ChannelError> {
    if given.is_zero() || i64::try_from(given.as_nanos()).is_err() {
        return Err(ChannelError::Time { what, given });
    }
    Ok(())
}

fn validate_address(address: &HostPort) -> Result<(), ChannelError> {
    if address.host.is_empty() || address.port == 0 {
        return Err(ChannelError::Address { address: address.clone() });
    }
    Ok(())
}

fn validate_pem(owner: &str, what: &'static str, text: &str) -> Result<(), ChannelError> {
    let text = text.trim();
    if text.starts_with("-----BEGIN CERTIFICATE-----") && text.ends_with("-----END CERTIFICATE-----") {
        return Ok(());
    }
    Err(ChannelError::NotPem { owner: owner.to_owned(), what })
}

fn unique<'a>(seen: &mut BTreeSet<&'a str>, what: &'static str, value: &'a str) -> Result<(), ChannelError> {
    if seen.insert(value) {
        return Ok(());
    }
    Err(ChannelError::Duplicate { what, value: value.to_owned() })
}

fn is_group_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}
