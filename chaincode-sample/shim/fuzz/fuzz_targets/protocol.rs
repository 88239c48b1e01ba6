//! Any messages of a peer, in any order, between any calls of the chaincode.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| chaincode_shim::run_protocol_model(bytes));
