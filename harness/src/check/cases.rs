//! Cases as data: what is called, and what must come of it. Runs nothing.

use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// The cases of one chaincode, in the order in which they run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// The cases.
    #[serde(rename = "case")]
    pub cases: Vec<Case>,
}

/// One transaction, and what must come of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What holds when the case passes, as a sentence.
    pub name: String,
    /// Function and arguments of a transaction that is endorsed, ordered and committed.
    pub submit: Option<Vec<String>>,
    /// Function and arguments of a transaction that is only evaluated on one peer.
    pub evaluate: Option<Vec<String>>,
    /// The answer as JSON; an object may have further members.
    pub payload: Option<Value>,
    /// The answer as text, to the letter.
    pub payload_text: Option<String>,
    /// A text that the client's error must contain.
    pub error: Option<String>,
    /// The chaincode event that the commit must bring.
    pub event: Option<ExpectedEvent>,
    /// How many organizations must have endorsed.
    pub endorsed_by: Option<usize>,
    /// What is done before the call.
    pub after: Option<Before>,
    /// What the network must have for the case to mean anything. Default: nothing.
    #[serde(default)]
    pub needs: Needs,
}

/// A chaincode event as it must arrive.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedEvent {
    /// The event's name.
    pub name: String,
    /// Its payload as JSON; an object may have further members. Default: anything.
    pub payload: Option<Value>,
}

/// What a case does before its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Before {
    /// Stop the chaincode server and start it again at the same address.
    RestartChaincode,
}

/// What the network must have for a case to mean anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Needs {
    /// The smallest number of organizations. Default 0.
    pub organizations: usize,
}

/// How a case calls the chaincode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call<'a> {
    /// Endorse, order, commit.
    Submit(&'a [String]),
    /// Ask one peer.
    Evaluate(&'a [String]),
}

/// A file of cases that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CaseFileError {
    /// It can't be read.
    #[error("{file} can't be read")]
    Read {
        /// The file's name.
        file: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, or not of this form; the text gives line and column.
    #[error("{file}: {source}")]
    Syntax {
        /// The file's name.
        file: String,
        /// What is wrong, and where.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// There is nothing to check.
    #[error("{file} has no case; begin one with [[case]]")]
    Empty {
        /// The file's name.
        file: String,
    },
    /// A case contradicts itself.
    #[error("{file}: case[{index}] \"{name}\": {reason}")]
    Case {
        /// The file's name.
        file: String,
        /// Position of the case, from 0.
        index: usize,
        /// Name of the case.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl CaseFile {
    /// The cases of the asset-transfer chaincode.
    ///
    /// # Errors
    ///
    /// Never in a released build: the file is compiled in, and a test reads it.
    pub fn asset_transfer() -> Result<Self, CaseFileError> {
        Self::from_toml("asset-transfer.toml", include_str!("../../cases/asset-transfer.toml"))
    }

    /// Reads cases from a TOML file.
    ///
    /// # Errors
    ///
    /// When the file can't be read, and as [`from_toml`](Self::from_toml).
    pub fn read(path: &Path) -> Result<Self, CaseFileError> {
        let file = path.display().to_string();
        match crate::options::read_text(path) {
            Ok(text) => Self::from_toml(&file, &text),
            Err(source) => Err(CaseFileError::Read { file, source }),
        }
    }

    /// Reads cases from TOML text; `file` is named in errors.
    ///
    /// # Errors
    ///
    /// When the text is no TOML, has unknown fields, or a case contradicts itself.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, CaseFileError> {
        let cases: Self = toml::from_str(text)
            .map_err(|source| CaseFileError::Syntax { file: file.to_owned(), source: Box::new(source) })?;
        if cases.cases.is_empty() {
            return Err(CaseFileError::Empty { file: file.to_owned() });
        }
        for (index, case) in cases.cases.iter().enumerate() {
            case.validate().map_err(|reason| CaseFileError::Case {
                file: file.to_owned(),
                index,
                name: case.name.clone(),
                reason,
            })?;
        }
        Ok(cases)
    }
}

impl Call<'_> {
    /// Function and arguments.
    pub fn arguments(&self) -> &[String] {
        match self {
            Self::Submit(arguments) | Self::Evaluate(arguments) => arguments,
        }
    }
}

impl Case {
    /// What the case calls.
    pub fn call(&self) -> Call<'_> {
        match (&self.submit, &self.evaluate) {
            (Some(arguments), _) => Call::Submit(arguments),
            (None, arguments) => Call::Evaluate(arguments.as_deref().unwrap_or_default()),
        }
    }

    fn validate(&self) -> Result<(), &'static str> {
        let ((Some(arguments), None) | (None, Some(arguments))) = (&self.submit, &self.evaluate) else {
            return Err("give one of `submit` and `evaluate`");
        };
        if arguments.is_empty() {
            return Err("the first argument is the function's name; give it");
        }
        if self.payload.is_some() && self.payload_text.is_some() {
            return Err("give one of `payload` and `payload_text`");
        }
        let of_success = self.payload.is_some() || self.payload_text.is_some() || self.event.is_some();
        if self.error.is_some() && (of_success || self.endorsed_by.is_some()) {
            return Err("a call that must fail has no payload, event or endorsements");
        }
        if self.evaluate.is_some() && (self.event.is_some() || self.endorsed_by.is_some()) {
            return Err("only a submitted transaction has an event or endorsements; use `submit`");
        }
        Ok(())
    }
}

/// Compares JSON: an object may have members that were not expected, all else must be equal.
///
/// # Errors
///
/// The first difference, with its place in the value (`$[0].Owner`).
pub fn match_json(expected: &Value, seen: &Value) -> Result<(), String> {
    match_at("$", expected, seen)
}

fn match_at(place: &str, expected: &Value, seen: &Value) -> Result<(), String> {
    match (expected, seen) {
        (Value::Object(expected), Value::Object(seen)) => expected.iter().try_for_each(|(name, expected)| {
            let seen = seen.get(name).ok_or_else(|| format!("{place}.{name} is missing"))?;
            match_at(&format!("{place}.{name}"), expected, seen)
        }),
        (Value::Array(expected), Value::Array(seen)) => {
            if expected.len() != seen.len() {
                return Err(format!("{place} has {} elements, not {}", seen.len(), expected.len()));
            }
            let mut pairs = expected.iter().zip(seen).enumerate();
            pairs.try_for_each(|(index, (expected, seen))| match_at(&format!("{place}[{index}]"), expected, seen))
        }
        _ if expected == seen => Ok(()),
        _ => Err(format!("{place} is {seen}, not {expected}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_asset_transfer_cases_can_be_read() {
        let cases = CaseFile::asset_transfer().unwrap().cases;
        for function in [
            "InitLedger",
            "CreateAsset",
            "ReadAsset",
            "UpdateAsset",
            "DeleteAsset",
            "AssetExists",
            "TransferAsset",
            "GetAllAssets",
        ] {
            let called = |case: &Case| case.call().arguments()[0] == function;
            assert!(cases.iter().any(|case| called(case) && case.error.is_none()), "no case calls {function}");
        }
    }

    #[test]
    fn a_mistake_in_a_case_file_says_where() {
        let unknown =
            CaseFile::from_toml("my.toml", "[[case]]\nname = 'a'\nsubmitt = ['F']\n").unwrap_err().to_string();
        assert!(unknown.contains("my.toml") && unknown.contains("line 3") && unknown.contains("submitt"), "{unknown}");
        let both = "[[case]]\nname = 'a'\nsubmit = ['F']\nevaluate = ['F']\n";
        let both = CaseFile::from_toml("my.toml", both).unwrap_err().to_string();
        assert_eq!(both, "my.toml: case[0] \"a\": give one of `submit` and `evaluate`");
        let event = "[[case]]\nname = 'a'\nevaluate = ['F']\nevent = { name = 'E' }\n";
        assert!(CaseFile::from_toml("my.toml", event).unwrap_err().to_string().contains("use `submit`"));
    }

    #[test]
    fn json_matches_with_further_members_but_not_with_others() {
        let seen = json!([{ "ID": "a", "Size": 5, "Owner": "x" }]);
        assert_eq!(match_json(&json!([{ "ID": "a", "Size": 5 }]), &seen), Ok(()));
        assert_eq!(match_json(&json!([{ "Size": 6 }]), &seen).unwrap_err(), "$[0].Size is 5, not 6");
        assert_eq!(match_json(&json!([{ "Color": "b" }]), &seen).unwrap_err(), "$[0].Color is missing");
        assert_eq!(match_json(&json!([]), &seen).unwrap_err(), "$ has 1 elements, not 0");
        assert_eq!(
            match_json(&json!({}), &seen).unwrap_err(),
            "$ is [{\"ID\":\"a\",\"Owner\":\"x\",\"Size\":5}], not {}"
        );
    }
}
