//! Chaincode files: the definition, the server and the cases. Reads a file and the files that it names.
//!
//! The format is TOML. A case has a `name` and one of `submit` and `evaluate`; all other fields have defaults.
//! Errors have line and column. All fields:
//!
#![doc = concat!("```toml\n", include_str!("../../cases/reference.toml"), "```")]

use super::cases::Case;
use super::definition::{ChaincodeSection, Collections, Indexes};
use super::own_package::OwnPackage;
use crate::console::read_text;
use crate::server::{Server, ServerSection, TlsMode};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// The contents of a chaincode file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CaseFile {
    /// The definition.
    pub chaincode: ChaincodeSection,
    /// The server, if it was read.
    pub server: Option<Server>,
    /// TLS between the peers and the server, if the file has it.
    pub tls: Option<TlsMode>,
    /// The cases, in order.
    pub cases: Vec<Case>,
    /// The file's name.
    name: String,
    /// The place of the first section that is not a case, if there is one.
    section: Option<Place>,
    /// The place of the first case.
    first: Place,
}

/// Line and column, from 1.
type Place = (usize, usize);

/// The file, not yet validated.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    chaincode: Option<Spanned<ChaincodeSection>>,
    server: Option<Spanned<ServerSection>>,
    #[serde(rename = "case", default)]
    cases: Vec<Spanned<Case>>,
}

/// An invalid chaincode file.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CaseFileError {
    /// It cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file's name.
        file: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is not TOML, or has invalid fields. The text has line and column.
    #[error("{file}: {source}")]
    Syntax {
        /// The file's name.
        file: String,
        /// The error and its place.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The file of collections is invalid. The text has line and column.
    #[error("{file}: {source}")]
    Collections {
        /// The file's name.
        file: String,
        /// The error and its place.
        #[source]
        source: serde_json::Error,
    },
    /// It has no cases.
    #[error("{file} has no cases; add one with [[case]]")]
    Empty {
        /// The file's name.
        file: String,
    },
    /// A section is invalid.
    #[error("{file} at line {line}, column {column}: {reason}")]
    Section {
        /// The file's name.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// Its column, from 1.
        column: usize,
        /// The reason.
        reason: String,
    },
    /// A case is invalid, or contradicts the definition.
    #[error("{file}: case \"{name}\" at line {line}, column {column}: {reason}")]
    Case {
        /// The file's name.
        file: String,
        /// Line of its `[[case]]`, from 1.
        line: usize,
        /// Its column, from 1.
        column: usize,
        /// The name of the case.
        name: String,
        /// The reason.
        reason: String,
    },
}

crate::console::debug_as_text!(CaseFileError);

impl CaseFile {
    /// The cases of the asset-transfer chaincode.
    ///
    /// # Errors
    ///
    /// Never in a released build: the file is compiled in and tested.
    pub fn asset_transfer() -> Result<Self, CaseFileError> {
        Self::from_toml("asset-transfer.toml", include_str!("../../cases/asset-transfer.toml"))
    }

    /// Reads the definition with the files that it names, and the cases. The server is ignored.
    ///
    /// # Errors
    ///
    /// A file cannot be read; those of [`from_toml`](Self::from_toml).
    pub fn read(path: &Path) -> Result<Self, CaseFileError> {
        Source::read(path)?.file(false)
    }

    /// As [`CaseFile::read`], with the server.
    ///
    /// # Errors
    ///
    /// Those of [`CaseFile::read`]; the server is missing, or names missing files.
    pub fn read_with_server(path: &Path) -> Result<Self, CaseFileError> {
        Source::read(path)?.file(true)
    }

    /// Reads the definition and cases from TOML text. `file` is the name in errors.
    ///
    /// # Errors
    ///
    /// The text is not TOML, has unknown fields, or has an invalid case.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, CaseFileError> {
        Source { file: file.to_owned(), text: text.to_owned(), directory: None }.file(false)
    }

    /// A file with this definition and server, and without cases.
    pub fn without_cases(chaincode: ChaincodeSection, server: Server) -> Self {
        Self { chaincode, server: Some(server), ..Self::default() }
    }

    /// Checks that it has cases, for this chaincode.
    ///
    /// # Errors
    ///
    /// There are no cases, or the first one must be an `init` and is not.
    pub fn check_cases(&self, chaincode: &ChaincodeSection) -> Result<(), CaseFileError> {
        let Some(first) = self.cases.first() else { return Err(CaseFileError::Empty { file: self.name.clone() }) };
        if chaincode.init_required && !first.init {
            let ((line, column), name) = (self.first, first.name.clone());
            let reason = "the definition has init_required, so the first case must have `init = true`".to_owned();
            return Err(CaseFileError::Case { file: self.name.clone(), line, column, name, reason });
        }
        Ok(())
    }

    /// Checks that it has only cases, because another file has the other sections.
    ///
    /// # Errors
    ///
    /// It has another section, which would be ignored.
    pub fn check_nothing_else(&self, other: &Path) -> Result<(), CaseFileError> {
        let Some((line, column)) = self.section else { return Ok(()) };
        let reason = format!(
            "this section is not used: only cases are read from here, everything else from {}",
            other.display()
        );
        Err(CaseFileError::Section { file: self.name.clone(), line, column, reason })
    }
}

/// A file that is read.
struct Source {
    file: String,
    text: String,
    /// The directory of relative paths. Without it, named files are not read.
    directory: Option<PathBuf>,
}

impl Source {
    fn read(path: &Path) -> Result<Self, CaseFileError> {
        let file = path.display().to_string();
        let text = text_of(path, &file)?;
        Ok(Self { file, text, directory: Some(path.parent().unwrap_or(Path::new("")).to_owned()) })
    }

    /// Line and column of a byte offset.
    fn place(&self, byte: usize) -> Place {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    fn mistake(&self, byte: usize, reason: impl Into<String>) -> CaseFileError {
        let (line, column) = self.place(byte);
        CaseFileError::Section { file: self.file.clone(), line, column, reason: reason.into() }
    }

    fn file(&self, with_server: bool) -> Result<CaseFile, CaseFileError> {
        let FileText { chaincode, server, cases } = toml::from_str(&self.text)
            .map_err(|source| CaseFileError::Syntax { file: self.file.clone(), source: Box::new(source) })?;
        let sections = [chaincode.as_ref().map(|at| at.span().start), server.as_ref().map(|at| at.span().start)];
        let mut file = CaseFile {
            name: self.file.clone(),
            section: sections.into_iter().flatten().min().map(|byte| self.place(byte)),
            first: self.place(cases.first().map_or(0, |case| case.span().start)),
            ..CaseFile::default()
        };
        if let Some(section) = chaincode {
            file.chaincode = self.chaincode(section)?;
        }
        if with_server {
            let missing = "no section [server]; it defines how the chaincode server is started";
            let server = server.ok_or_else(|| self.mistake(0, missing))?;
            file.tls = server.as_ref().tls;
            file.server = Some(self.server(server, &file.chaincode)?);
        }
        let mut names = BTreeSet::new();
        for case in &cases {
            let valid = case.as_ref().validate().map_err(str::to_owned);
            valid.and_then(|()| case.as_ref().check_references(&mut names)).map_err(|reason| {
                let (line, column) = self.place(case.span().start);
                let name = case.as_ref().name.clone();
                CaseFileError::Case { file: self.file.clone(), line, column, name, reason }
            })?;
        }
        file.cases = cases.into_iter().map(Spanned::into_inner).collect();
        if !file.cases.is_empty() {
            file.check_cases(&file.chaincode)?;
        }
        Ok(file)
    }

    fn chaincode(&self, section: Spanned<ChaincodeSection>) -> Result<ChaincodeSection, CaseFileError> {
        let at = section.span().start;
        let mut chaincode = section.into_inner();
        if let Some(name) = chaincode.name_twice() {
            let reason = format!("duplicate chaincode name {name}; give different names in `name` and `also_named`");
            return Err(self.mistake(at, reason));
        }
        if let Some(reason) = chaincode.contradiction() {
            return Err(self.mistake(at, reason));
        }
        let Some(directory) = &self.directory else { return Ok(chaincode) };
        if let Some(OwnPackage::File(file)) = &chaincode.package {
            let package = OwnPackage::read(&directory.join(file)).map_err(|reason| self.mistake(at, reason))?;
            chaincode.package = Some(package);
        }
        if let Collections::File(file) = &chaincode.collections {
            let path = directory.join(file);
            let file = path.display().to_string();
            let text = read_text(&path)
                .map_err(|error| self.mistake(at, format!("collections: cannot read {file}: {error}")))?;
            chaincode.collections =
                Collections::from_json(&text).map_err(|source| CaseFileError::Collections { file, source })?;
        }
        if let Indexes::Directory(indexes) = &chaincode.indexes {
            chaincode.indexes = Indexes::read(&directory.join(indexes)).map_err(|reason| self.mistake(at, reason))?;
        }
        Ok(chaincode)
    }

    fn server(&self, section: Spanned<ServerSection>, chaincode: &ChaincodeSection) -> Result<Server, CaseFileError> {
        let at = section.span().start;
        let directory = self.directory.as_deref().unwrap_or(Path::new(""));
        let resolved = section.into_inner().resolve(directory, at);
        let (mut server, at) = resolved.map_err(|mistake| self.mistake(mistake.at, mistake.what))?;
        let (line, column) = self.place(at);
        server.origin = format!("{} at line {line}, column {column}", self.file);
        chaincode.check_server(&server).map_err(|reason| self.mistake(at, reason))?;
        Ok(server)
    }
}

fn text_of(path: &Path, file: &str) -> Result<String, CaseFileError> {
    read_text(path).map_err(|source| CaseFileError::Read { file: file.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::super::cases::{Needs, Setup};
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
        let ChaincodeSection {
            name,
            also_named,
            version,
            init_required,
            endorsement_policy,
            collections,
            label,
            indexes,
            package,
            values,
            supplied_by_peers,
        } = &file.chaincode;
        assert!(name.is_some() && version.is_some() && *init_required && endorsement_policy.is_some());
        assert!(!also_named.is_empty() && *collections != Collections::default());
        assert!(label.is_some() && *indexes != Indexes::default());
        // They contradict `label` and `indexes`.
        for (field, is_set) in [
            ("package", package.is_some()),
            ("values", !values.is_empty()),
            ("supplied_by_peers", !supplied_by_peers.is_empty()),
        ] {
            assert!(!is_set && text.contains(&format!("\n# {field} = ")), "{field}");
        }
        assert_eq!(ServerSection::lacking(text), Vec::<&str>::new(), "the reference lacks these of [server]");
        let shown: Vec<_> = file.cases.iter().map(shown).collect();
        for (index, (field, _)) in shown[0].iter().enumerate() {
            assert!(shown.iter().any(|case| case[index].1), "the reference lacks `{field}`");
        }
    }

    /// Which fields of a case are set. The pattern has no `..`, so that a new field does not compile without a
    /// change here.
    fn shown(case: &Case) -> [(&'static str, bool); 23] {
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
            setup,
            save,
            until,
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
            ("setup", setup.is_some()),
            ("save", !save.is_empty()),
            ("until", until.is_some()),
            ("needs.organizations", *organizations > 0),
            ("needs.channels", *channels > 0),
            ("needs.couchdb", couchdb.is_some()),
        ]
    }

    #[test]
    fn the_former_name_of_setup_is_accepted() {
        let case = "[[case]]\nname = 'a'\nevaluate = ['F']\n";
        for key in ["setup", "after"] {
            let file = CaseFile::from_toml("my.toml", &format!("{case}{key} = 'restart-peers'\n")).unwrap();
            assert_eq!(file.cases[0].setup, Some(Setup::RestartPeers), "{key}");
        }
        let both = CaseFile::from_toml("my.toml", &format!("{case}setup = 'restart-peers'\nafter = 'restart-peers'\n"));
        let both = both.unwrap_err().to_string();
        assert!(both.contains("my.toml") && both.contains("duplicate field `setup`"), "{both}");
    }

    #[test]
    fn an_error_in_a_case_file_has_its_place() {
        let mistake = |text: &str| CaseFile::from_toml("my.toml", text).unwrap_err().to_string();
        let unknown = mistake("[[case]]\nname = 'a'\nsubmitt = ['F']\n");
        assert!(unknown.contains("my.toml") && unknown.contains("line 3") && unknown.contains("submitt"), "{unknown}");
        let none = CaseFile::from_toml("my.toml", "# none").unwrap();
        let none = none.check_cases(&ChaincodeSection::default()).unwrap_err().to_string();
        assert_eq!(none, "my.toml has no cases; add one with [[case]]");
        for (case, line, reason) in [
            ("submit = ['F']\nevaluate = ['F']", 3, "give one of `submit` and `evaluate`"),
            ("submit = []", 3, "no function; the first argument is its name"),
            ("submit = ['F']\npayload = 1\npayload_text = '1'", 3, "give one of `payload`"),
            ("evaluate = ['F']\nevent = { name = 'E' }", 3, "use `submit`"),
            ("evaluate = ['F']\ninit = true", 3, "use `submit`"),
            ("submit = ['F']\nstatus = 404\npayload = 1", 3, "a call that must fail has no payload"),
            ("submit = ['F']\nstatus = 200\nerror = 'x'", 3, "a status below 400 is a success"),
            ("submit = ['F']\ninvalid = 'MVCC_READ_CONFLICT'\nevent = { name = 'E' }", 3, "brings no event"),
            ("submit = ['F']\ninvalid = 'VALID'", 6, "not a validation code of an invalid transaction"),
            ("submit = ['F']\nidentity = 'Anna@Org1'", 6, "give Admin@ORGANIZATION"),
            ("submit = ['F']\nidentity = 'User01@Org1'", 6, "give Admin@ORGANIZATION"),
            ("submit = ['F']\nneeds = { couch = true }", 6, "unknown field `couch`"),
            (
                "submit = ['F']\nsetup = 'halt peer0'",
                6,
                "give restart-chaincode, restart-peers, or one of restart, stop",
            ),
            ("submit = ['F']\nsetup = 'stop'", 6, "give restart-chaincode, restart-peers, or one of restart, stop"),
            ("submit = ['F']\nuntil = '5s'", 3, "needs `evaluate`"),
            ("evaluate = ['F']\nuntil = '5'", 6, "invalid duration `5`"),
            ("evaluate = ['F']\nuntil = '0s'", 6, "invalid duration `0s`"),
            ("evaluate = ['F']\nerror = 'x'\nsave = 'id'", 3, "a call that must fail has no payload"),
            ("evaluate = ['F']\nsave = 'the id'", 6, "invalid name `the id`"),
            ("evaluate = ['F']\nsave = { id = 'ID' }", 6, "invalid path `ID`"),
            (
                "evaluate = ['F', '${case.id}']\nsave = 'id'",
                3,
                "unknown ${case.id}: no case before this one saves a value",
            ),
            ("evaluate = ['F', { json = { a = ['${id}'] } }]", 3, "unknown ${id}; write `$${` for a literal `${`"),
            ("evaluate = ['F']\npayload_text = '${case.id'", 3, "unknown ${case.id"),
        ] {
            let error = mistake(&format!("# a comment\n\n[[case]]\nname = 'a'\n{case}\n"));
            assert!(error.contains(reason) && error.contains(&format!("line {line}, column ")), "{case}:\n{error}");
        }
        let twice = mistake("[chaincode]\nalso_named = ['asset-transfer']\n[[case]]\nname = 'a'\nsubmit = ['F']\n");
        assert!(twice.starts_with("my.toml at line 1, column 1: duplicate chaincode name asset-transfer"), "{twice}");
        let first = mistake("[chaincode]\ninit_required = true\n[[case]]\nname = 'a'\nsubmit = ['F']\n");
        assert_eq!(
            first,
            "my.toml: case \"a\" at line 3, column 1: \
             the definition has init_required, so the first case must have `init = true`"
        );
    }

    #[test]
    fn a_file_of_collections_is_relative_to_the_case_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let cases = "[chaincode]\ncollections = 'c.json'\n[[case]]\nname = 'a'\nevaluate = ['F']\n";
        std::fs::write(path("my.toml"), cases).unwrap();
        let absent = CaseFile::read(&path("my.toml")).unwrap_err().to_string();
        assert!(absent.contains("my.toml at line 1, column 1: collections: "), "{absent}");
        assert!(absent.contains("cannot read ") && absent.contains("c.json: No such file"), "{absent}");
        std::fs::write(path("c.json"), "[{\n\"name\": 5}]").unwrap();
        let wrong = CaseFile::read(&path("my.toml")).unwrap_err().to_string();
        assert!(wrong.contains("c.json: invalid type: integer `5`") && wrong.contains("line 2"), "{wrong}");
        std::fs::write(path("c.json"), r#"[{"name": "c", "policy": "OR('A.member')"}]"#).unwrap();
        let definition = CaseFile::read(&path("my.toml")).unwrap().chaincode.definitions().remove(0);
        assert_eq!(definition.collections.unwrap().config.len(), 1);
    }
}
