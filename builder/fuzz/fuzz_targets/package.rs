//! Packages: any input is either rejected, or its files are unchanged after packaging and reading them
//! again. Since fuzzing does not get past a checksum, the input is also used as the archive in the
//! package's gzip, and as the archive in code.tar.gz.
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

/// A package with this archive in code.tar.gz.
fn around(code: &[u8]) -> Vec<u8> {
    let mut outer = entry("metadata.json", br#"{"type":"ccaas","label":"l"}"#);
    // Without the two empty blocks at the end of an archive.
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
