//! Cases as data: what is called, and what must come of it. Runs nothing.
//!
//! A case file is TOML, for a chaincode in any language. Only `[[case]]` with `name`, one of `submit`
//! and `evaluate`, is required. A mistake is told with its line and column before anything is
//! started. Every field there is:
//!
#![doc = concat!("```toml\n", include_str!("../../cases/reference.toml"), "```")]

use super::data::{Base64, Data, Json};
use super::definition::{ChaincodeSection, Collections};
use crate::options::read_text;
use fabric_protos::protos::TxValidationCode;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

/// The cases of one chaincode, in the order in which they run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CaseFile {
    /// What is committed.
    pub chaincode: ChaincodeSection,
    /// The cases.
    pub cases: Vec<Case>,
}

/// The file as it is written, with the places of its cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    #[serde(default)]
    chaincode: ChaincodeSection,
    #[serde(rename = "case", default)]
    cases: Vec<toml::Spanned<Case>>,
}

/// One transaction, and what must come of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What holds when the case passes, as a sentence.
    pub name: String,
    /// Function and arguments of a transaction that is endorsed, ordered and committed.
    pub submit: Option<Vec<Data>>,
    /// Function and arguments of a transaction that is only evaluated on one peer.
    pub evaluate: Option<Vec<Data>>,
    /// Whether the call is the chaincode's initialization. Default no.
    #[serde(default)]
    pub init: bool,
    /// Transient data, by name. Default none.
    #[serde(default)]
    pub transient: BTreeMap<String, Data>,
    /// Who calls. Default: the first user of the channel's first organization.
    pub identity: Option<IdentityName>,
    /// The channel. Default: the topology's first.
    pub channel: Option<String>,
    /// The chaincode's name in its definition. Default: the one under test.
    pub chaincode: Option<String>,
    /// Names or MSP IDs of organizations that endorse, or of which one evaluates. Default: the
    /// gateway chooses.
    #[serde(default)]
    pub endorsing_organizations: Vec<String>,
    /// The answer as JSON; an object may have further members.
    pub payload: Option<Json>,
    /// The answer as text, to the letter.
    pub payload_text: Option<String>,
    /// The answer as bytes.
    pub payload_base64: Option<Base64>,
    /// The status of the chaincode's response. From 400 on it is an error to the client.
    pub status: Option<i32>,
    /// A text that the client's error must contain.
    pub error: Option<String>,
    /// The code with which peers must commit the transaction as invalid.
    pub invalid: Option<InvalidCode>,
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

/// A user or administrator and its organization, by the organization's name or domain:
/// `User1@Org1`, `Admin@org1.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityName {
    /// `Admin`, or `User` and a number from 1.
    pub user: String,
    /// Name or domain of the organization.
    pub organization: String,
}

impl FromStr for IdentityName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_user = |user: &str| {
            let number = user.strip_prefix("User").and_then(|number| number.parse::<u32>().ok());
            user == "Admin" || number.is_some_and(|number| user == format!("User{number}") && number > 0)
        };
        match text.split_once('@') {
            Some((user, organization)) if is_user(user) && !organization.is_empty() => {
                Ok(Self { user: user.to_owned(), organization: organization.to_owned() })
            }
            _ => Err(format!("an identity is Admin@ORGANIZATION, User1@ORGANIZATION and so on, not {text:?}")),
        }
    }
}

impl<'de> Deserialize<'de> for IdentityName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A validation code other than `VALID`, by its name in Fabric's `TxValidationCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidCode(pub TxValidationCode);

impl<'de> Deserialize<'de> for InvalidCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match TxValidationCode::from_str_name(&text) {
            Some(code) if code != TxValidationCode::Valid => Ok(Self(code)),
            _ => Err(serde::de::Error::custom(
                "not a code of an invalid transaction, such as ENDORSEMENT_POLICY_FAILURE or MVCC_READ_CONFLICT",
            )),
        }
    }
}

/// A chaincode event as it must arrive.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedEvent {
    /// The event's name.
    pub name: String,
    /// Its payload as JSON; an object may have further members. Default: anything.
    pub payload: Option<Json>,
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
    /// The smallest number of organizations in the channel. Default 0.
    pub organizations: usize,
    /// The smallest number of channels. Default 0.
    pub channels: usize,
    /// Whether the peers' state database must be CouchDB, or must not. Default: it does not matter.
    pub couchdb: Option<bool>,
}

/// How a case calls the chaincode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call<'a> {
    /// Endorse, order, commit.
    Submit(&'a [Data]),
    /// Ask one peer.
    Evaluate(&'a [Data]),
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
    /// The file of collections is none; the text gives line and column.
    #[error("{file}: {source}")]
    Collections {
        /// The file's name.
        file: String,
        /// What is wrong, and where.
        #[source]
        source: serde_json::Error,
    },
    /// There is nothing to check.
    #[error("{file} has no case; begin one with [[case]]")]
    Empty {
        /// The file's name.
        file: String,
    },
    /// One name for two definitions.
    #[error("{file}: the chaincode's name {name} is there twice; give different ones in `name` and `also_named`")]
    Twice {
        /// The file's name.
        file: String,
        /// The name.
        name: String,
    },
    /// A case contradicts itself, or the definition.
    #[error("{file}: case \"{name}\" at line {line}, column {column}: {reason}")]
    Case {
        /// The file's name.
        file: String,
        /// Line of its `[[case]]`, from 1.
        line: usize,
        /// Column of it, from 1.
        column: usize,
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

    /// Reads cases from a TOML file, and the file of collections that it may name.
    ///
    /// # Errors
    ///
    /// When a file can't be read, and as [`from_toml`](Self::from_toml).
    pub fn read(path: &Path) -> Result<Self, CaseFileError> {
        let text = |path: &Path| {
            let failed = |source| CaseFileError::Read { file: path.display().to_string(), source };
            read_text(path).map_err(failed)
        };
        let mut cases = Self::from_toml(&path.display().to_string(), &text(path)?)?;
        if let Collections::File(file) = &cases.chaincode.collections {
            let file = path.parent().unwrap_or(Path::new("")).join(file);
            let collections = Collections::from_json(&text(&file)?)
                .map_err(|source| CaseFileError::Collections { file: file.display().to_string(), source })?;
            cases.chaincode.collections = collections;
        }
        Ok(cases)
    }

    /// Reads cases from TOML text; `file` is named in errors.
    ///
    /// # Errors
    ///
    /// When the text is no TOML, has unknown fields, or a case contradicts itself.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, CaseFileError> {
        let FileText { chaincode, cases } = toml::from_str(text)
            .map_err(|source| CaseFileError::Syntax { file: file.to_owned(), source: Box::new(source) })?;
        if cases.is_empty() {
            return Err(CaseFileError::Empty { file: file.to_owned() });
        }
        if let Some(name) = chaincode.name_twice(crate::network::nodes::CHAINCODE) {
            return Err(CaseFileError::Twice { file: file.to_owned(), name: name.to_owned() });
        }
        for (index, case) in cases.iter().enumerate() {
            let must_init = chaincode.init_required && index == 0;
            let checked = match case.as_ref().validate() {
                Ok(()) if must_init && !case.as_ref().init => {
                    Err("the definition has init_required, so the first case must have `init = true`")
                }
                checked => checked,
            };
            checked.map_err(|reason| {
                let (line, column) = place(text, case.span().start);
                let name = case.as_ref().name.clone();
                CaseFileError::Case { file: file.to_owned(), line, column, name, reason }
            })?;
        }
        Ok(Self { chaincode, cases: cases.into_iter().map(toml::Spanned::into_inner).collect() })
    }
}

/// Line and column of a byte, from 1.
fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

impl Call<'_> {
    /// Function and arguments.
    pub fn arguments(&self) -> &[Data] {
        match self {
            Self::Submit(arguments) | Self::Evaluate(arguments) => arguments,
        }
    }
}

/// From this status on, a chaincode's response is an error, which no peer endorses.
const ERROR_THRESHOLD: i32 = 400;

impl Case {
    /// A question that any chaincode answers, if only by an error.
    pub fn probe(chaincode: &ChaincodeSection) -> Self {
        let evaluate = Some(vec![Data::text("org.hyperledger.fabric:GetMetadata")]);
        Self { evaluate, init: chaincode.init_required, ..Self::default() }
    }

    /// What the case calls.
    pub fn call(&self) -> Call<'_> {
        match (&self.submit, &self.evaluate) {
            (Some(arguments), _) => Call::Submit(arguments),
            (None, arguments) => Call::Evaluate(arguments.as_deref().unwrap_or_default()),
        }
    }

    /// Whether the call must end in an error before anything is ordered.
    pub fn must_fail(&self) -> bool {
        self.error.is_some() || self.status.is_some_and(|status| status >= ERROR_THRESHOLD)
    }

    fn validate(&self) -> Result<(), &'static str> {
        let ((Some(arguments), None) | (None, Some(arguments))) = (&self.submit, &self.evaluate) else {
            return Err("give one of `submit` and `evaluate`");
        };
        if arguments.is_empty() {
            return Err("the first argument is the function's name; give it");
        }
        let payloads = [self.payload.is_some(), self.payload_text.is_some(), self.payload_base64.is_some()];
        if payloads.iter().filter(|is_given| **is_given).count() > 1 {
            return Err("give one of `payload`, `payload_text` and `payload_base64`");
        }
        let of_submit = self.event.is_some() || self.endorsed_by.is_some() || self.invalid.is_some();
        if self.must_fail() && (payloads.contains(&true) || of_submit) {
            return Err("a call that must fail has no payload, event, endorsements or validation code");
        }
        if self.status.is_some_and(|status| status < ERROR_THRESHOLD) && self.error.is_some() {
            return Err("a status below 400 is a success and has no `error`");
        }
        if self.evaluate.is_some() && (of_submit || self.init) {
            return Err(
                "only a submitted transaction has an event, endorsements or a validation code, or can be an `init`; \
                 use `submit`",
            );
        }
        if self.invalid.is_some() && self.event.is_some() {
            return Err("an invalid transaction brings no event");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let called = |case: &Case| case.call().arguments()[0].bytes() == function.as_bytes();
            assert!(cases.iter().any(|case| called(case) && case.error.is_none()), "no case calls {function}");
        }
    }

    #[test]
    fn the_reference_has_every_field_there_is() {
        let text = include_str!("../../cases/reference.toml");
        let file = CaseFile::from_toml("reference.toml", text).unwrap();
        let ChaincodeSection { name, also_named, version, init_required, endorsement_policy, collections } =
            &file.chaincode;
        assert!(name.is_some() && version.is_some() && *init_required && endorsement_policy.is_some());
        assert!(!also_named.is_empty() && *collections != Collections::default());
        let shown: Vec<_> = file.cases.iter().map(shown).collect();
        for (index, (field, _)) in shown[0].iter().enumerate() {
            assert!(shown.iter().any(|case| case[index].1), "the reference lacks `{field}`");
        }
    }

    /// Which fields of a case are there; without `..`, so that a new one makes this fail to compile.
    fn shown(case: &Case) -> [(&'static str, bool); 21] {
        let Case {
            name,
            submit,
            evaluate,
            init,
            transient,
            identity,
            channel,
            chaincode,
            endorsing_organizations,
            payload,
            payload_text,
            payload_base64,
            status,
            error,
            invalid,
            event,
            endorsed_by,
            after,
            needs: Needs { organizations, channels, couchdb },
        } = case;
        [
            ("name", !name.is_empty()),
            ("submit", submit.is_some()),
            ("evaluate", evaluate.is_some()),
            ("init", *init),
            ("transient", !transient.is_empty()),
            ("identity", identity.is_some()),
            ("channel", channel.is_some()),
            ("chaincode", chaincode.is_some()),
            ("endorsing_organizations", !endorsing_organizations.is_empty()),
            ("payload", payload.is_some()),
            ("payload_text", payload_text.is_some()),
            ("payload_base64", payload_base64.is_some()),
            ("status", status.is_some()),
            ("error", error.is_some()),
            ("invalid", invalid.is_some()),
            ("event", event.as_ref().is_some_and(|event| event.payload.is_some())),
            ("endorsed_by", endorsed_by.is_some()),
            ("after", after.is_some()),
            ("needs.organizations", *organizations > 0),
            ("needs.channels", *channels > 0),
            ("needs.couchdb", couchdb.is_some()),
        ]
    }

    #[test]
    fn a_mistake_in_a_case_file_says_where() {
        let mistake = |text: &str| CaseFile::from_toml("my.toml", text).unwrap_err().to_string();
        let unknown = mistake("[[case]]\nname = 'a'\nsubmitt = ['F']\n");
        assert!(unknown.contains("my.toml") && unknown.contains("line 3") && unknown.contains("submitt"), "{unknown}");
        assert_eq!(mistake("# none"), "my.toml has no case; begin one with [[case]]");
        for (case, line, reason) in [
            ("submit = ['F']\nevaluate = ['F']", 3, "give one of `submit` and `evaluate`"),
            ("submit = []", 3, "the first argument is the function's name"),
            ("submit = ['F']\npayload = 1\npayload_text = '1'", 3, "give one of `payload`"),
            ("evaluate = ['F']\nevent = { name = 'E' }", 3, "use `submit`"),
            ("evaluate = ['F']\ninit = true", 3, "use `submit`"),
            ("submit = ['F']\nstatus = 404\npayload = 1", 3, "a call that must fail has no payload"),
            ("submit = ['F']\nstatus = 200\nerror = 'x'", 3, "a status below 400 is a success"),
            ("submit = ['F']\ninvalid = 'MVCC_READ_CONFLICT'\nevent = { name = 'E' }", 3, "brings no event"),
            ("submit = ['F']\ninvalid = 'VALID'", 6, "not a code of an invalid transaction"),
            ("submit = ['F']\nidentity = 'Anna@Org1'", 6, "an identity is Admin@"),
            ("submit = ['F']\nidentity = 'User01@Org1'", 6, "an identity is Admin@"),
            ("submit = ['F']\nneeds = { couch = true }", 6, "unknown field `couch`"),
        ] {
            let error = mistake(&format!("# a comment\n\n[[case]]\nname = 'a'\n{case}\n"));
            assert!(error.contains(reason) && error.contains(&format!("line {line}, column ")), "{case}:\n{error}");
        }
        let twice = mistake("[chaincode]\nalso_named = ['asset-transfer']\n[[case]]\nname = 'a'\nsubmit = ['F']\n");
        assert!(twice.starts_with("my.toml: the chaincode's name asset-transfer is there twice"), "{twice}");
        let first = mistake("[chaincode]\ninit_required = true\n[[case]]\nname = 'a'\nsubmit = ['F']\n");
        assert_eq!(
            first,
            "my.toml: case \"a\" at line 3, column 1: \
             the definition has init_required, so the first case must have `init = true`"
        );
    }

    #[test]
    fn a_file_of_collections_lies_beside_the_cases() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let cases = "[chaincode]\ncollections = 'c.json'\n[[case]]\nname = 'a'\nevaluate = ['F']\n";
        std::fs::write(path("my.toml"), cases).unwrap();
        let absent = CaseFile::read(&path("my.toml")).unwrap_err().to_string();
        assert!(absent.ends_with("c.json can't be read"), "{absent}");
        std::fs::write(path("c.json"), "[{\n\"name\": 5}]").unwrap();
        let wrong = CaseFile::read(&path("my.toml")).unwrap_err().to_string();
        assert!(wrong.contains("c.json: invalid type: integer `5`") && wrong.contains("line 2"), "{wrong}");
        std::fs::write(path("c.json"), r#"[{"name": "c", "policy": "OR('A.member')"}]"#).unwrap();
        let definition = CaseFile::read(&path("my.toml")).unwrap().chaincode.definitions("x").remove(0);
        assert_eq!(definition.collections.unwrap().config.len(), 1);
    }
}
