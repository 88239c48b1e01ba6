//! A definition from the view of one peer: whether its organization approved it, and the package to
//! run (`core/chaincode/lifecycle/cache.go`, `endorsement_info.go`).

use fabric_protos::lifecycle::state_data::Type;
use ring::digest::{SHA256, digest};

use super::definition::{Definition, definition, place};
use super::implicit_collection;
use super::store::{CommittedHashes, Hashes, Public};
use super::structure::{Place, Structure, encode};
use crate::ledger::{Simulation, StateView};

/// The state prefix of chaincode sources.
pub(super) const SOURCES: &str = "chaincode-sources";

/// A definition from the view of one organization.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalDefinition {
    /// The committed definition.
    pub definition: Definition,
    /// Whether the organization approved this definition.
    pub approved: bool,
    /// The approved package, if it is installed.
    pub package_id: Option<String>,
}

/// The properties of a chaincode that endorsement needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndorsementInfo {
    /// The version of the definition.
    pub version: String,
    /// Whether the chaincode requires initialization.
    pub init_required: bool,
    /// The package to run.
    pub package_id: String,
    /// The endorsement plugin, `escc`.
    pub endorsement_plugin: String,
}

/// The name of an approval or a source.
pub(super) fn private_name(chaincode: &str, sequence: i64) -> String {
    format!("{chaincode}#{sequence}")
}

/// A source that refers to an installed package.
pub(super) fn local_package(package_id: &str) -> Structure {
    Structure { kind: "ChaincodeLocalPackage", fields: vec![("PackageID", Type::String(package_id.to_owned()))] }
}

/// The committed definition of a chaincode from the view of an organization. `installed` are the
/// IDs of the peer's packages.
pub fn local_definition<'a>(
    view: &StateView,
    chaincode: &str,
    msp_id: &str,
    installed: impl IntoIterator<Item = &'a str>,
) -> Option<LocalDefinition> {
    let definition = definition(view, chaincode)?;
    let collection = implicit_collection(msp_id);
    let mut hashes = CommittedHashes { view, collection: &collection };
    let name = private_name(chaincode, definition.sequence);
    let approved = place(&name).mismatches(&definition.parameters(), &mut hashes);
    let approved = approved.is_ok_and(|mismatches| mismatches.is_empty());
    let package_id = if approved { source(&name, &mut hashes, installed) } else { None };
    Some(LocalDefinition { definition, approved, package_id })
}

/// The approved package, found by the hash of its ID.
fn source<'a>(name: &str, hashes: &mut impl Hashes, installed: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let source = Place { namespace: SOURCES, name };
    if !source.has_kind(&local_package(""), hashes).ok()? {
        return None;
    }
    let hash = hashes.hash(&source.field_key("PackageID")).ok()??;
    let is_it =
        |package_id: &&str| digest(&SHA256, &encode(&Type::String((*package_id).to_owned()))).as_ref() == &*hash;
    installed.into_iter().find(is_it).map(ToOwned::to_owned)
}

/// The properties of a chaincode that a transaction is about to run. The definition's sequence is
/// recorded as read, so that the transaction fails if the definition changes before it commits.
///
/// # Errors
///
/// Fabric's text if the chaincode is not defined, not approved or not installed.
pub fn endorsement_info<'a>(
    simulation: &mut Simulation,
    channel: &str,
    chaincode: &str,
    msp_id: &str,
    installed: impl IntoIterator<Item = &'a str>,
) -> Result<EndorsementInfo, String> {
    let sequence = place(chaincode).integer("Sequence", &mut Public(simulation)).map_err(|cause| {
        format!("could not get current sequence for chaincode '{chaincode}' on channel '{channel}': {cause}")
    })?;
    if sequence == 0 {
        // Fabric looks for a legacy chaincode, which records a read.
        let _ = simulation.get_state("lscc", chaincode).map_err(|error| error.to_string())?;
        return Err(format!("chaincode {chaincode} not found"));
    }
    let view = simulation.state().clone();
    let local = local_definition(&view, chaincode, msp_id, installed)
        .ok_or_else(|| format!("chaincode {chaincode} not found"))?;
    if !local.approved {
        return Err(format!(
            "chaincode definition for '{chaincode}' at sequence {sequence} on channel '{channel}' has not yet been approved by this org"
        ));
    }
    let package_id = local
        .package_id
        .ok_or_else(|| format!("chaincode definition for '{chaincode}' exists, but chaincode is not installed"))?;
    Ok(EndorsementInfo {
        version: local.definition.version,
        init_required: local.definition.init_required,
        package_id,
        endorsement_plugin: local.definition.endorsement_plugin,
    })
}
