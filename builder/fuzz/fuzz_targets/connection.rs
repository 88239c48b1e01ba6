//! connection.json: any input is either rejected with short messages, or resolved to a connection that the
//! peer can read. If there are two lines, the first one has the values for templates.
#![no_main]

use ccaas_builder::connection::{Connection, Draft};
use ccaas_builder::{Environment, Resolved, resolve};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (first, rest) = (parts.next().unwrap_or_default(), parts.next());
    let (values, json) = rest.map_or((None, first), |rest| (std::str::from_utf8(first).ok(), rest));
    let mut environment = Environment::default();
    environment.template_values = values.map(str::to_owned);
    let findings = match Draft::parse(json).and_then(|draft| resolve(&draft, &environment)) {
        Ok(Resolved { connection, warnings, .. }) => {
            let built = Connection::from_built(&connection.to_bytes()).unwrap();
            assert_eq!(built.to_bytes(), connection.to_bytes());
            assert!(connection.tls_required || !connection.client_auth_required);
            warnings
        }
        Err(findings) => findings,
    };
    for finding in findings {
        let line = finding.to_string();
        assert!(line.len() < 4096 && !line.contains(['\n', '\0']), "{line:?}");
    }
});
