//! Runs the case files in `tests/cases/`: input files and variables, the commands to run, and the expected
//! output. `BLESS=1` updates the expected output.
//!
//! ```text
//! # Description
//! env NAME=VALUE            set a variable; $DIR is the case's directory, @name@ a PEM of pki.rs
//! link PATH TARGET          create a symbolic link; fifo PATH: a named pipe; large PATH N: N bytes
//! mode PATH OCTAL           set a file's mode; umask OCTAL: set the umask of the following runs
//! run build src metadata bld
//! exit 5                    expected exit code of the previous run; default 0
//! -- src/connection.json -- an input file
//! == stderr ==              expected output of all runs
//! == bld/x.json 600 ==      expected file in bld or release, with its mode; there are no others
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::pki::PEMS;

/// The directories that a peer creates for each build.
const DIRECTORIES: [&str; 4] = ["src", "metadata", "bld", "release"];

#[derive(Default)]
struct Case {
    head: String,
    steps: Vec<Vec<String>>,
    inputs: Vec<(String, String)>,
    expected: BTreeMap<String, String>,
}

fn parse(text: &str) -> Case {
    let mut case = Case::default();
    let mut section: Option<&mut String> = None;
    for line in text.lines() {
        let titled =
            |mark: &str| line.strip_prefix(mark)?.strip_suffix(mark.trim_end()).map(|title| title.trim().to_owned());
        if let Some(title) = titled("-- ") {
            case.inputs.push((title, String::new()));
            section = case.inputs.last_mut().map(|(_, content)| content);
        } else if let Some(title) = titled("== ") {
            section = Some(case.expected.entry(title).or_default());
        } else if let Some(content) = section.as_mut() {
            content.push_str(line);
            content.push('\n');
        } else {
            let _ = writeln!(case.head, "{line}");
            if !line.is_empty() && !line.starts_with('#') {
                case.steps.push(line.split_whitespace().map(str::to_owned).collect());
            }
        }
    }
    case
}

/// Replaces names by PEM texts, escaped for JSON.
fn insert_pems(text: &str, json: bool) -> String {
    PEMS.iter().fold(text.to_owned(), |text, (name, pem)| {
        let pem = if json { pem.replace("\r\n", "\n").replace('\n', "\\n") } else { pem.clone() };
        text.replace(&format!("@{name}@"), &pem)
    })
}

/// Replaces PEM texts by their names.
fn hide_pems(text: &str) -> String {
    PEMS.iter().fold(text.to_owned(), |text, (name, pem)| {
        let escaped = pem.replace("\r\n", "\n").replace('\n', "\\n");
        text.replace(&escaped, &format!("@{name}@"))
    })
}

fn prepare(case: &Case, dir: &Path) {
    for directory in DIRECTORIES {
        fs::create_dir(dir.join(directory)).unwrap();
    }
    for (path, content) in &case.inputs {
        let target = dir.join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, insert_pems(content, Path::new(path).extension().is_some_and(|e| e == "json"))).unwrap();
    }
}

/// Runs the steps. Returns their output and every unexpected exit code.
fn perform(case: &Case, dir: &Path) -> (String, Vec<String>) {
    let mut environment = Vec::new();
    let mut umask = None;
    let mut output_text = String::new();
    let mut wrong = Vec::new();
    let mut last: Option<(String, i32)> = None;
    for step in &case.steps {
        let step: Vec<&str> = step.iter().map(String::as_str).collect();
        if step[0] != "exit" {
            wrong.extend(last.take().filter(|(_, code)| *code != 0).map(|(run, code)| format!("{run}: exit {code}")));
        }
        match step.as_slice() {
            ["env", setting @ ..] => {
                let setting = insert_pems(&setting.join(" "), false).replace("$DIR", dir.to_str().unwrap());
                let (name, value) = setting.split_once('=').unwrap();
                environment.push((name.to_owned(), value.to_owned()));
            }
            ["link", path, target] => symlink(target, dir.join(path)).unwrap(),
            ["fifo", path] => {
                rustix::fs::mkfifoat(rustix::fs::CWD, dir.join(path), rustix::fs::Mode::RWXU).unwrap();
            }
            ["large", path, size] => {
                fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
                File::create(dir.join(path)).unwrap().set_len(size.parse().unwrap()).unwrap();
            }
            ["mode", path, mode] => {
                fs::set_permissions(dir.join(path), fs::Permissions::from_mode(octal(mode))).unwrap();
            }
            ["umask", mask] => umask = Some((*mask).to_owned()),
            ["run", arguments @ ..] => {
                let output = program(umask.as_deref())
                    .args(arguments)
                    .current_dir(dir)
                    .env_clear()
                    .envs(environment.iter().cloned())
                    .stdin(Stdio::null())
                    .output()
                    .unwrap();
                assert!(output.stdout.is_empty(), "a peer does not log stdout");
                output_text.push_str(&String::from_utf8(output.stderr).unwrap());
                last = Some((arguments.join(" "), output.status.code().unwrap_or(-1)));
            }
            ["exit", code] => {
                let (run, seen) = last.take().expect("exit follows run");
                if *code != seen.to_string() {
                    wrong.push(format!("{run}: exit {seen}, expected {code}"));
                }
            }
            other => panic!("unknown step {other:?}"),
        }
    }
    wrong.extend(last.filter(|(_, code)| *code != 0).map(|(run, code)| format!("{run}: exit {code}")));
    (hide_pems(&output_text.replace(dir.to_str().unwrap(), "$DIR")), wrong)
}

fn octal(mode: &str) -> u32 {
    u32::from_str_radix(mode, 8).unwrap()
}

/// The builder, started by a shell if it needs another umask.
fn program(umask: Option<&str>) -> Command {
    let builder = env!("CARGO_BIN_EXE_ccaas-builder");
    let Some(mask) = umask else { return Command::new(builder) };
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("umask {mask}; exec \"$0\" \"$@\""), builder]);
    shell
}

/// All files in the output directories, by path and mode.
fn outcome(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut pending: Vec<PathBuf> = ["bld", "release"].iter().map(|name| dir.join(name)).collect();
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            found.insert(format!("{} link", path.strip_prefix(dir).unwrap().display()), target.display().to_string());
        } else {
            let name = path.strip_prefix(dir).unwrap().display();
            let content = fs::read(&path).unwrap();
            let content = hide_pems(&String::from_utf8_lossy(&content));
            found.insert(format!("{name} {:o}", metadata.permissions().mode() & 0o777), content);
        }
    }
    found
}

fn check(file: &Path) -> Result<(), String> {
    let text = fs::read_to_string(file).unwrap();
    let case = parse(&text);
    let dir = tempfile::tempdir().unwrap();
    prepare(&case, dir.path());
    let (stderr, wrong) = perform(&case, dir.path());
    let mut seen = outcome(dir.path());
    seen.insert("stderr".into(), stderr);
    if std::env::var_os("BLESS").is_some() {
        let mut blessed = case.head.clone();
        for (path, content) in &case.inputs {
            let _ = write!(blessed, "-- {path} --\n{content}");
        }
        for (title, content) in &seen {
            let _ = writeln!(blessed, "== {title} ==\n{}", content.trim_end());
        }
        fs::write(file, blessed).unwrap();
        return if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) };
    }
    let trimmed = |files: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        files.iter().map(|(title, content)| (title.clone(), content.trim_end().to_owned())).collect()
    };
    let (seen, expected) = (trimmed(&seen), trimmed(&case.expected));
    let mut problems = wrong;
    for title in expected.keys().chain(seen.keys().filter(|title| !expected.contains_key(*title))) {
        let (expected, seen) = (expected.get(title), seen.get(title));
        if expected != seen {
            problems.push(format!("{title}\n  expected: {expected:?}\n  seen:     {seen:?}"));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

#[test]
fn all_cases_pass() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 40, "only {} cases were found", files.len());
    let mut failures = String::new();
    for file in files {
        if let Err(problem) = check(&file) {
            let _ = writeln!(failures, "{}:\n{problem}\n", file.file_name().unwrap().display());
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}
