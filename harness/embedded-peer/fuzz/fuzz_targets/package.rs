//! A chaincode package to install.
#![no_main]

use embedded_peer::chaincode::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzzing::package(data));
