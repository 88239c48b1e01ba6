//! Tests of chaincode packages.

use embedded_peer::chaincode::{Metadata, Package};
use fabric_primitives::package::package_id;
use proptest::prelude::*;
use tar::{EntryType, Header};

use super::peer::{append, compressed, package, package_of};

fn refused(bytes: &[u8]) -> String {
    Package::parse(bytes).map(drop).expect_err("the package was taken").to_string()
}

fn no_code() -> Vec<u8> {
    compressed(&tar::Builder::new(Vec::new()).into_inner().unwrap())
}

fn outer(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    fill(&mut archive);
    compressed(&archive.into_inner().unwrap())
}

#[test]
fn packages_are_parsed() {
    let bytes = package_of(r#"{"Type":"ccaas","label":"f1","path":"p","more":[1]}"#, &no_code());
    let parsed = Package::parse(&bytes).unwrap();
    let metadata = Metadata { kind: "ccaas".to_owned(), label: "f1".to_owned(), path: "p".to_owned() };
    assert_eq!(parsed.metadata, metadata);
    assert_eq!(parsed.code, no_code());
    assert!(parsed.metadata_json.starts_with(b"{\"Type\""));
}

#[test]
fn the_package_id_is_label_and_digest() {
    assert_eq!(
        package_id("basic_1.0", b"abc"),
        "basic_1.0:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn invalid_packages_have_fabric_errors() {
    let label = |label: &str| {
        format!(
            "invalid label '{label}'. Label must be non-empty, can only consist of alphanumerics, symbols from '.+-_', and can only begin with alphanumerics"
        )
    };
    let link = outer(|archive| {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, "code.tar.gz", "elsewhere").unwrap();
    });
    let without_code = outer(|archive| append(archive, "metadata.json", b"{}", 0o644));
    let without_metadata = outer(|archive| append(archive, "code.tar.gz", &no_code(), 0o644));
    for (bytes, words) in [
        (Vec::new(), "error reading as gzip stream: EOF".to_owned()),
        (b"not a package".to_vec(), "error reading as gzip stream: gzip: invalid header".to_owned()),
        (link, "tar entry code.tar.gz is not a regular file, type 50".to_owned()),
        (without_code, "did not find a code package inside the package".to_owned()),
        (without_metadata, "did not find any package metadata (missing metadata.json)".to_owned()),
        (package_of("{}", &no_code()).to_vec(), label("")),
        (package_of(r#"{"label":"-a"}"#, &no_code()).to_vec(), label("-a")),
        (package_of(r#"{"label":"a/b"}"#, &no_code()).to_vec(), label("a/b")),
        (
            package_of(r#"{"label":1}"#, &no_code()).to_vec(),
            "could not unmarshal metadata.json as json: json: cannot unmarshal number into Go struct field ChaincodePackageMetadata.label of type string".to_owned(),
        ),
        (
            package_of("{", &no_code()).to_vec(),
            "could not unmarshal metadata.json as json: unexpected end of JSON input".to_owned(),
        ),
        (
            package_of(r#"{"label":"a"}"#, b"plain text code").to_vec(),
            "error retrieving DB artifacts from code package: gzip: invalid header".to_owned(),
        ),
    ] {
        assert_eq!(refused(&bytes), words);
    }
}

#[test]
fn oversized_packages_are_rejected() {
    // The package itself is small.
    let code = outer(|archive| append(archive, "zeros", &vec![0; 257 * 1024 * 1024], 0o644));
    let words = "error retrieving DB artifacts from code package: more than 268435456 bytes when unpacked";
    assert_eq!(refused(&package_of(r#"{"label":"a"}"#, &code)), words);
    let bytes = outer(|archive| append(archive, "metadata.json", &vec![0; 257 * 1024 * 1024], 0o644));
    assert_eq!(refused(&bytes), "the package holds more than 268435456 bytes when unpacked");
}

proptest! {
    /// A damaged package is rejected or parses differently, without a panic.
    #[test]
    fn damaged_packages_never_panic(at in 0usize..2000, bit in 0u8..8, length in prop_oneof![0usize..16, 0usize..2000]) {
        let mut bytes = package("f1", &[("connection.json", "{}")]).to_vec();
        bytes.truncate(length.max(1));
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let _ = Package::parse(&bytes);
    }

    #[test]
    fn random_archives_never_panic(content in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..16),
        prop::collection::vec(any::<u8>(), 0..2048),
    ]) {
        let _ = Package::parse(&content);
        let _ = Package::parse(&compressed(&content));
    }
}
