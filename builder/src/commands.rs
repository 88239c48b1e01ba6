//! The commands for operators: `explain`, `inspect` and `package`. Results go to stdout, messages to
//! stderr.

use std::ffi::OsStr;
use std::fs;
use std::io::Stderr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::connection::Field;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::explain::{Explanation, explain};
use crate::finding::Finding;
use crate::package::{Contents, MAX_PACKAGE, MAX_SETTING, Opened, PackageError, package_id, read_file};
use crate::quote::quoted_path;
use crate::report::{Report, print};
use crate::tls;
use serde_json::Value;

/// The part of `--help` for these commands.
pub const USAGE: &str = "  explain PACKAGE|DIR          Show what detect, build and release would do, with keys masked
  inspect PACKAGE              Show type, label, ID, files, connection and certificates
  package OUTPUT [OPTION…]     Write a package and print its ID
    --from DIR                 Package all files in DIR; its metadata.json sets label and type
    --label LABEL              Set the label, the first part of the package ID
    --type TYPE                Set the package type [default: ccaas]
    --address HOST:PORT, --dial-timeout DURATION, --domain NAME, --tls-required BOOL,
    --client-auth-required BOOL, --root-cert FILE, --client-cert FILE
                               Set a field of connection.json
";

/// Explains a package, or a directory with an unpacked one.
pub fn explain_path(path: &Path, report: &mut Report<Stderr>) -> Exit {
    let environment = Environment::from_process();
    let explained = if path.join("code.tar.gz").is_file() {
        report.error("explain: found a partly unpacked package, expected a .tar.gz, or a directory with metadata.json and connection.json");
        return Exit::Usage;
    } else if path.is_dir() {
        explain(path, &environment).map_err(PackageError::File)
    } else {
        open(path).and_then(|package| {
            let Explanation { text, warnings } = package.explain(&environment)?;
            Ok(Explanation { text: format!("package  {}\n{text}", package.id), warnings })
        })
    };
    match explained {
        Ok(Explanation { text, warnings }) => {
            report.findings(&warnings);
            print(&text, report)
        }
        Err(error) => failure("explain", &error, report),
    }
}

/// Prints type, label, ID, files, connection and certificates of a package.
pub fn inspect(path: &Path, report: &mut Report<Stderr>) -> Exit {
    let inspected = open(path).and_then(|package| {
        let findings = package.findings(&Environment::default())?;
        Ok((package, findings))
    });
    match inspected {
        Ok((package, findings)) => {
            report.findings(&findings.into_iter().map(Finding::for_any_peer).collect::<Vec<_>>());
            print(&package.describe(SystemTime::now()), report)
        }
        Err(error) => failure("inspect", &error, report),
    }
}

/// Writes a package and prints its ID. `arguments` are the output file, then options with their values.
pub fn package(arguments: &[&Path], report: &mut Report<Stderr>) -> Exit {
    let Some((output, options)) = arguments.split_first() else {
        report.error("package: missing argument OUTPUT; usage: package OUTPUT [OPTION…]");
        return Exit::Usage;
    };
    let options = match parse_options(options).and_then(|options| check_output(output, &options).map(|()| options)) {
        Ok(options) => options,
        Err(problem) => {
            report.error(&format!("package: {problem}"));
            return Exit::Usage;
        }
    };
    match create(output, &options, report) {
        Ok(id) => print(&format!("{id}\n"), report),
        Err(error) => failure("package", &error, report),
    }
}

#[derive(Default)]
struct Options<'a> {
    from: Option<&'a Path>,
    label: Option<&'a str>,
    kind: Option<&'a str>,
    fields: Vec<(Field, &'a str)>,
}

fn parse_options<'a>(arguments: &[&'a Path]) -> Result<Options<'a>, String> {
    let mut options = Options::default();
    let mut seen = Vec::new();
    for pair in arguments.chunks(2) {
        let name = pair[0].to_string_lossy();
        if seen.contains(&name) {
            return Err(format!("duplicate option {name}"));
        }
        seen.push(name.clone());
        let value = *pair.get(1).ok_or_else(|| format!("missing value for {name}"))?;
        let text = value.to_str().ok_or_else(|| format!("invalid value for {name}: not UTF-8"))?;
        match name.as_ref() {
            "--from" => options.from = Some(value),
            "--label" => options.label = Some(text),
            "--type" => options.kind = Some(text),
            other => match field_of(other) {
                Some(field) => options.fields.push((field, text)),
                None => return Err(format!("unknown option {name:?}; see --help")),
            },
        }
    }
    Ok(options)
}

/// Checks that the output is a file outside the packaged directory.
fn check_output(output: &Path, options: &Options<'_>) -> Result<(), String> {
    if output.as_os_str().is_empty() || output.is_dir() {
        return Err(format!("invalid OUTPUT {}: not a file name", quoted_path(&output.to_string_lossy())));
    }
    let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (parent.canonicalize(), options.from.and_then(|from| from.canonicalize().ok())) {
        (Ok(parent), Some(from)) if parent.starts_with(&from) => Err(format!(
            "invalid OUTPUT {}: the next package from --from would contain it; use another directory",
            quoted_path(&output.to_string_lossy())
        )),
        _ => Ok(()),
    }
}

/// The field of an option. `client_key` has none, since packages should not contain private keys.
fn field_of(option: &str) -> Option<Field> {
    let name = option.strip_prefix("--")?.replace('-', "_");
    Field::ALL.into_iter().find(|field| field.name() == name && *field != Field::ClientKey)
}

fn create(output: &Path, options: &Options<'_>, report: &mut Report<Stderr>) -> Result<String, PackageError> {
    let mut contents = options.from.map(Contents::from_directory).transpose()?.unwrap_or_default();
    if let Some(label) = options.label {
        label.clone_into(&mut contents.metadata.label);
    }
    match options.kind {
        Some(kind) => kind.clone_into(&mut contents.metadata.kind),
        None if contents.metadata.kind.is_empty() => "ccaas".clone_into(&mut contents.metadata.kind),
        None => {}
    }
    for (field, text) in &options.fields {
        contents.set(*field, value_of(*field, text)?)?;
    }
    let (bytes, warnings) = contents.to_bytes()?;
    let id = package_id(&contents.metadata.label, &bytes);
    debug_assert_eq!(Opened::read(&bytes).ok().map(|opened| opened.id), Some(id.clone()), "peers can read it");
    report.findings(&warnings);
    write(output, &bytes)?;
    Ok(id)
}

fn value_of(field: Field, text: &str) -> Result<Value, PackageError> {
    if field.is_pem() && !text.contains("-----BEGIN") && !text.contains("{{") {
        let path = Path::new(text);
        let pem = read_file(path, MAX_SETTING).map_err(|error| in_file(path, &error))?;
        let pem = String::from_utf8_lossy(&pem).into_owned();
        if pem.contains("PRIVATE KEY") {
            let expected = "only certificates, because everyone with the package has the key";
            return Err(PackageError::Invalid(format!("{text}: found a private key, expected {expected}")));
        }
        if let Err(problem) = tls::certificates(&pem) {
            return Err(PackageError::Invalid(format!("{text}: found {problem}, expected a PEM CERTIFICATE")));
        }
        return Ok(Value::from(pem));
    }
    Ok(match text {
        "true" | "false" if matches!(field, Field::TlsRequired | Field::ClientAuthRequired) => {
            Value::from(text == "true")
        }
        other => Value::from(other),
    })
}

fn write(output: &Path, bytes: &[u8]) -> Result<(), PackageError> {
    let mut staged = output.file_name().unwrap_or(OsStr::new("package")).to_owned();
    staged.push(".partial");
    let staged: PathBuf = output.with_file_name(staged);
    let written = fs::write(&staged, bytes).and_then(|()| fs::rename(&staged, output));
    if written.is_err() {
        let _ = fs::remove_file(&staged);
    }
    written.map_err(|error| in_file(output, &error))
}

fn open(path: &Path) -> Result<Opened, PackageError> {
    Opened::read(&read_file(path, MAX_PACKAGE).map_err(|error| in_file(path, &error))?)
}

fn in_file(path: &Path, error: &std::io::Error) -> PackageError {
    PackageError::Write(std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn failure(command: &str, error: &PackageError, report: &mut Report<Stderr>) -> Exit {
    match error {
        PackageError::File(error) => {
            report.failure(command, error);
            error.exit()
        }
        PackageError::Write(_) => {
            report.error(&format!("{command}: {error}"));
            Exit::Io
        }
        _ => {
            report.error(&format!("{command}: {error}"));
            Exit::Package
        }
    }
}
