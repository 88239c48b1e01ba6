//! The section `[server]` of a chaincode file.

use super::{Address, Server, ServerSource, Template, TlsMode};
use fabric_primitives::{names, program};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// The reference of a container image.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Image(String);

impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        names::image(&text).map_err(D::Error::custom)?;
        Ok(Self(text))
    }
}

/// The name of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct VariableName(String);

impl<'de> Deserialize<'de> for VariableName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() || text.contains(['=', '\0']) {
            return Err(D::Error::custom("invalid variable name: empty, or contains `=`"));
        }
        Ok(Self(text))
    }
}

/// The section `[server]`, not yet validated.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerSection {
    program: Option<Spanned<PathBuf>>,
    command: Option<Spanned<Vec<Template>>>,
    image: Option<Spanned<Image>>,
    address: Option<Spanned<Address>>,
    #[serde(default)]
    arguments: Option<Spanned<Vec<Template>>>,
    directory: Option<Spanned<PathBuf>>,
    #[serde(default)]
    environment: BTreeMap<VariableName, Template>,
    #[serde(default)]
    per_organization: bool,
    pub(crate) tls: Option<TlsMode>,
}

/// A mistake in a file, with its byte offset.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub(crate) at: usize,
    pub(crate) what: String,
}

fn mistake<T>(at: &Spanned<T>, what: impl Into<String>) -> Mistake {
    Mistake { at: at.span().start, what: what.into() }
}

#[cfg(test)]
impl ServerSection {
    /// The fields that a reference file does not mention. The pattern has no `..`, so that a new field
    /// does not compile without a change here.
    pub(crate) fn lacking(text: &str) -> Vec<&'static str> {
        let Self {
            program: _,
            command: _,
            image: _,
            address: _,
            arguments: _,
            directory: _,
            environment: _,
            per_organization: _,
            tls: _,
        } = Self::default();
        let fields = [
            "program",
            "command",
            "image",
            "address",
            "arguments",
            "directory",
            "environment",
            "per_organization",
            "tls",
        ];
        let begins = |field: &str| {
            let line = |line: &str| line.trim_start_matches(['#', ' ']).starts_with(&format!("{field} = "));
            text.lines().any(line)
        };
        fields.into_iter().filter(|field| !begins(field)).collect()
    }
}

impl ServerSection {
    /// Validates the section. Returns the server and the byte offset of its source. `base` is the file's
    /// directory, `at` the byte offset of the section.
    pub(crate) fn resolve(self, base: &Path, at: usize) -> Result<(Server, usize), Mistake> {
        let Self { program, command, image, address, arguments, directory, environment, per_organization, tls: _ } =
            self;
        let given = [program.is_some(), command.is_some(), image.is_some(), address.is_some()];
        if given.iter().filter(|is_given| **is_given).count() != 1 {
            let what = "[server] needs exactly one of `program`, `command`, `image` and `address`".to_owned();
            return Err(Mistake { at, what });
        }
        if let Some(directory) = &directory
            && (program.is_some() || image.is_some())
        {
            return Err(mistake(directory, "`directory` needs a `command` or an `address`"));
        }
        if let Some(arguments) = &arguments
            && (command.is_some() || address.is_some())
        {
            return Err(mistake(arguments, "`arguments` needs a `program` or an `image`"));
        }
        if address.is_some() && !environment.is_empty() {
            let what = "`environment` cannot be set for a server at an `address`: you start it yourself";
            return Err(Mistake { at, what: what.to_owned() });
        }
        // The system rejects an empty path.
        let here = Path::new(".").join(base);
        let absolute = |path: &Path| std::path::absolute(here.join(path)).unwrap_or_else(|_| here.join(path));
        let mut arguments = arguments.map(Spanned::into_inner).unwrap_or_default();
        let (source, at) = if let Some(program) = program {
            let path = absolute(program.as_ref());
            program::check(&path).map_err(|what| mistake(&program, format!("program {}: {what}", path.display())))?;
            (ServerSource::Program(path), program.span().start)
        } else if let Some(command) = command {
            let at = command.span().start;
            let directory = match &directory {
                Some(directory) => existing(absolute(directory.as_ref()), directory)?,
                None => absolute(Path::new("")),
            };
            let program = first_word(command.as_ref(), &directory).map_err(|what| mistake(&command, what))?;
            arguments = command.into_inner().into_iter().skip(1).collect();
            (ServerSource::Command { program, directory }, at)
        } else if let Some(image) = image {
            let at = image.span().start;
            (ServerSource::Image(image.into_inner().0), at)
        } else if let Some(address) = address {
            let at = address.span().start;
            let directory = directory.map(|directory| absolute(directory.as_ref()));
            (ServerSource::Address { address: address.into_inner(), directory }, at)
        } else {
            // Unreachable: exactly one is given.
            return Err(Mistake { at, what: "[server] is empty".to_owned() });
        };
        let environment = environment.into_iter().map(|(name, value)| (name.0, value)).collect();
        Ok((Server { source, arguments, environment, per_organization, origin: String::new() }, at))
    }
}

fn existing(directory: PathBuf, at: &Spanned<PathBuf>) -> Result<PathBuf, Mistake> {
    if directory.is_dir() {
        return Ok(directory);
    }
    Err(mistake(at, format!("directory {} not found", directory.display())))
}

/// The program of a command: on PATH, or relative to the directory if it contains a `/`.
fn first_word(command: &[Template], directory: &Path) -> Result<PathBuf, String> {
    let word = command.first().ok_or("the command is empty; give a program")?;
    let word = word.plain().filter(|word| !word.is_empty());
    let word = word.ok_or("the first word of the command must be a program without ${…}")?;
    if word.contains('/') {
        let path = directory.join(&word);
        return program::check(&path).map(|()| path.clone()).map_err(|what| format!("{}: {what}", path.display()));
    }
    let found = program::find(&word, &program::directories("PATH"), program::is_program);
    // A relative entry of PATH is relative to the working directory.
    found
        .and_then(|path| std::path::absolute(path).ok())
        .ok_or_else(|| format!("program {word} not found on PATH; write ./{word} for a program in `directory`"))
}
