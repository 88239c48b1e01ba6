//! metadata.json: any bytes are either refused or read the same again once written.
#![no_main]

use ccaas_builder::metadata::{Metadata, Types};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(metadata) = Metadata::parse(bytes) else { return };
    assert_eq!(Metadata::parse(&metadata.to_bytes()).unwrap(), metadata);
    let _ = Types::default().check(&metadata).map_err(|error| error.to_string());
});
