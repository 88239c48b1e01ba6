//! A call of a node's services. The first byte selects the method and the signed message around the
//! other bytes.
#![no_main]

use std::sync::LazyLock;

use embedded_peer::fuzzing::Services;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("no runtime"));
static SERVICES: LazyLock<Services> = LazyLock::new(|| RUNTIME.block_on(async { Services::start() }));

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    RUNTIME.block_on(SERVICES.call(*choice, bytes));
});
