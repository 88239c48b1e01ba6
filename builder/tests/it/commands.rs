//! Tests of the commands for operators, and of reading packages.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use ccaas_builder::package::{Contents, Opened, PackageError};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::pki::PEMS;

fn builder(directory: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ccaas-builder"));
    command.args(arguments).current_dir(directory).env_clear().env("TMPDIR", directory.join("tmp"));
    command.envs(environment.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A directory with the files of a package in `from`.
fn source() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let indexes = directory.path().join("from/META-INF/statedb/couchdb/indexes");
    fs::create_dir_all(&indexes).unwrap();
    fs::create_dir(directory.path().join("tmp")).unwrap();
    fs::write(indexes.join("owner.json"), r#"{"index":{"fields":["owner"]}}"#).unwrap();
    let connection = r#"{"address":"{{.host}}:9999","tls_required":"true","x-owner":"us"}"#;
    fs::write(directory.path().join("from/connection.json"), connection).unwrap();
    fs::write(directory.path().join("ca.pem"), &PEMS["ca"]).unwrap();
    fs::write(directory.path().join("client.pem"), &PEMS["client"]).unwrap();
    fs::write(directory.path().join("client.key"), &PEMS["client.key"]).unwrap();
    directory
}

#[test]
fn a_directory_is_packaged_inspected_and_explained() {
    let directory = source();
    let root = directory.path();
    let arguments = ["package", "p.tar.gz", "--from", "from", "--label", "basic_1.0", "--root-cert", "ca.pem"];
    let created = builder(root, &[], &arguments);
    assert_eq!(created.status.code(), Some(0), "{created:?}");
    let id = text(&created.stdout).trim().to_owned();
    assert!(text(&created.stderr).starts_with("warning: connection.json: address: found a template"), "{created:?}");
    let bytes = fs::read(root.join("p.tar.gz")).unwrap();
    let opened = Opened::read(&bytes).unwrap();
    assert_eq!((opened.id.as_str(), opened.metadata.kind.as_str()), (id.as_str(), "ccaas"));
    assert_eq!(builder(root, &[], &arguments).stdout, created.stdout, "the same again");

    let inspected = builder(root, &[], &["inspect", "p.tar.gz"]);
    let size = opened.files[Path::new("connection.json")].len();
    assert_eq!(
        text(&inspected.stdout),
        format!(
            "package ID  {id}\nlabel       basic_1.0\ntype        \"ccaas\"\n\
             file        META-INF/statedb/couchdb/indexes/owner.json (30 bytes)\n\
             file        connection.json ({size} bytes)\n\
             connection  address               a template\n\
             connection  root_cert             \"CN=ca\", valid until 2100-01-01T00:00:00Z\n\
             connection  tls_required          \"true\"\n\
             connection  x-owner               unknown to Fabric\n"
        )
    );

    let environment = [
        ("CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG", r#"{"host":"mycc"}"#),
        ("CORE_CHAINCODE_CLIENT_AUTH_REQUIRED", "true"),
        ("CORE_CHAINCODE_ROOT_CERT", "ca.pem"),
        ("CORE_CHAINCODE_TLS_CLIENT_CERT", "client.pem"),
        ("CORE_CHAINCODE_TLS_CLIENT_KEY", "client.key"),
    ];
    let explained = builder(root, &environment, &["explain", "p.tar.gz"]);
    let output = text(&explained.stdout);
    for line in [
        format!("package  {id}\n").as_str(),
        "accepts basic_1.0 of type \"ccaas\"\n",
        "mode 0600 (contains a private key)",
        "mycc:9999 with mutual TLS, dial timeout 3s\n",
        "address               from connection.json\n",
        "client_key            from CORE_CHAINCODE_TLS_CLIENT_KEY (\"client.key\")\n",
        "statedb/couchdb/indexes/owner.json from META-INF/\n",
        "\"client_key\": \"(masked)\"",
        "\"x-owner\": \"us\"",
    ] {
        assert!(output.contains(line), "{line:?} is not in\n{output}\n{explained:?}");
    }
    assert!(!output.contains("PRIVATE KEY"), "{output}");
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0, "explain removes its temporary files");
    fs::write(root.join("from/metadata.json"), r#"{"type":"external","label":"basic_1.0"}"#).unwrap();
    let unpacked = builder(root, &environment, &["explain", "from"]);
    assert!(text(&unpacked.stdout).contains("of type \"external\""), "{unpacked:?}");
}

#[test]
fn explain_fails_like_build() {
    let directory = source();
    fs::write(directory.path().join("from/metadata.json"), r#"{"type":"ccaas","label":"l"}"#).unwrap();
    let failed = builder(directory.path(), &[], &["explain", "from"]);
    assert_eq!(failed.status.code(), Some(5));
    assert!(text(&failed.stderr).contains("connection.json: address: found a template with the key \"host\""));
    let missing = builder(directory.path(), &[], &["explain", "nothing"]);
    assert_eq!((missing.status.code(), text(&missing.stdout)), (Some(1), String::new()));
}

#[test]
fn invalid_arguments_are_reported() {
    let directory = source();
    rustix::fs::mkfifoat(rustix::fs::CWD, directory.path().join("pipe"), rustix::fs::Mode::RWXU).unwrap();
    fs::File::create(directory.path().join("huge")).unwrap().set_len(5_000_000_000).unwrap();
    for (arguments, message) in [
        (&["package"][..], "missing argument OUTPUT"),
        (&["package", "o", "--lable", "x"], "unknown option \"--lable\""),
        (&["package", "o", "--label"], "missing value for --label"),
        (&["package", "o", "--client-key", "k"], "unknown option \"--client-key\""),
        (&["package", "o", "--label", "a", "--label", "b"], "duplicate option --label"),
        (&["package", "from", "--label", "a"], "invalid OUTPUT \"from\": not a file name"),
        (&["package", "", "--label", "a"], "invalid OUTPUT \"\""),
        (&["package", "from/o", "--from", "from"], "invalid OUTPUT \"from/o\": the next package from --from"),
        (&["inspect", ""], "inspect: empty argument"),
        (&["install", ""], "install: empty argument"),
    ] {
        let rejected = builder(directory.path(), &[], arguments);
        assert_eq!(rejected.status.code(), Some(2), "{rejected:?}");
        assert!(text(&rejected.stderr).contains(message), "{rejected:?}");
    }
    for (arguments, code, message) in [
        (&["package", "o", "--address", "a:1"][..], 8, "invalid package label ``: use letters"),
        (&["package", "o", "--label", "l"], 8, "connection.json: found no such file"),
        (&["package", "o", "--label", "l", "--root-cert", "none.pem"], 1, "none.pem: No such file"),
        (&["package", "no/o", "--label", "l", "--address", "a:1"], 1, "no/o: No such file"),
        (&["package", "o", "--label", "l", "--root-cert", "from/connection.json"], 8, "bytes that are not PEM"),
        (&["package", "o", "--label", "l", "--client-cert", "client.key"], 8, "client.key: found a private key"),
        (&["package", "o", "--label", "l", "--root-cert", "/dev/zero"], 1, "/dev/zero: not a regular file"),
        (&["inspect", "/dev/zero"], 1, "/dev/zero: not a regular file"),
        (&["explain", "pipe"], 1, "pipe: not a regular file"),
        (&["inspect", "huge"], 1, "huge: larger than 100 MiB"),
    ] {
        let rejected = builder(directory.path(), &[], arguments);
        assert_eq!(rejected.status.code(), Some(code), "{rejected:?}");
        assert!(text(&rejected.stderr).contains(message), "{rejected:?}");
    }
    assert!(!directory.path().join("o").exists());
}

#[test]
fn private_keys_and_unusual_types_are_warned_about() {
    let directory = source();
    fs::write(directory.path().join("from/secret"), &PEMS["client.key"]).unwrap();
    let arguments = ["package", "o", "--from", "from", "--label", "l", "--type", "golang"];
    let created = builder(directory.path(), &[], &arguments);
    assert_eq!(created.status.code(), Some(0), "{created:?}");
    for message in [
        "warning: metadata.json: type: found \"golang\", expected ccaas or external",
        "warning: secret: found a private key in the package",
    ] {
        assert!(text(&created.stderr).contains(message), "{message}\n{created:?}");
    }
}

/// The lines of stderr that begin with a place, without `error: ` or `warning: `, sorted.
fn findings(output: &Output) -> Vec<String> {
    let stderr = text(&output.stderr);
    let finding = |line: &str| {
        let (severity, finding) = line.split_once(": ")?;
        (["error", "warning"].contains(&severity) && finding.contains(": found ")).then(|| finding.to_owned())
    };
    let mut findings: Vec<String> = stderr.lines().filter_map(finding).collect();
    findings.sort();
    findings
}

#[test]
fn package_inspect_and_explain_report_the_same_findings() {
    let good = r#"{"index":{"fields":["owner"]}}"#;
    let statedb = "META-INF/statedb/couchdb";
    let bad_indexes = [
        (format!("{statedb}/indexes/broken.json"), "{", "invalid JSON"),
        (format!("{statedb}/indexes/owner.txt"), good, "a file without the extension .json"),
        (format!("{statedb}/owner.json"), good, "a file in a directory that peers ignore"),
        (format!("{statedb}/collections/a b/indexes/owner.json"), good, "invalid collection name"),
        ("META-INF/couchdb/indexes/owner.json".to_owned(), good, "a file that peers ignore"),
        ("statedb/couchdb/indexes/owner.json".to_owned(), good, "a file that peers ignore"),
        ("src/META-INF/statedb/couchdb/indexes/owner.json".to_owned(), good, "a file that peers ignore"),
    ];
    for (connection, expected) in [
        (
            r#"{"address":"a:1"}"#,
            &["connection.json: tls_required: found nothing, expected true or false; peers do not"][..],
        ),
        (r#"{"address":"a:1","tls_required":true}"#, &["connection.json: root_cert: found nothing, expected PEM"]),
        (
            r#"{"name":"test-network","version":"1.0.0"}"#,
            &[
                "connection.json: address: found nothing, expected host:port",
                "connection.json: found only fields that peers ignore, such as \"name\"",
                "connection.json: tls_required: found nothing",
            ],
        ),
        (r#"{"address":"0.0.0.0:1","tls_required":false}"#, &["connection.json: address: found \"0.0.0.0:1\""]),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("from/program")).unwrap();
        fs::write(root.join("from/connection.json"), connection).unwrap();
        fs::write(root.join("from/metadata.json"), r#"{"type":"ccaas","label":"l"}"#).unwrap();
        fs::write(root.join("from/program/main.js"), "").unwrap();
        for (path, content, _) in &bad_indexes {
            fs::create_dir_all(root.join("from").join(path).parent().unwrap()).unwrap();
            fs::write(root.join("from").join(path), content).unwrap();
        }
        // No command needs a temporary directory.
        let packaged = builder(root, &[], &["package", "p.tar.gz", "--from", "from"]);
        assert_eq!(packaged.status.code(), Some(0), "{packaged:?}");
        let found = findings(&packaged);
        assert_eq!(found.len(), bad_indexes.len() + expected.len(), "{found:#?}");
        for begin in expected {
            assert!(found.iter().any(|line| line.starts_with(begin)), "{begin}\nis not in {found:#?}");
        }
        for (path, _, problem) in &bad_indexes {
            let is_it = |line: &&String| line.contains(path.as_str()) && line.contains(problem);
            assert!(found.iter().any(|line| is_it(&line)), "{path}: {problem}\nis not in {found:#?}");
        }
        let explained = builder(root, &[], &["explain", "p.tar.gz"]);
        let unpacked = builder(root, &[], &["explain", "from"]);
        assert_eq!(explained.status, unpacked.status);
        assert_eq!(text(&explained.stdout).contains("program/main.js"), explained.status.success(), "{explained:?}");
        for output in [builder(root, &[], &["inspect", "p.tar.gz"]), explained, unpacked] {
            assert_eq!(findings(&output), found, "{output:?}");
        }
    }
}

#[test]
fn ignored_files_are_explained() {
    let directory = source();
    let root = directory.path();
    let code =
        archive(&[("connection.json", b'0', br#"{"address":"a:1","tls_required":false}"#), ("main.js", b'0', b"")]);
    let index = "META-INF/statedb/couchdb/indexes/owner.json";
    let package = archive(&[
        ("metadata.json", b'0', METADATA),
        ("code.tar.gz", b'0', &code),
        ("README", b'0', b""),
        (index, b'0', b"{}"),
    ]);
    fs::write(root.join("p.tar.gz"), package).unwrap();
    let explained = builder(root, &[], &["explain", "p.tar.gz"]);
    let ignored = format!("ignored  main.js\n         README\n         {index}\n");
    assert!(text(&explained.stdout).contains(&ignored), "{explained:?}");
    let expected = format!(
        "{index} outside code.tar.gz: found a file that peers ignore, expected indexes in META-INF/statedb/couchdb/, \
         at the top level of code.tar.gz"
    );
    assert_eq!(findings(&explained), [expected]);
    assert_eq!(findings(&builder(root, &[], &["inspect", "p.tar.gz"])), findings(&explained));
}

#[test]
fn a_peers_setting_of_tls_required_needs_none_in_the_package() {
    let directory = source();
    let root = directory.path();
    builder(root, &[], &["package", "p.tar.gz", "--label", "l", "--address", "a:1"]);
    let explained = builder(root, &[("CORE_CHAINCODE_TLS_REQUIRED", "false")], &["explain", "p.tar.gz"]);
    assert_eq!(findings(&explained), Vec::<String>::new(), "{explained:?}");
    assert_eq!(findings(&builder(root, &[], &["explain", "p.tar.gz"])).len(), 1);
}

/// Readers such as `head` close the pipe early.
#[test]
fn a_closed_pipe_is_not_an_error() {
    let directory = source();
    let program = env!("CARGO_BIN_EXE_ccaas-builder");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(program).arg("--help").current_dir(directory.path()).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A .tar.gz of entries: name, type, content. Names are not checked.
fn archive(entries: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(tar::EntryType::new(*kind));
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, *content).unwrap();
    }
    gzip(&archive.into_inner().unwrap())
}

const METADATA: &[u8] = br#"{"path":"","type":"ccaas","label":"l"}"#;

#[test]
fn packages_are_read_as_a_peer_reads_them() {
    let code = archive(&[
        ("META-INF/", b'5', b""),
        ("./a/../connection.json", b'0', b"0123456789"),
        ("connection.json", b'0', b"abc"),
        ("old", 0, b"type 0 is a file, too"),
    ]);
    let package = archive(&[("code.tar.gz", b'0', &code), ("README", b'0', b"x"), ("metadata.json", b'0', METADATA)]);
    let opened = Opened::read(&package).unwrap();
    assert_eq!(opened.metadata.label, "l");
    assert_eq!(opened.ignored, ["README"]);
    let names: Vec<_> = opened.files.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(names, ["connection.json", "old"]);
    // A peer does not truncate the existing file.
    assert_eq!(opened.files[Path::new("connection.json")], b"abc3456789");
}

#[test]
fn invalid_packages_are_rejected() {
    let good = archive(&[("connection.json", b'0', b"{}")]);
    let with = |code: &[u8]| archive(&[("metadata.json", b'0', METADATA), ("code.tar.gz", b'0', code)]);
    assert!(Opened::read(&with(&good)).is_ok());
    let cut = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() / 2);
        bytes
    };
    let bomb = archive(&[("big", b'0', &vec![0; 130 << 20])]);
    let labeled = |label: &str| {
        let metadata = format!(r#"{{"type":"ccaas","label":"{label}"}}"#);
        archive(&[("metadata.json", b'0', metadata.as_bytes()), ("code.tar.gz", b'0', &good)])
    };
    for (package, message) in [
        (b"PK\x03\x04".to_vec(), "found data that is not gzip"),
        (Vec::new(), "found data that is not gzip"),
        (archive(&[]), "found no metadata.json"),
        (archive(&[("metadata.json", b'0', METADATA)]), "found no code.tar.gz"),
        (
            archive(&[("./metadata.json", b'0', METADATA), ("code.tar.gz", b'0', &good)]),
            "found no metadata.json, expected metadata.json and code.tar.gz; the name must not start with",
        ),
        (archive(&[("d/", b'5', b""), ("metadata.json", b'0', METADATA)]), "\"d/\" is not a regular file"),
        (labeled("a b"), "invalid package label `a b`: "),
        (labeled(&"x".repeat(60_000)), "it has 60000 characters, at most 173 are possible"),
        (archive(&[("metadata.json", b'0', b"[]"), ("code.tar.gz", b'0', &good)]), "metadata.json: found an array"),
        (with(b"no gzip"), "code.tar.gz: found data that is not gzip"),
        (with(&cut(good.clone())), "code.tar.gz: found a damaged .tar.gz"),
        (cut(with(&good)), "the package: found a damaged .tar.gz"),
        (with(&archive(&[("../x", b'0', b"")])), "code.tar.gz: \"../x\" is outside the package"),
        (with(&archive(&[("/x", b'0', b"")])), "code.tar.gz: \"/x\" is outside the package"),
        (with(&archive(&[("l", b'2', b"")])), "code.tar.gz: \"l\" is a link or a special file"),
        (with(&archive(&[("a", b'0', b""), ("a/b", b'0', b"")])), "code.tar.gz: a/b is in a directory that is also"),
        (with(&bomb), "found too many or too large files"),
    ] {
        let error = Opened::read(&package).unwrap_err().to_string();
        assert!(error.contains(message), "{message:?} is not in {error:?}");
    }
}

#[test]
fn invalid_connections_and_paths_are_rejected() {
    let metadata = ccaas_builder::metadata::Metadata::parse(METADATA).unwrap();
    let mut contents = Contents { metadata, ..Contents::default() };
    contents.files.insert("connection.json".into(), br#"{"address":1}"#.to_vec());
    assert!(matches!(contents.to_bytes(), Err(PackageError::Connection(_))));
    contents.files.insert("connection.json".into(), br#"{"address":"a:1","tls_required":false}"#.to_vec());
    assert_eq!(contents.to_bytes().unwrap().1, []);
    contents.files.insert("../x".into(), Vec::new());
    assert!(matches!(contents.to_bytes(), Err(PackageError::Path(_))));
}
