//! Templates: any input terminates with a result within the limits or an error. If there are two lines, the
//! first one has the values.
#![no_main]

use ccaas_builder::template::Templates;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (values, template) = text.split_once('\n').unwrap_or((r#"{"a":{"b":["c",1,null,true]},"n":2}"#, text));
    match Templates::new(Some(values)).expand(template) {
        Ok(text) => assert!(text.len() <= 1024 * 1024),
        Err(problem) => assert!(!problem.to_string().is_empty()),
    }
});
