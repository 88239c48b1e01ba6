//! Chaincode definitions in the state.

use fabric_protos::lifecycle::state_data::Type;
use fabric_protos::lifecycle::{ChaincodeEndorsementInfo, ChaincodeValidationInfo};
use fabric_protos::protos::CollectionConfigPackage;

use super::NAMESPACE;
use super::store::{Committed, Public, Reads};
use super::structure::{Place, Structure, all, message};
use crate::ledger::{Simulation, StateView};

/// The state prefix of definitions.
pub(super) const NAMESPACES: &str = "namespaces";
/// The datatype of a committed definition.
const DEFINITION: &str = "ChaincodeDefinition";
/// The datatype of an organization's approved parameters.
pub(super) const PARAMETERS: &str = "ChaincodeParameters";

/// A committed chaincode definition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definition {
    /// The sequence number, from 1.
    pub sequence: i64,
    /// The version, which Fabric does not interpret.
    pub version: String,
    /// The endorsement plugin, `escc`.
    pub endorsement_plugin: String,
    /// The validation plugin, `vscc`.
    pub validation_plugin: String,
    /// The endorsement policy, an encoded `ApplicationPolicy`.
    pub validation_parameter: Vec<u8>,
    /// The private data collections.
    pub collections: CollectionConfigPackage,
    /// Whether the chaincode requires initialization.
    pub init_required: bool,
}

impl Definition {
    /// Builds a definition from its parts in the state.
    pub(super) fn from_parts(
        sequence: i64,
        endorsement: ChaincodeEndorsementInfo,
        validation: ChaincodeValidationInfo,
        collections: CollectionConfigPackage,
    ) -> Self {
        Self {
            sequence,
            version: endorsement.version,
            endorsement_plugin: endorsement.endorsement_plugin,
            validation_plugin: validation.validation_plugin,
            validation_parameter: validation.validation_parameter,
            collections,
            init_required: endorsement.init_required,
        }
    }

    fn parts(&self) -> Vec<(&'static str, Type)> {
        let endorsement = ChaincodeEndorsementInfo {
            version: self.version.clone(),
            init_required: self.init_required,
            endorsement_plugin: self.endorsement_plugin.clone(),
        };
        let validation = ChaincodeValidationInfo {
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter: self.validation_parameter.clone(),
        };
        vec![
            ("EndorsementInfo", message(&endorsement)),
            ("ValidationInfo", message(&validation)),
            ("Collections", message(&self.collections)),
        ]
    }

    /// The structure that a commit writes.
    pub(super) fn structure(&self) -> Structure {
        let mut fields = vec![("Sequence", Type::Int64(self.sequence))];
        fields.extend(self.parts());
        Structure { kind: DEFINITION, fields }
    }

    /// The structure that an approval writes: the sequence is in the name.
    pub(super) fn parameters(&self) -> Structure {
        Structure { kind: PARAMETERS, fields: self.parts() }
    }

    /// Reads a structure of this datatype; the sequence is 0 if it has none.
    pub(super) fn read(place: Place<'_>, expected: &str, found: &str, state: &mut impl Reads) -> Result<Self, String> {
        if expected != found {
            return Err(format!("type name mismatch '{expected}' != '{found}'"));
        }
        let sequence = if expected == DEFINITION { place.integer("Sequence", state)? } else { 0 };
        let endorsement = place.message("EndorsementInfo", state)?;
        let validation = place.message("ValidationInfo", state)?;
        Ok(Self::from_parts(sequence, endorsement, validation, place.message("Collections", state)?))
    }
}

/// The location of a definition.
pub(super) fn place(name: &str) -> Place<'_> {
    Place { namespace: NAMESPACES, name }
}

/// The committed definition of a chaincode, if any. `_lifecycle` itself has an empty one.
pub(super) fn if_defined(chaincode: &str, state: &mut impl Reads) -> Result<Option<Definition>, String> {
    if chaincode == NAMESPACE {
        return Ok(Some(Definition::default()));
    }
    let place = place(chaincode);
    let metadata = place
        .metadata(state)
        .map_err(|cause| format!("could not deserialize metadata for chaincode {chaincode}: {cause}"))?;
    let Some(metadata) = metadata else { return Ok(None) };
    if metadata.datatype != DEFINITION {
        return Err(format!("not a chaincode type: {}", metadata.datatype));
    }
    let definition = Definition::read(place, DEFINITION, &metadata.datatype, state)
        .map_err(|cause| format!("could not deserialize chaincode definition for chaincode {chaincode}: {cause}"))?;
    Ok(Some(definition))
}

/// A definition for queries: `Ok(None)` if the chaincode is not defined.
pub(super) fn query(chaincode: &str, state: &mut impl Reads) -> Result<Option<Definition>, String> {
    let place = place(chaincode);
    let metadata = place
        .metadata(state)
        .map_err(|cause| format!("could not fetch metadata for namespace {chaincode}: {cause}"))?;
    let Some(metadata) = metadata else { return Ok(None) };
    let definition = Definition::read(place, DEFINITION, &metadata.datatype, state)
        .map_err(|cause| format!("could not deserialize namespace {chaincode} as chaincode: {cause}"))?;
    Ok(Some(definition))
}

/// The names of committed chaincodes, in order.
pub(super) fn names(state: &mut impl Reads) -> Result<Vec<String>, String> {
    let found = all(NAMESPACES, state).map_err(|cause| format!("could not query namespace metadata: {cause}"))?;
    Ok(found.into_iter().filter(|(_, metadata)| metadata.datatype == DEFINITION).map(|(name, _)| name).collect())
}

/// The definition of a chaincode in a state. `None` if it is missing or cannot be decoded.
pub fn definition(view: &StateView, chaincode: &str) -> Option<Definition> {
    if_defined(chaincode, &mut Committed(view)).ok().flatten()
}

/// The definition of a chaincode, recorded as read by the transaction.
///
/// # Errors
///
/// Fabric's text if the stored definition cannot be decoded.
pub fn read_definition(simulation: &mut Simulation, chaincode: &str) -> Result<Option<Definition>, String> {
    if_defined(chaincode, &mut Public(simulation))
}

/// All definitions in a state, by name.
pub fn definitions(view: &StateView) -> Vec<(String, Definition)> {
    let names = names(&mut Committed(view)).unwrap_or_default();
    names.into_iter().filter_map(|name| Some((definition(view, &name)?, name))).map(|(one, name)| (name, one)).collect()
}
