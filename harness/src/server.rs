//! How the chaincode's server comes to run: what `--chaincode` and the section `[server]` of a chaincode
//! file say. Starts nothing.

use crate::check::definition::ChaincodeSection;
use crate::options::TlsMode;
use crate::runtime::ServerSource;
use fabric_primitives::program;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use toml::Spanned;

/// The package ID, as every peer will give it.
pub const ID: &str = "CHAINCODE_ID";
/// `HOST:PORT` to listen on.
pub const ADDRESS: &str = "CHAINCODE_SERVER_ADDRESS";
/// The host of it.
pub const HOST: &str = "CHAINCODE_SERVER_HOST";
/// The port of it.
pub const PORT: &str = "CHAINCODE_SERVER_PORT";
/// `true` or `false`.
pub const TLS_DISABLED: &str = "CHAINCODE_TLS_DISABLED";
/// The file of the server's certificate; with TLS only.
pub const TLS_CERT: &str = "CHAINCODE_TLS_CERT";
/// The file of its private key; with TLS only.
pub const TLS_KEY: &str = "CHAINCODE_TLS_KEY";
/// The file of the certificates that clients' certificates are of; with mutual TLS only.
pub const CLIENT_CA: &str = "CHAINCODE_CLIENT_CA_CERT";

/// The variables that a server is given, and that `${…}` stands for. Their names are those of the
/// chaincodes of fabric-samples.
pub const VARIABLES: [&str; 8] = [ID, ADDRESS, HOST, PORT, TLS_DISABLED, TLS_CERT, TLS_KEY, CLIENT_CA];

/// A server that was asked for. What it names is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// What it is.
    pub source: ServerSource,
    /// Its arguments.
    pub arguments: Vec<Template>,
    /// Its environment beyond [`VARIABLES`], and instead of them.
    pub environment: BTreeMap<String, Template>,
    /// Where that is said, for messages: an option, or file, line and column.
    pub origin: String,
}

impl Server {
    /// Without arguments, and with no environment beyond [`VARIABLES`].
    pub fn new(source: ServerSource, origin: &str) -> Self {
        Self { source, arguments: Vec::new(), environment: BTreeMap::new(), origin: origin.to_owned() }
    }

    /// Whether it can serve this chaincode.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check(&self, chaincode: &ChaincodeSection) -> Result<(), &'static str> {
        if self.source.is_ours() || chaincode.also_named.is_empty() {
            return Ok(());
        }
        Err("the definition has further names (`also_named`), each of which needs a server of its own, and an \
             `address` is one server; give a `program`, `command` or `image`")
    }
}

/// A text in which `${NAME}` stands for one of [`VARIABLES`], and `$$` for a dollar.
///
/// ```
/// # use fabric_harness::server::Template;
/// let template: Template = "--address=${CHAINCODE_SERVER_ADDRESS} $$1".parse().unwrap();
/// let values = [("CHAINCODE_SERVER_ADDRESS".to_owned(), "127.0.0.1:9999".to_owned())];
/// assert_eq!(template.fill(&values.into()), "--address=127.0.0.1:9999 $1");
/// assert!("${HOME}".parse::<Template>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(&'static str),
}

impl Template {
    /// The text with these values; one that is not there, such as a certificate without TLS, is empty.
    pub fn fill(&self, values: &BTreeMap<String, String>) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(name) => values.get(*name).cloned().unwrap_or_default(),
        };
        self.0.iter().map(part).collect()
    }

    /// The text, if nothing is to be filled in.
    fn plain(&self) -> Option<String> {
        let is_text = |part: &Part| matches!(part, Part::Text(_));
        self.0.iter().all(is_text).then(|| self.fill(&BTreeMap::new()))
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("a text with a NUL can't be given to a program".to_owned());
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            parts.push(Part::Text(before.to_owned()));
            rest =
                if let Some(after) = after.strip_prefix('$') {
                    parts.push(Part::Text("$".to_owned()));
                    after
                } else {
                    let name = after.strip_prefix('{').and_then(|after| after.split_once('}'));
                    let (name, after) = name.ok_or_else(|| {
                        format!("a `$` begins a variable, such as ${{{ID}}}, in {text:?}; write `$$` for a dollar")
                    })?;
                    let known = VARIABLES.iter().find(|known| **known == name);
                    parts.push(Part::Variable(known.ok_or_else(|| {
                        format!("there is no variable ${{{name}}}; there are {}", VARIABLES.join(", "))
                    })?));
                    after
                };
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self(parts))
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Where a server is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A host name or an IP address.
    pub host: String,
    /// The port; never 0.
    pub port: u16,
}

impl Address {
    /// Whether each machine takes it for itself.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// The same port of another host.
    #[must_use]
    pub fn at(&self, host: &str) -> Self {
        Self { host: host.to_owned(), port: self.port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(formatter, "[{host}]:{port}") } else { write!(formatter, "{host}:{port}") }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("an address is HOST:PORT, such as localhost:9999, and {what} in {text:?}");
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("there is no port"))?;
        let port = port.parse().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| wrong("the port is no number from 1 to 65535"))?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_label = |label: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            (1..=63).contains(&label.len()) && label.chars().all(plain)
        };
        let is_host = match (bracketed, host.parse::<IpAddr>()) {
            (Some(host), _) => host.parse::<std::net::Ipv6Addr>().is_ok(),
            (None, Ok(address)) => address.is_ipv4(),
            (None, Err(_)) => host.len() <= 253 && host.split('.').all(is_label),
        };
        if !is_host {
            return Err(wrong("there is no host"));
        }
        let host = bracketed.unwrap_or(host).to_owned();
        if host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
            return Err(wrong("nobody can be reached at that host; give localhost"));
        }
        Ok(Self { host, port })
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The reference of a container image.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Image(String);

impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
        if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain) {
            return Ok(Self(text));
        }
        Err(D::Error::custom("an image is NAME, NAME:TAG or NAME@DIGEST, such as my/chaincode:1.0"))
    }
}

/// The name of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct VariableName(String);

impl<'de> Deserialize<'de> for VariableName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() || text.contains(['=', '\0']) {
            return Err(D::Error::custom("the name of a variable is not empty and has no `=`"));
        }
        Ok(Self(text))
    }
}

/// The section `[server]` as it is written.
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
    pub(crate) tls: Option<TlsMode>,
}

/// What is wrong in a file, and at which byte of it.
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
    /// The fields that the comments and sections `[server]` of a text do not show. Without `..`, so that
    /// a new one makes this fail to compile.
    pub(crate) fn lacking(text: &str) -> Vec<&'static str> {
        let Self { program: _, command: _, image: _, address: _, arguments: _, directory: _, environment: _, tls: _ } =
            Self::default();
        let fields = ["program", "command", "image", "address", "arguments", "directory", "environment", "tls"];
        let begins = |field: &str| {
            let line = |line: &str| line.trim_start_matches(['#', ' ']).starts_with(&format!("{field} = "));
            text.lines().any(line)
        };
        fields.into_iter().filter(|field| !begins(field)).collect()
    }
}

impl ServerSection {
    /// What it asks for, and where that is said; `base` is the file's directory, `at` where the section begins.
    pub(crate) fn resolve(self, base: &Path, at: usize) -> Result<(Server, usize), Mistake> {
        let Self { program, command, image, address, arguments, directory, environment, tls: _ } = self;
        let given = [program.is_some(), command.is_some(), image.is_some(), address.is_some()];
        if given.iter().filter(|is_given| **is_given).count() != 1 {
            let what = "[server] has one of `program`, `command`, `image` and `address`".to_owned();
            return Err(Mistake { at, what });
        }
        if let Some(directory) = &directory
            && (program.is_some() || image.is_some())
        {
            return Err(mistake(directory, "only a `command` or an `address` has a `directory`"));
        }
        if let Some(arguments) = &arguments
            && (command.is_some() || address.is_some())
        {
            return Err(mistake(arguments, "only a `program` or an `image` has `arguments`"));
        }
        if address.is_some() && !environment.is_empty() {
            let what = "the environment of a server at an `address` is yours to set; leave `environment` out";
            return Err(Mistake { at, what: what.to_owned() });
        }
        // An empty path is none to the system.
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
            // One of them is there, as was counted.
            return Err(Mistake { at, what: "[server] is empty".to_owned() });
        };
        let environment = environment.into_iter().map(|(name, value)| (name.0, value)).collect();
        Ok((Server { source, arguments, environment, origin: String::new() }, at))
    }
}

fn existing(directory: PathBuf, at: &Spanned<PathBuf>) -> Result<PathBuf, Mistake> {
    if directory.is_dir() {
        return Ok(directory);
    }
    Err(mistake(at, format!("directory {} is not there", directory.display())))
}

/// The program that a command begins with: by PATH, or relative to the directory when it has a `/`.
fn first_word(command: &[Template], directory: &Path) -> Result<PathBuf, String> {
    let word = command.first().ok_or("the command is empty; it begins with a program")?;
    let word = word.plain().filter(|word| !word.is_empty());
    let word = word.ok_or("the command's first word is a program, and has no ${…}")?;
    if word.contains('/') {
        let path = directory.join(&word);
        return program::check(&path).map(|()| path.clone()).map_err(|what| format!("{}: {what}", path.display()));
    }
    let found = program::find(&word, &program::directories("PATH"), program::is_program);
    // A relative entry of PATH is relative to where this program is.
    found
        .and_then(|path| std::path::absolute(path).ok())
        .ok_or_else(|| format!("there is no program {word} on PATH; for one of the `directory` write ./{word}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, is_loopback) in
            [("localhost:9999", true), ("127.0.0.1:1", true), ("[::1]:65535", true), ("my-cc.example.com:80", false)]
        {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.is_loopback()), (text, is_loopback));
        }
        for (text, expected) in [
            ("localhost", "there is no port"),
            ("localhost:", "the port is no number"),
            ("localhost:0", "the port is no number"),
            ("localhost:65536", "the port is no number"),
            (":9999", "there is no host"),
            ("::1:9999", "there is no host"),
            ("a b:9999", "there is no host"),
            ("./a:9999", "there is no host"),
            ("0.0.0.0:9999", "give localhost"),
            ("[::]:9999", "give localhost"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_text_has_variables_and_dollars() {
        let values = BTreeMap::from([(PORT.to_owned(), "9".to_owned())]);
        for (text, expected) in [
            ("", Ok("")),
            ("${CHAINCODE_SERVER_PORT}", Ok("9")),
            ("a$$b${CHAINCODE_SERVER_PORT}c$${X}", Ok("a$b9c${X}")),
            ("[${CHAINCODE_TLS_CERT}]", Ok("[]")),
            ("${HOME}", Err("there is no variable ${HOME}; there are CHAINCODE_ID, ")),
            ("$HOME", Err("a `$` begins a variable")),
            ("${CHAINCODE_ID", Err("a `$` begins a variable")),
            ("$", Err("write `$$` for a dollar")),
            ("a\0", Err("a NUL")),
        ] {
            match (text.parse::<Template>(), expected) {
                (Ok(template), Ok(expected)) => assert_eq!(template.fill(&values), expected, "{text}"),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{text}: {error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
