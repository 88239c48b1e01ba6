//! What a client can send: its identity, and bytes that should be a policy. Each is read or rejected
//! with an error.
#![no_main]

use chaincode_shim::{ClientIdentity, EndorsementPolicy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match ClientIdentity::from_creator(bytes) {
        Ok(client) => assert!(!client.id().is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(policy) = EndorsementPolicy::decode(bytes) {
        assert_eq!(EndorsementPolicy::decode(&policy.encode()).ok(), Some(policy));
    }
});
