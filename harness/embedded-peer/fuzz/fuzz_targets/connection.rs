//! A connection.json that a builder released.
#![no_main]

use std::sync::LazyLock;

use embedded_peer::chaincode::fuzzing;
use libfuzzer_sys::fuzz_target;

static DIRECTORY: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("no directory"));

fuzz_target!(|data: &[u8]| fuzzing::connection(data, &DIRECTORY.path().join("connection.json")));
