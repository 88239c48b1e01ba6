//! metadata.json: any input is either rejected, or unchanged after writing and parsing it again.
#![no_main]

use ccaas_builder::metadata::{Metadata, Types};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(metadata) = Metadata::parse(bytes) else { return };
    assert_eq!(Metadata::parse(&metadata.to_bytes()).unwrap(), metadata);
    let _ = Types::default().check(&metadata).map_err(|error| error.to_string());
});
