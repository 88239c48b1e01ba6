//! The metadata of a chaincode: the result of `org.hyperledger.fabric:GetMetadata`, in the format of
//! Fabric's contract APIs (`metadata/schema/schema.json` of fabric-contract-api-go).

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::{Contract, Intent, Signature};

/// The name of the system contract, which every chaincode has.
pub(super) const SYSTEM: &str = "org.hyperledger.fabric";

/// The only function of the system contract.
pub(super) const GET_METADATA: &str = "GetMetadata";

/// The metadata of a chaincode with these contracts. The first one is the default.
pub(super) fn metadata(contracts: &[Contract]) -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = SchemaGenerator::new(settings);
    let mut described: BTreeMap<&str, Value> = contracts
        .iter()
        .enumerate()
        .map(|(position, contract)| (contract.name.as_str(), self::contract(contract, position == 0, &mut generator)))
        .collect();
    let returns = generator.subschema_for::<String>();
    let signature = Signature { parameters: Vec::new(), returns: Some(returns) };
    let system = json!({
        "info": { "title": SYSTEM, "version": "latest" },
        "name": SYSTEM,
        "transactions": [transaction(GET_METADATA, Intent::Evaluate, &signature, &[])],
        "default": false,
    });
    described.insert(SYSTEM, system);
    let schemas: BTreeMap<String, Value> = generator
        .take_definitions(true)
        .into_iter()
        .map(|(name, mut schema)| {
            if let Value::Object(members) = &mut schema {
                members.insert("$id".to_owned(), Value::String(name.clone()));
            }
            (name, schema)
        })
        .collect();
    let (title, version) = contracts.first().map_or(("", ""), |contract| (&*contract.name, &*contract.version));
    json!({
        "info": { "title": title, "version": version },
        "contracts": described,
        "components": { "schemas": schemas },
    })
}

fn contract(contract: &Contract, is_default: bool, generator: &mut SchemaGenerator) -> Value {
    let transactions: Vec<_> = contract
        .functions
        .iter()
        .map(|(name, entry)| transaction(name, entry.intent, &(entry.signature)(generator), &entry.parameters))
        .collect();
    json!({
        "info": { "title": contract.name, "version": contract.version },
        "name": contract.name,
        "transactions": transactions,
        "default": is_default,
    })
}

fn transaction(name: &str, intent: Intent, signature: &Signature, names: &[String]) -> Value {
    let tag = match intent {
        Intent::Submit => ["submit", "SUBMIT"],
        Intent::Evaluate => ["evaluate", "EVALUATE"],
    };
    let parameter = |(position, schema): (usize, &Schema)| {
        let name = names.get(position).cloned().unwrap_or_else(|| format!("param{position}"));
        json!({ "name": name, "schema": schema })
    };
    let mut transaction = json!({ "name": name, "tag": tag });
    if let Value::Object(members) = &mut transaction {
        if !signature.parameters.is_empty() {
            let parameters = signature.parameters.iter().enumerate().map(parameter).collect();
            members.insert("parameters".to_owned(), Value::Array(parameters));
        }
        if let Some(returns) = &signature.returns {
            members.insert("returns".to_owned(), json!(returns));
        }
    }
    transaction
}
