//! Chaincode definitions: their storage in the state, and the functions of `_lifecycle`.
//!
//! Keys, encodings and texts are Fabric's (`core/chaincode/lifecycle`), so that hashes of approvals
//! match those of real peers. Installed packages are accessed with the trait [`Packages`].
//! Chaincodes of Fabric 1.x (`lscc`) are not supported.

mod approval;
mod check;
mod collections;
mod definition;
mod functions;
mod local;
mod store;
mod structure;

pub use self::collections::{
    ChannelCollections, IMPLICIT_PREFIX, StateRules, collection, collection_endorsement, collections,
    implicit_collection, implicit_organization, is_member,
};
pub use self::definition::{Definition, definition, definitions, read_definition};
pub use self::functions::{
    Failure, InstalledPackage, LifecycleContext, PackageFailure, Packages, install_arguments, install_result, invoke,
};
pub use self::local::{EndorsementInfo, LocalDefinition, endorsement_info, local_definition};

use fabric_protos::common::msp_role::MspRoleType;

use crate::config::{ChannelConfig, LIFECYCLE_ENDORSEMENT};
use crate::policy::{from_signature_policy, n_of_roles, reference};

/// The namespace of definitions, and the name of the system chaincode.
pub const NAMESPACE: &str = "_lifecycle";

/// The encoded `ApplicationPolicy` for transactions of `_lifecycle` itself: the channel's
/// `LifecycleEndorsement`, else members of a majority of organizations.
pub fn endorsement_policy(config: &ChannelConfig) -> Vec<u8> {
    if config.policies().get(LIFECYCLE_ENDORSEMENT).is_some() {
        return reference(LIFECYCLE_ENDORSEMENT);
    }
    let msp_ids: Vec<_> = config.organizations().iter().map(|organization| &*organization.msp_id).collect();
    from_signature_policy(n_of_roles(msp_ids.len() / 2 + 1, MspRoleType::Member, &msp_ids))
}

#[cfg(test)]
mod tests;
