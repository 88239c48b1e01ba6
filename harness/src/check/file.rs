//! Chaincode files: the definition, the server and the cases. Reads a file and the files that it names.
//!
//! The format is TOML. A case has a `name` and one of `submit` and `evaluate`; all other fields have defaults.
//! All mistakes are reported together, with line and column. All fields:
//!
#![doc = concat!("```toml\n", include_str!("../../cases/reference.toml"), "```")]

use super::cases::Case;
use super::definition::{ChaincodeSection, Collections, Indexes};
use super::own_package::OwnPackage;
use super::scope::{Misfit, Scope};
use super::source::{Mistake, Mistakes, Source};
use crate::console::read_text;
use crate::server::{Server, ServerSection, TlsMode};
use serde::Deserialize as _;
use serde::de::{DeserializeOwned, IntoDeserializer as _};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

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
    /// The text, for the places of later mistakes.
    source: Source,
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
    /// It has no cases.
    #[error("{file} has no cases; add one with [[case]]")]
    Empty {
        /// The file's name.
        file: String,
    },
    /// It is not TOML, or has invalid values.
    #[error(transparent)]
    Invalid(Mistakes),
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
        Self::read_file(path, false)
    }

    /// As [`CaseFile::read`], with the server.
    ///
    /// # Errors
    ///
    /// Those of [`CaseFile::read`]; the server is missing, or names missing files.
    pub fn read_with_server(path: &Path) -> Result<Self, CaseFileError> {
        Self::read_file(path, true)
    }

    fn read_file(path: &Path, with_server: bool) -> Result<Self, CaseFileError> {
        let file = path.display().to_string();
        let text = read_text(path).map_err(|source| CaseFileError::Read { file: file.clone(), source })?;
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        Reader::new(&file, &text, Some(directory)).file(&text, with_server)
    }

    /// Reads the definition and cases from TOML text. `file` is the name in errors.
    ///
    /// # Errors
    ///
    /// The text is not TOML, has unknown fields, or has an invalid case.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, CaseFileError> {
        Reader::new(file, text, None).file(text, false)
    }

    /// The definition of a program, without server and cases.
    pub fn of_definition(chaincode: ChaincodeSection) -> Self {
        Self { chaincode, ..Self::default() }
    }

    /// This definition with another server, and without cases.
    pub(crate) fn served_by(&self, server: Server) -> Self {
        Self { server: Some(server), tls: None, cases: Vec::new(), ..self.clone() }
    }

    /// Checks the names in the definition, and that its policies name only MSPs of each channel.
    ///
    /// # Errors
    ///
    /// All mistakes.
    pub(crate) fn check_definition(&self, scope: Scope<'_>) -> Result<(), CaseFileError> {
        let misfits = scope.chaincode.misfits().into_iter().chain(scope.definition());
        checked(misfits.map(|misfit| self.in_chaincode(misfit)).collect())
    }

    /// Checks that there are cases, and that they can pass with this network and chaincode.
    ///
    /// # Errors
    ///
    /// There are no cases, or all mistakes in them.
    pub(crate) fn check_cases(&self, scope: Scope<'_>) -> Result<(), CaseFileError> {
        if self.cases.is_empty() {
            return Err(CaseFileError::Empty { file: self.source.file().to_owned() });
        }
        let mut mistakes: Vec<Mistake> = self.init_missing(scope.chaincode).into_iter().collect();
        for (index, case) in self.cases.iter().enumerate() {
            mistakes.extend(scope.case(case).into_iter().map(|misfit| self.in_case(index, misfit)));
        }
        checked(mistakes)
    }

    /// Checks that it has only cases, because another file has the other sections.
    ///
    /// # Errors
    ///
    /// It has another section, which would be ignored.
    pub fn check_nothing_else(&self, other: &Path) -> Result<(), CaseFileError> {
        let Some(byte) = ["chaincode", "server"].iter().filter_map(|path| self.source.offset(path)).min() else {
            return Ok(());
        };
        let reason = format!(
            "this section is not used: only cases are read from here, everything else from {}",
            other.display()
        );
        checked(vec![self.source.mistake_at(byte, reason)])
    }

    fn init_missing(&self, chaincode: &ChaincodeSection) -> Option<Mistake> {
        let reason = "the definition has init_required, so the first case must have `init = true`";
        let first = self.cases.first().filter(|first| chaincode.init_required && !first.init);
        first.map(|_| self.in_case(0, (String::new(), reason.to_owned())))
    }

    fn in_chaincode(&self, (path, message): Misfit) -> Mistake {
        self.source.mistake(&format!("chaincode.{path}"), message)
    }

    fn in_case(&self, index: usize, (path, message): Misfit) -> Mistake {
        let name = self.cases.get(index).map_or("", |case| &case.name);
        self.source.mistake(&format!("case[{index}].{path}"), message).of_case(name)
    }
}

fn checked(mistakes: Vec<Mistake>) -> Result<(), CaseFileError> {
    if mistakes.is_empty() { Ok(()) } else { Err(CaseFileError::Invalid(Mistakes(mistakes))) }
}

/// Reads a file and collects its mistakes.
struct Reader {
    source: Source,
    /// The directory of relative paths. Without it, named files are not read.
    directory: Option<PathBuf>,
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn new(file: &str, text: &str, directory: Option<PathBuf>) -> Self {
        Self { source: Source::new(file, text), directory, mistakes: Vec::new() }
    }

    fn file(mut self, text: &str, with_server: bool) -> Result<CaseFile, CaseFileError> {
        let (table, errors) = DeTable::parse_recoverable(text);
        self.mistakes.extend(errors.iter().map(|error| self.source.mistake_of(error, 0)));
        checked(std::mem::take(&mut self.mistakes))?;

        let mut file = CaseFile::default();
        let mut server = None;
        for (key, value) in table.into_inner() {
            let name = key.get_ref().to_string();
            self.source.note(name.clone(), &value);
            match name.as_str() {
                "chaincode" => file.chaincode = self.chaincode(value),
                "server" => server = Some(value),
                "case" => file.cases = self.cases(value),
                _ => {
                    let message = format!("unknown field `{name}`, expected one of `chaincode`, `server`, `case`");
                    self.mistakes.push(self.source.mistake_at(key.span().start, message));
                }
            }
        }
        if with_server {
            (file.server, file.tls) = self.server(server, &file.chaincode);
        }
        file.source = self.source;
        let misfits = file.chaincode.misfits();
        self.mistakes.extend(misfits.into_iter().map(|misfit| file.in_chaincode(misfit)));
        if self.mistakes.is_empty() {
            self.mistakes.extend(file.init_missing(&file.chaincode));
        }
        self.mistakes.sort_by_key(|mistake| mistake.place);
        checked(self.mistakes).map(|()| file)
    }

    fn chaincode(&mut self, value: Spanned<DeValue<'_>>) -> ChaincodeSection {
        let mut chaincode: ChaincodeSection = self.section(value).unwrap_or_default();
        let Some(directory) = self.directory.clone() else { return chaincode };
        if let Some(OwnPackage::File(file)) = &chaincode.package {
            match OwnPackage::read(&directory.join(file)) {
                Ok(package) => chaincode.package = Some(package),
                Err(reason) => self.mistakes.push(self.source.mistake("chaincode.package", reason)),
            }
        }
        if let Collections::File(file) = &chaincode.collections {
            match read_collections(&directory.join(file)) {
                Ok(collections) => chaincode.collections = collections,
                Err(reason) => {
                    let reason = format!("collections: {reason}");
                    self.mistakes.push(self.source.mistake("chaincode.collections", reason));
                }
            }
        }
        if let Indexes::Directory(indexes) = &chaincode.indexes {
            match Indexes::read(&directory.join(indexes)) {
                Ok(indexes) => chaincode.indexes = indexes,
                Err(reason) => self.mistakes.push(self.source.mistake("chaincode.indexes", reason)),
            }
        }
        chaincode
    }

    fn server(
        &mut self,
        value: Option<Spanned<DeValue<'_>>>,
        chaincode: &ChaincodeSection,
    ) -> (Option<Server>, Option<TlsMode>) {
        let Some(value) = value else {
            let missing = "no section [server]; it defines how the chaincode server is started";
            self.mistakes.push(self.source.mistake_at(0, missing));
            return (None, None);
        };
        let at = value.span().start;
        let Some(section) = self.section::<ServerSection>(value) else { return (None, None) };
        let tls = section.tls;
        match section.resolve(self.directory.as_deref().unwrap_or(Path::new("")), at) {
            Ok((mut server, at)) => {
                let (line, column) = self.source.place_of(at);
                server.origin = format!("{} at line {line}, column {column}", self.source.file());
                let refused = chaincode.check_server(&server).err();
                self.mistakes.extend(refused.map(|reason| self.source.mistake_at(at, reason)));
                (Some(server), tls)
            }
            Err(mistake) => {
                self.mistakes.push(self.source.mistake_at(mistake.at, mistake.what));
                (None, None)
            }
        }
    }

    fn cases(&mut self, value: Spanned<DeValue<'_>>) -> Vec<Case> {
        let at = value.span().start;
        let DeValue::Array(items) = value.into_inner() else {
            self.mistakes.push(self.source.mistake_at(at, "expected cases, each with [[case]]"));
            return Vec::new();
        };
        let (mut cases, mut names) = (Vec::new(), BTreeMap::<String, usize>::new());
        let mut saved = BTreeSet::new();
        for (index, item) in items.into_iter().enumerate() {
            let at = item.span().start;
            let name = item.get_ref().get("name").and_then(|name| name.get_ref().as_str());
            let name = name.unwrap_or_default().to_owned();
            match Case::deserialize(item.into_deserializer()) {
                Ok(case) => {
                    for (path, message) in case.misfits() {
                        let mistake = self.source.mistake(&format!("case[{index}].{path}"), message);
                        self.mistakes.push(mistake.of_case(&name));
                    }
                    if let Err(reason) = case.check_references(&mut saved) {
                        self.mistakes.push(self.source.mistake_at(at, reason).of_case(&name));
                    }
                    cases.push(case);
                }
                Err(error) => self.mistakes.push(self.source.mistake_of(&error, at).of_case(&name)),
            }
            if let Some(first) = names.get(&name).filter(|_| !name.trim().is_empty()) {
                let message = format!("duplicate name, already used at line {}", self.source.place_of(*first).0);
                self.mistakes.push(self.source.mistake(&format!("case[{index}].name"), message).of_case(&name));
            } else {
                names.insert(name, at);
            }
        }
        cases
    }

    fn section<T: DeserializeOwned>(&mut self, value: Spanned<DeValue<'_>>) -> Option<T> {
        let at = value.span().start;
        T::deserialize(value.into_deserializer())
            .map_err(|error| self.mistakes.push(self.source.mistake_of(&error, at)))
            .ok()
    }
}

fn read_collections(path: &Path) -> Result<Collections, String> {
    let file = path.display();
    let text = read_text(path).map_err(|error| format!("cannot read {file}: {error}"))?;
    Collections::from_json(&text).map_err(|error| format!("{file}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::cases::{Needs, Setup};
    use super::*;
    use fabric_network::topology::Topology;

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
        let (topology, chaincode) = (Topology::solo(), &ChaincodeSection::default());
        let scope = Scope { topology: &topology, chaincode, couchdb: false };
        let none = none.check_cases(scope).unwrap_err().to_string();
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
        assert!(absent.contains("my.toml at line 2, column 15: collections: "), "{absent}");
        assert!(absent.contains("cannot read ") && absent.contains("c.json: No such file"), "{absent}");
        std::fs::write(path("c.json"), "[{\n\"name\": 5}]").unwrap();
        let wrong = CaseFile::read(&path("my.toml")).unwrap_err().to_string();
        assert!(wrong.contains("c.json: invalid type: integer `5`") && wrong.contains("line 2"), "{wrong}");
        std::fs::write(path("c.json"), r#"[{"name": "c", "policy": "OR('A.member')"}]"#).unwrap();
        let definition = CaseFile::read(&path("my.toml")).unwrap().chaincode.definitions().remove(0);
        assert_eq!(definition.collections.unwrap().config.len(), 1);
    }
}
