//! Templates: any text ends, in a result within its limit or in an error. The first line, if there
//! are two, is what the peer has.
#![no_main]

use ccaas_builder::template::Templates;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (values, template) = text.split_once('\n').unwrap_or((r#"{"a":{"b":["c",1,null,true]},"n":2}"#, text));
    match Templates::new(Some(values)).expand(template) {
        Ok(made) => assert!(made.len() <= 1024 * 1024),
        Err(problem) => assert!(!problem.to_string().is_empty()),
    }
});
