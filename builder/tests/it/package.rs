//! Tests of packages: deterministic bytes, and what a peer requires.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use ccaas_builder::connection::Connection;
use ccaas_builder::metadata::Metadata;
use ccaas_builder::package::{Package, PackageError, package_id};
use flate2::read::GzDecoder;
use proptest::prelude::*;

fn package(extra: &[(&str, &[u8])]) -> Package {
    Package {
        label: "basic_1.0".into(),
        kind: "ccaas".into(),
        connection: Connection {
            address: "mycc.example.com:9999".into(),
            dial_timeout: "10s".into(),
            tls_required: true,
            root_cert: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".into(),
            ..Connection::default()
        },
        extra_files: extra.iter().map(|(path, bytes)| (PathBuf::from(path), bytes.to_vec())).collect(),
    }
}

/// Entries of a .tar.gz in order: path, mode, owner, time, content.
fn entries(bytes: &[u8]) -> Vec<(String, u32, u64, u64, Vec<u8>)> {
    let mut archive = tar::Archive::new(GzDecoder::new(bytes));
    let read = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header();
        assert_eq!(header.entry_type(), tar::EntryType::Regular);
        let owner = header.uid().unwrap() + header.gid().unwrap();
        let (mode, time) = (header.mode().unwrap(), header.mtime().unwrap());
        (entry.path().unwrap().display().to_string(), mode, owner, time, content)
    });
    read.collect()
}

/// A change of this ID means a new package ID for every user.
#[test]
fn the_package_id_is_fixed() {
    let index = br#"{"index":{"fields":["owner"]}}"#;
    let bytes = package(&[("META-INF/statedb/couchdb/indexes/owner.json", index)]).to_bytes().unwrap();
    assert_eq!(
        package_id("basic_1.0", &bytes),
        "basic_1.0:ea5736fcd58db483f1c073ede7d12434dd7af461ed42c1f853441abee5f7bef4"
    );
}

#[test]
fn packages_have_the_format_that_peers_read() {
    let package = package(&[("META-INF/statedb/couchdb/indexes/a.json", b"{}"), ("a.txt", b"")]);
    let bytes = package.to_bytes().unwrap();
    // Magic number, deflate, no flags, no time, unknown system.
    assert_eq!(bytes[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[9], 255);
    let outer = entries(&bytes);
    let names: Vec<_> = outer.iter().map(|(path, ..)| path.as_str()).collect();
    assert_eq!(names, ["metadata.json", "code.tar.gz"]);
    let metadata = Metadata::parse(&outer[0].4).unwrap();
    assert_eq!((metadata.kind.as_str(), metadata.label.as_str()), ("ccaas", "basic_1.0"));
    let inner = entries(&outer[1].4);
    let names: Vec<_> = inner.iter().map(|(path, ..)| path.as_str()).collect();
    assert_eq!(names, ["META-INF/statedb/couchdb/indexes/a.json", "a.txt", "connection.json"]);
    assert_eq!(inner[2].4, package.connection.to_bytes());
    for (path, mode, owner, time, _) in outer.iter().chain(&inner) {
        assert_eq!((*mode, *owner, *time), (0o644, 0, 0), "{path}");
    }
}

#[test]
fn invalid_paths_and_labels_are_rejected() {
    for path in ["../x", "/x", "a/../../x", "", ".", "connection.json"] {
        let result = package(&[(path, b"")]).to_bytes();
        assert!(matches!(result, Err(PackageError::Path(_))), "{path:?}: {result:?}");
    }
    let mut unlabeled = package(&[]);
    unlabeled.label = "a b".into();
    assert!(matches!(unlabeled.to_bytes(), Err(PackageError::Label(_))));
}

#[test]
fn long_paths_are_kept() {
    let long = format!("META-INF/{}/x.json", "d".repeat(240));
    let bytes = package(&[(&long, b"1")]).to_bytes().unwrap();
    let inner = entries(&entries(&bytes)[1].4);
    assert_eq!(inner[0].0, long);
}

proptest! {
    #[test]
    fn bytes_do_not_depend_on_insertion_order(
        files in prop::collection::btree_map("[a-z]{1,8}(/[a-z]{1,8}){0,3}", prop::collection::vec(any::<u8>(), 0..2000), 0..8),
        unknown in prop::collection::btree_map("x_[a-z]{1,8}", any::<i64>(), 0..6),
        seed in any::<usize>(),
    ) {
        let build = |mut files: Vec<(String, Vec<u8>)>, mut unknown: Vec<(String, i64)>| {
            let mut package = package(&[]);
            for (path, bytes) in files.drain(..) {
                package.extra_files.insert(PathBuf::from(path), bytes);
            }
            for (name, value) in unknown.drain(..) {
                package.connection.other.insert(name, value.into());
            }
            package.to_bytes().unwrap()
        };
        let files: Vec<_> = files.into_iter().collect();
        let unknown: Vec<_> = unknown.into_iter().collect();
        let first = build(files.clone(), unknown.clone());
        let turned = |length: usize| if length == 0 { 0 } else { seed % length };
        let (mut other_files, mut other_unknown) = (files, unknown);
        other_files.reverse();
        other_unknown.reverse();
        let (by_file, by_field) = (turned(other_files.len()), turned(other_unknown.len()));
        other_files.rotate_left(by_file);
        other_unknown.rotate_left(by_field);
        prop_assert_eq!(first, build(other_files, other_unknown));
    }

    #[test]
    fn contents_are_kept(files in prop::collection::btree_map("[a-z]{1,8}", prop::collection::vec(any::<u8>(), 0..3000), 0..5)) {
        let given: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
        let bytes = package(&given).to_bytes().unwrap();
        let inner = entries(&entries(&bytes)[1].4);
        let read: BTreeMap<_, _> = inner.into_iter().map(|(path, _, _, _, content)| (path, content)).collect();
        for (path, content) in &files {
            prop_assert_eq!(&read[path], content);
        }
    }
}
