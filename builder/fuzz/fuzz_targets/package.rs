//! Packages: any bytes are either refused, or read as files that a package made of them has again,
//! and that can be told to an operator. Behind a checksum a fuzzer finds nothing, so the same bytes
//! are tried as the archive in a package's gzip, and as the archive in its code.tar.gz, as well.
#![no_main]

use std::io::Write;
use std::time::SystemTime;

use ccaas_builder::package::{Contents, Opened};
use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn entry(name: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, name, content).unwrap();
    archive.into_inner().unwrap()
}

/// A package whose code.tar.gz is these bytes.
fn around(code: &[u8]) -> Vec<u8> {
    let mut outer = entry("metadata.json", br#"{"type":"ccaas","label":"l"}"#);
    // Without the two empty blocks that end an archive.
    outer.truncate(1024);
    outer.extend(entry("code.tar.gz", &gzip(code)));
    gzip(&outer)
}

fn check(bytes: &[u8]) {
    let Ok(opened) = Opened::read(bytes) else { return };
    assert!(opened.describe(SystemTime::UNIX_EPOCH).len() < 64 * 1024 * 1024);
    let contents = Contents { metadata: opened.metadata.clone(), files: opened.files.clone() };
    if let Ok((again, _)) = contents.to_bytes() {
        let again = Opened::read(&again).unwrap();
        assert_eq!((again.metadata, again.files), (opened.metadata, opened.files));
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    check(&gzip(bytes));
    check(&around(bytes));
});
