//! Bytes on a chaincode stream during a transaction. The first byte is the size of the pieces in which
//! they arrive.
#![no_main]

use bytes::Bytes;
use embedded_peer::chaincode::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((size, bytes)) = data.split_first() else { return };
    let pieces = bytes.chunks(usize::from(*size).max(1)).map(Bytes::copy_from_slice).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("no runtime");
    runtime.block_on(fuzzing::stream(pieces));
});
