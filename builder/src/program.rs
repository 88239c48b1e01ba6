//! The program: runs the command given by its own file name or by the first argument, reports to
//! stderr, and exits with an [`Exit`] code. Another program that peers call by the names of an external builder runs it
//! too.

use std::ffi::{OsStr, OsString};
use std::io::{self, Stderr};
use std::path::Path;
use std::process::ExitCode;

#[cfg(feature = "package")]
use crate::commands;
use crate::report::{LEVEL_VARIABLE, Report, print};
use crate::{Environment, Exit, install};

const HEAD: &str = "\
External builder for Hyperledger Fabric chaincode as a service

Usage: ccaas-builder COMMAND [ARGUMENT…]

Commands for peers:
  detect SRC METADATA          Check whether the package type is supported
  build SRC METADATA BLD       Write the connection.json of this peer
  release BLD RELEASE          Release connection.json and the CouchDB indexes
  run BLD RUN_METADATA         Report why the peer called run

Commands for operators:
  install DIR                  Install this program as DIR/bin/{detect,build,release,run}
";
#[cfg(feature = "package")]
const COMMANDS: &str = commands::USAGE;
#[cfg(not(feature = "package"))]
const COMMANDS: &str = "";
const TAIL: &str = "
Options:
  -h, --help                   Print help
  -V, --version                Print the version

If the program's file name is detect, build, release or run, omit COMMAND.

Exit codes:
  0  success
  1  a file could not be read or written
  2  invalid arguments
  3  unsupported package type
  4  invalid metadata.json
  5  invalid connection.json or setting of the peer
  6  link, special file or too large file in the package
  7  run was called
  8  package that peers reject
";

/// The command that this program is called as by a peer: `detect`, `build`, `release` or `run`. `program` is the first
/// of the program's arguments.
pub fn called_as(program: &OsStr) -> Option<&OsStr> {
    Path::new(program).file_name().filter(|name| install::PROGRAMS.iter().any(|program| name == program))
}

/// Runs the command of these arguments, of which the first is the program's own name.
pub fn main(mut arguments: Vec<OsString>) -> ExitCode {
    let level = std::env::var(LEVEL_VARIABLE).ok();
    let mut report = Report::new(level.as_deref(), io::stderr());
    let program = arguments.first().and_then(|program| called_as(program)).map(ToOwned::to_owned);
    let command = program.or_else(|| (arguments.len() > 1).then(|| arguments.remove(1)));
    let command = command.and_then(|command| command.into_string().ok()).unwrap_or_default();
    let paths: Vec<&Path> = arguments.iter().skip(1).map(Path::new).collect();
    if paths.iter().any(|path| path.as_os_str().is_empty()) && command != "package" {
        // Usually from an unset variable. It would mean the working directory.
        report.error(&format!("{command}: empty argument; expected a path"));
        return Exit::Usage.into();
    }
    dispatch(&command, &paths, &mut report).into()
}

fn dispatch(command: &str, paths: &[&Path], report: &mut Report<Stderr>) -> Exit {
    report.debug(&format!("{command} {paths:?}"));
    match (command, paths) {
        ("detect", [source, metadata]) => detect(source, metadata, report),
        ("build", [source, metadata, output]) => build(source, metadata, output, report),
        ("release", [output, release]) => self::release(output, release, report),
        ("run", [output, run_metadata]) => {
            report.error(&crate::run(output, run_metadata).to_string());
            Exit::NothingToRun
        }
        ("install", [directory]) => install_into(directory, report),
        #[cfg(feature = "package")]
        ("explain", [path]) => commands::explain_path(path, report),
        #[cfg(feature = "package")]
        ("inspect", [path]) => commands::inspect(path, report),
        #[cfg(feature = "package")]
        ("package", arguments) => commands::package(arguments, report),
        ("--help" | "-h" | "help", _) => print(&format!("{HEAD}{COMMANDS}{TAIL}"), report),
        ("--version" | "-V", _) => print(concat!("ccaas-builder ", env!("CARGO_PKG_VERSION"), "\n"), report),
        _ => usage(command, paths.len(), report),
    }
}

fn usage(command: &str, found: usize, report: &mut Report<Stderr>) -> Exit {
    let arguments = match command {
        "detect" => "SRC METADATA",
        "build" => "SRC METADATA BLD",
        "release" => "BLD RELEASE",
        "run" => "BLD RUN_METADATA",
        "install" => "DIR",
        "explain" => "PACKAGE|DIR",
        "inspect" => "PACKAGE",
        _ => {
            let problem =
                if command.is_empty() { "missing command".to_owned() } else { format!("unknown command {command:?}") };
            report.error(&format!("{problem}; see ccaas-builder --help"));
            return Exit::Usage;
        }
    };
    report.error(&format!("{command}: wrong number of arguments: {found}; usage: {command} {arguments}"));
    Exit::Usage
}

fn detect(source: &Path, metadata: &Path, report: &mut Report<Stderr>) -> Exit {
    match crate::detect(source, metadata, &Environment::from_process()) {
        Ok(detected) => {
            report.info(&format!("detect: {} has type {}", detected.metadata.label, detected.metadata.kind));
            Exit::Success
        }
        Err(error) => {
            report.failure("detect", &error);
            error.exit()
        }
    }
}

fn build(source: &Path, metadata: &Path, output: &Path, report: &mut Report<Stderr>) -> Exit {
    match crate::build(source, metadata, output, &Environment::from_process()) {
        Ok(built) => {
            report.findings(&built.warnings);
            report.info(&format!(
                "build: {} connects to {}, {}",
                built.metadata.label,
                built.connection.summary(),
                counted(built.indexes)
            ));
            Exit::Success
        }
        Err(error) => {
            report.failure("build", &error);
            error.exit()
        }
    }
}

fn release(output: &Path, release: &Path, report: &mut Report<Stderr>) -> Exit {
    match crate::release(output, release) {
        Ok(released) => {
            report.info(&format!("release: {}, {}", released.connection.summary(), counted(released.indexes)));
            Exit::Success
        }
        Err(error) => {
            report.failure("release", &error);
            error.exit()
        }
    }
}

fn install_into(directory: &Path, report: &mut Report<Stderr>) -> Exit {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            report.error(&format!("install: cannot find the file of this program: {error}"));
            return Exit::Io;
        }
    };
    match install::install(&program, directory) {
        Ok(bin) => {
            report.info(&format!("install: installed {} in {}", install::PROGRAMS.join(", "), bin.display()));
            Exit::Success
        }
        Err(error) => {
            report.failure("install", &error);
            error.exit()
        }
    }
}

fn counted(files: usize) -> String {
    match files {
        0 => "no CouchDB index files".to_owned(),
        1 => "1 CouchDB index file".to_owned(),
        more => format!("{more} CouchDB index files"),
    }
}
