//! Certificate chains, from an identity to a root.
//!
//! The rules are those of Go's x509 with Fabric's options (`msp/mspimpl.go`): the verification time is one second
//! after the certificate's start, so that nothing is expired, and there must be exactly one chain.

use std::sync::Arc;

use super::certificate::{Certificate, Obstacle};

/// The maximum length of a chain, against malicious certificates.
const LONGEST: usize = 10;

/// Why there is no chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// No authority of the MSP signed it.
    #[error("the supplied identity is not valid: x509: certificate signed by unknown authority")]
    Unknown,
    /// An unknown critical extension.
    #[error("the supplied identity is not valid: x509: unhandled critical extension")]
    Critical,
    /// More than one chain leads to a root.
    #[error("this MSP only supports a single validation chain, got {0}")]
    Ambiguous(usize),
}

/// The authorities of an MSP.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    pub(super) roots: Vec<Arc<Certificate>>,
    pub(super) intermediates: Vec<Arc<Certificate>>,
}

impl Authorities {
    /// The authorities of `certificate` up to the root, nearest first; empty for a root.
    pub(super) fn chain(&self, certificate: &Certificate) -> Result<Vec<Arc<Certificate>>, ChainError> {
        if certificate.obstacle == Some(Obstacle::Critical) {
            return Err(ChainError::Critical);
        }
        if self.roots.iter().any(|root| root.der == certificate.der) {
            return Ok(Vec::new());
        }
        let time = certificate.not_before.saturating_add(1);
        let mut chains = Vec::new();
        if certificate.obstacle.is_none() && time <= certificate.not_after {
            self.extend(certificate, &mut Vec::new(), time, &mut chains);
        }
        match chains.len() {
            0 => Err(ChainError::Unknown),
            1 => Ok(chains.swap_remove(0)),
            many => Err(ChainError::Ambiguous(many)),
        }
    }

    fn extend(
        &self,
        certificate: &Certificate,
        above: &mut Vec<Arc<Certificate>>,
        time: i64,
        chains: &mut Vec<Vec<Arc<Certificate>>>,
    ) {
        if above.len() >= LONGEST || chains.len() > 1 {
            return;
        }
        let fits = |authority: &&Arc<Certificate>| {
            authority.subject == certificate.issuer && may_stand(authority, above, time) && {
                let known = above.iter().any(|other| other.der == authority.der);
                !known && authority.der != certificate.der && certificate.is_signed_by(authority)
            }
        };
        let roots: Vec<_> = self.roots.iter().filter(fits).cloned().collect();
        let intermediates: Vec<_> = self.intermediates.iter().filter(fits).cloned().collect();
        for root in roots {
            let mut chain = above.clone();
            chain.push(root);
            chains.push(chain);
        }
        for intermediate in intermediates {
            above.push(intermediate.clone());
            self.extend(&intermediate, above, time, chains);
            above.pop();
        }
    }
}

/// Whether an authority may extend a chain.
fn may_stand(authority: &Certificate, above: &[Arc<Certificate>], time: i64) -> bool {
    let below = u32::try_from(above.len()).unwrap_or(u32::MAX);
    authority.is_ca
        && authority.may_issue
        && authority.obstacle.is_none()
        && (authority.not_before..=authority.not_after).contains(&time)
        && authority.path_length.is_none_or(|longest| below <= longest)
}
