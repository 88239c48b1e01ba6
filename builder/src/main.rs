//! One program for the four that a peer calls: it acts by the name under which it is run, or by its
//! first argument. Reads the command line and the environment, calls the library, reports on
//! stderr, and ends with an [`Exit`] code.

use std::ffi::OsString;
use std::io::{self, Stderr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[cfg(feature = "package")]
use ccaas_builder::commands;
use ccaas_builder::report::{LEVEL_VARIABLE, Report, show};
use ccaas_builder::{Environment, Exit, install};

const HEAD: &str = "\
External builder for Hyperledger Fabric chaincode that runs as a service.

usage: ccaas-builder detect  SRC METADATA       is the package of a type that is taken?
       ccaas-builder build   SRC METADATA BLD   write this peer's connection.json to BLD
       ccaas-builder release BLD RELEASE        give it to the peer, with CouchDB indexes
       ccaas-builder run     BLD RUN_METADATA   say why the peer called this
       ccaas-builder install DIR                copy this program to DIR/bin/{detect,build,release,run}
";
#[cfg(feature = "package")]
const COMMANDS: &str = commands::USAGE;
#[cfg(not(feature = "package"))]
const COMMANDS: &str = "";
const TAIL: &str = "       ccaas-builder --help | --version

Run as detect, build, release or run it needs no first argument.

exit codes: 0 done, 1 input or output failed, 2 usage, 3 type not taken, 4 metadata.json,
            5 connection.json or a setting for it, 6 unsafe file in the package, 7 run was called,
            8 a package that no peer would take";

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let level = std::env::var(LEVEL_VARIABLE).ok();
    let mut report = Report::new(level.as_deref(), io::stderr());
    let own_name = arguments.first().map(PathBuf::from).and_then(|path| path.file_name().map(ToOwned::to_owned));
    let named = own_name.filter(|name| install::PROGRAMS.iter().any(|program| name == program));
    let command = named.or_else(|| (arguments.len() > 1).then(|| arguments.remove(1)));
    let command = command.and_then(|command| command.into_string().ok()).unwrap_or_default();
    let paths: Vec<&Path> = arguments.iter().skip(1).map(Path::new).collect();
    if paths.iter().any(|path| path.as_os_str().is_empty()) && command != "package" {
        // As of a variable that is not set: it would stand for the working directory.
        report.error(&format!("found {command:?} with an empty argument, expected a path"));
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
            report.error(&ccaas_builder::run(output, run_metadata).to_string());
            Exit::NothingToRun
        }
        ("install", [directory]) => install_into(directory, report),
        #[cfg(feature = "package")]
        ("explain", [path]) => commands::explain_path(path, report),
        #[cfg(feature = "package")]
        ("inspect", [path]) => commands::inspect(path, report),
        #[cfg(feature = "package")]
        ("package", arguments) => commands::package(arguments, report),
        ("--help" | "-h" | "help", _) => show(&format!("{HEAD}{COMMANDS}{TAIL}\n"), report),
        ("--version" | "-V", _) => show(concat!("ccaas-builder ", env!("CARGO_PKG_VERSION"), "\n"), report),
        _ => usage(command, paths.len(), report),
    }
}

fn usage(command: &str, given: usize, report: &mut Report<Stderr>) -> Exit {
    let expected = match command {
        "detect" => "detect SRC METADATA",
        "build" => "build SRC METADATA BLD",
        "release" => "release BLD RELEASE",
        "run" => "run BLD RUN_METADATA",
        "install" => "install DIR",
        "explain" => "explain PACKAGE or explain DIR",
        "inspect" => "inspect PACKAGE",
        _ => "detect, build, release, run, install, explain, inspect, package, --help or --version",
    };
    let plural = if given == 1 { "" } else { "s" };
    report.error(&format!("found {command:?} with {given} argument{plural}, expected {expected}"));
    Exit::Usage
}

fn detect(source: &Path, metadata: &Path, report: &mut Report<Stderr>) -> Exit {
    match ccaas_builder::detect(source, metadata, &Environment::from_process()) {
        Ok(detected) => {
            report.info(&format!("detect: {} is of type {}", detected.metadata.label, detected.metadata.kind));
            Exit::Success
        }
        Err(error) => {
            report.failure("detect", &error);
            error.exit()
        }
    }
}

fn build(source: &Path, metadata: &Path, output: &Path, report: &mut Report<Stderr>) -> Exit {
    match ccaas_builder::build(source, metadata, output, &Environment::from_process()) {
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
    match ccaas_builder::release(output, release) {
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
            report.error(&format!("install: this program's own file is unknown: {error}"));
            return Exit::Io;
        }
    };
    match install::install(&program, directory) {
        Ok(bin) => {
            report.info(&format!("install: {} in {}", install::PROGRAMS.join(", "), bin.display()));
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
        0 => "no files for CouchDB".to_owned(),
        1 => "1 file for CouchDB".to_owned(),
        more => format!("{more} files for CouchDB"),
    }
}
