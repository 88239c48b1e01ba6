//! The commands for people, beside the programs for peers: `explain`, `inspect` and `package`. What
//! was asked for goes to stdout, everything else to stderr.

use std::ffi::OsStr;
use std::fs;
use std::io::Stderr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::connection::Field;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::explain::{Explanation, explain};
use crate::package::{Contents, MAX_PACKAGE, MAX_SETTING, Opened, PackageError, package_id, read_file};
use crate::report::{Report, show};
use crate::tls;
use serde_json::Value;

/// What `--help` of the program says of them.
pub const USAGE: &str = "       ccaas-builder explain PACKAGE|DIR        what these would do with it, keys masked
       ccaas-builder inspect PACKAGE            type, label, ID, files, connection, certificates
       ccaas-builder package OUTPUT [OPTION…]   write a package, print its ID
         --from DIR       every file below it; a metadata.json at its top gives label and type
         --label LABEL    the readable half of the package ID
         --type TYPE      default: ccaas
         --address, --dial-timeout, --domain, --tls-required, --client-auth-required VALUE,
         --root-cert, --client-cert FILE    set that field of connection.json
";

/// A package, or a directory that one was unpacked to.
pub fn explain_path(path: &Path, report: &mut Report<Stderr>) -> Exit {
    let environment = Environment::from_process();
    let outer = path.join("code.tar.gz");
    let explained = if path.is_dir() && outer.is_file() {
        report.error("explain: found a package that is half unpacked, expected the .tar.gz, or a directory with metadata.json and connection.json");
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
            show(&text, report)
        }
        Err(error) => failure("explain", &error, report),
    }
}

/// Type, label, ID, files, connection and certificates of a package, on stdout.
pub fn inspect(path: &Path, report: &mut Report<Stderr>) -> Exit {
    match open(path) {
        Ok(package) => show(&package.describe(SystemTime::now()), report),
        Err(error) => failure("inspect", &error, report),
    }
}

/// Writes a package, and prints its ID on stdout. `arguments` are those of the program: the output file,
/// then options with their values.
pub fn package(arguments: &[&Path], report: &mut Report<Stderr>) -> Exit {
    let Some((output, options)) = arguments.split_first() else {
        report.error("package: found no arguments, expected package OUTPUT [OPTION…]");
        return Exit::Usage;
    };
    let options = match options_of(options).and_then(|options| fits(output, &options).map(|()| options)) {
        Ok(options) => options,
        Err(problem) => {
            report.error(&format!("package: {problem}"));
            return Exit::Usage;
        }
    };
    match make(output, &options, report) {
        Ok(id) => show(&format!("{id}\n"), report),
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

fn options_of<'a>(arguments: &[&'a Path]) -> Result<Options<'a>, String> {
    let mut options = Options::default();
    let mut seen = Vec::new();
    for pair in arguments.chunks(2) {
        let name = pair[0].to_string_lossy();
        if seen.contains(&name) {
            return Err(format!("found {name} a second time, expected each option once"));
        }
        seen.push(name.clone());
        let value = *pair.get(1).ok_or_else(|| format!("found {name} without a value"))?;
        let text = value.to_str().ok_or_else(|| format!("{name}: found a value that is not UTF-8"))?;
        match name.as_ref() {
            "--from" => options.from = Some(value),
            "--label" => options.label = Some(text),
            "--type" => options.kind = Some(text),
            other => match field_of(other) {
                Some(field) => options.fields.push((field, text)),
                None => return Err(format!("found {name:?}, expected one of the options that --help lists")),
            },
        }
    }
    Ok(options)
}

/// Whether the output can be where it shall be: not among what the next package would be made of.
fn fits(output: &Path, options: &Options<'_>) -> Result<(), String> {
    if output.as_os_str().is_empty() || output.is_dir() {
        return Err(format!("OUTPUT: found \"{}\", expected the name of a file", output.display()));
    }
    let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (parent.canonicalize(), options.from.and_then(|from| from.canonicalize().ok())) {
        (Ok(parent), Some(from)) if parent.starts_with(&from) => Err(format!(
            "OUTPUT: found \"{}\" within --from, expected a place outside: the next package would hold it",
            output.display()
        )),
        _ => Ok(()),
    }
}

/// There is none for `client_key`: a package is no place for a private key.
fn field_of(option: &str) -> Option<Field> {
    let name = option.strip_prefix("--")?.replace('-', "_");
    Field::ALL.into_iter().find(|field| field.name() == name && *field != Field::ClientKey)
}

fn make(output: &Path, options: &Options<'_>, report: &mut Report<Stderr>) -> Result<String, PackageError> {
    let mut contents = options.from.map(Contents::of_directory).transpose()?.unwrap_or_default();
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
    // What was written must be what a peer reads.
    let id = package_id(&contents.metadata.label, &bytes);
    debug_assert_eq!(Opened::read(&bytes).ok().map(|opened| opened.id), Some(id.clone()), "a peer reads it");
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
            let expected = "certificates only: whoever has the package would have the key";
            return Err(PackageError::Refused(format!("{text}: found a private key, expected {expected}")));
        }
        if let Err(problem) = tls::certificates(&pem) {
            return Err(PackageError::Refused(format!("{text}: found {problem}, expected PEM with a CERTIFICATE")));
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
