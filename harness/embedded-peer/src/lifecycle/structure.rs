//! Structures in the state, with one key per field (`core/chaincode/lifecycle/serializer.go`).
//!
//! Only changed fields are written, to minimize conflicts. The order of fields and every byte
//! matter: organizations compare hashes of them.

use fabric_protos::lifecycle::state_data::Type;
use fabric_protos::lifecycle::{StateData, StateMetadata};
use prost::Message;
use ring::digest::{SHA256, digest};

use super::store::{Hashes, Reads, Writes};

/// A structure to write or compare: its datatype and its fields in order.
pub(super) struct Structure {
    pub(super) kind: &'static str,
    pub(super) fields: Vec<(&'static str, Type)>,
}

impl Structure {
    fn metadata(&self) -> StateMetadata {
        StateMetadata {
            datatype: self.kind.to_owned(),
            fields: self.fields.iter().map(|(name, _)| (*name).to_owned()).collect(),
        }
    }
}

/// A bytes field that holds an encoded message.
pub(super) fn message(message: &impl Message) -> Type {
    Type::Bytes(message.encode_to_vec())
}

/// The location of a structure: `namespaces` or `chaincode-sources`, and its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) namespace: &'static str,
    pub(super) name: &'a str,
}

impl Place<'_> {
    pub(super) fn metadata_key(self) -> String {
        format!("{}/metadata/{}", self.namespace, self.name)
    }

    pub(super) fn field_key(self, field: &str) -> String {
        format!("{}/fields/{}/{field}", self.namespace, self.name)
    }

    fn text(self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The stored metadata of the structure, if it exists.
    pub(super) fn metadata(self, state: &mut impl Reads) -> Result<Option<StateMetadata>, String> {
        let value = state
            .get(&self.metadata_key())
            .map_err(|cause| format!("could not query metadata for namespace {}: {cause}", self.text()))?;
        let Some(value) = value else { return Ok(None) };
        let metadata = StateMetadata::decode(value)
            .map_err(|error| format!("could not unmarshal metadata for namespace {}: {error}", self.text()))?;
        Ok(Some(metadata))
    }

    /// Writes the changed fields, writes the metadata if it changed, and deletes obsolete fields.
    pub(super) fn write(self, structure: &Structure, state: &mut impl Writes) -> Result<(), String> {
        let text = self.text();
        let metadata = self
            .metadata(state)
            .map_err(|cause| format!("could not deserialize metadata for namespace {text}: {cause}"))?
            .unwrap_or_default();
        let mut existing = Vec::new();
        for field in &metadata.fields {
            let key = self.field_key(field);
            let value = state.get(&key).map_err(|cause| format!("could not get value for key {key}: {cause}"))?;
            existing.push((key, value.unwrap_or_default()));
        }
        for (name, data) in &structure.fields {
            let key = self.field_key(name);
            let value = encode(data);
            let old = existing.iter().position(|(known, _)| *known == key).map(|index| existing.swap_remove(index).1);
            if old.is_none_or(|old| old != value) {
                state.put(&key, value).map_err(|cause| format!("could not write key into state: {cause}"))?;
            }
        }
        let wanted = structure.metadata();
        if !existing.is_empty() || wanted.datatype != metadata.datatype || wanted.fields.len() != metadata.fields.len()
        {
            state
                .put(&self.metadata_key(), wanted.encode_to_vec())
                .map_err(|cause| format!("could not store metadata for namespace {text}: {cause}"))?;
        }
        for (key, _) in existing {
            state.delete(&key).map_err(|cause| format!("could not delete unneeded key {key}: {cause}"))?;
        }
        Ok(())
    }

    /// Compares a structure with stored hashes: returns nothing, its datatype, or the names of
    /// differing fields.
    pub(super) fn mismatches(self, structure: &Structure, state: &mut impl Hashes) -> Result<Vec<String>, String> {
        let mut get =
            |key: String| state.hash(&key).map_err(|cause| format!("could not get value for key {key}: {cause}"));
        let metadata_hash = get(self.metadata_key())?;
        let mut hashes = Vec::new();
        for (name, _) in &structure.fields {
            hashes.push(get(self.field_key(name))?);
        }
        let matches =
            |hash: &Option<bytes::Bytes>, value: &[u8]| hash.as_deref() == Some(digest(&SHA256, value).as_ref());
        if !matches(&metadata_hash, &structure.metadata().encode_to_vec()) {
            return Ok(vec![structure.kind.to_owned()]);
        }
        let fields = structure.fields.iter().zip(&hashes);
        let wrong = fields.filter(|((_, data), hash)| !matches(hash, &encode(data)));
        Ok(wrong.map(|((name, _), _)| (*name).to_owned()).collect())
    }

    /// Whether the stored datatype, by hash, is that of `structure`.
    pub(super) fn has_kind(self, structure: &Structure, state: &mut impl Hashes) -> Result<bool, String> {
        let key = self.metadata_key();
        let hash =
            state.hash(&key).map_err(|cause| format!("could not get state hash for metadata key {key}: {cause}"))?;
        let wanted = digest(&SHA256, &structure.metadata().encode_to_vec());
        Ok(hash.as_deref() == Some(wanted.as_ref()))
    }

    pub(super) fn integer(self, field: &str, state: &mut impl Reads) -> Result<i64, String> {
        match self.field(field, state)? {
            None => Ok(0),
            Some(Type::Int64(number)) => Ok(number),
            Some(other) => Err(format!(
                "expected key {} to encode a value of type Int64, but was {}",
                self.field_key(field),
                kind(&other)
            )),
        }
    }

    pub(super) fn string(self, field: &str, state: &mut impl Reads) -> Result<String, String> {
        match self.field(field, state)? {
            None => Ok(String::new()),
            Some(Type::String(text)) => Ok(text),
            Some(other) => Err(format!(
                "expected key {}/fields/{}/{field} to encode a value of type String, but was {}",
                self.namespace,
                self.name,
                kind(&other)
            )),
        }
    }

    pub(super) fn message<M: Message + Default>(self, field: &str, state: &mut impl Reads) -> Result<M, String> {
        let bytes = match self.field(field, state)? {
            None => Vec::new(),
            Some(Type::Bytes(bytes)) => bytes,
            Some(other) => {
                let key = self.field_key(field);
                return Err(format!("expected key {key} to encode a value of type []byte, but was {}", kind(&other)));
            }
        };
        M::decode(&*bytes).map_err(|error| format!("could not unmarshal key {}: {error}", self.field_key(field)))
    }

    fn field(self, field: &str, state: &mut impl Reads) -> Result<Option<Type>, String> {
        let key = self.field_key(field);
        let value = state.get(&key).map_err(|cause| format!("could not get state for key {key}: {cause}"))?;
        let data = StateData::decode(value.unwrap_or_default())
            .map_err(|error| format!("could not unmarshal state for key {key}: {error}"))?;
        Ok(data.r#type)
    }
}

/// The name and metadata of every structure of a namespace.
pub(super) fn all(namespace: &str, state: &mut impl Reads) -> Result<Vec<(String, StateMetadata)>, String> {
    let prefix = format!("{namespace}/metadata/");
    let found = state
        .range(&prefix)
        .map_err(|cause| format!("could not get state range for namespace {namespace}: {cause}"))?;
    let decode = |(key, value): (String, bytes::Bytes)| {
        let metadata = StateMetadata::decode(value)
            .map_err(|error| format!("error unmarshalling metadata for key {key}: {error}"))?;
        Ok((key[prefix.len()..].to_owned(), metadata))
    };
    found.into_iter().map(decode).collect()
}

/// A field in its stored encoding.
pub(super) fn encode(data: &Type) -> Vec<u8> {
    StateData { r#type: Some(data.clone()) }.encode_to_vec()
}

/// The field's type as printed by Go.
fn kind(data: &Type) -> &'static str {
    match data {
        Type::Int64(_) => "*lifecycle.StateData_Int64",
        Type::Bytes(_) => "*lifecycle.StateData_Bytes",
        Type::String(_) => "*lifecycle.StateData_String_",
    }
}
