use super::*;
use std::fmt::Write as _;

#[test]
fn the_catalogue_is_valid() {
    let catalogue: Catalogue = toml::from_str(include_str!("catalogue.toml")).unwrap();
    let names: BTreeSet<&str> = catalogue.failures.iter().map(|failure| failure.name.as_str()).collect();
    assert_eq!(names.len(), catalogue.failures.len(), "duplicate name");
    for failure in &catalogue.failures {
        assert!(!failure.patterns.is_empty(), "{} has no patterns", failure.name);
        for hidden in &failure.hides {
            assert!(names.contains(hidden.as_str()), "{} hides the unknown failure {hidden}", failure.name);
        }
        for placeholder in failure.cause.split("${").chain(failure.fix.split("${")).skip(1) {
            let Some((name, _)) = placeholder.split_once('}') else { continue };
            let has = |expression: &Expression| expression.0.capture_names().flatten().any(|group| group == name);
            assert!(failure.patterns.iter().any(has), "{}: no pattern has a group {name}", failure.name);
        }
    }
}

/// Messages of real peers, of 2.5 and 3.1.
#[test]
fn messages_of_real_peers_are_explained() {
    let seen = [
        ("could not build chaincode: docker build failed: docker build is disabled", "docker-missing"),
        ("failed to generate platform-specific docker build: Unknown chaincodeType: CCAAS", "type-not-taken"),
        (
            "Build -> external builder failed to build: external builder 'ccaas_builder' failed: exit status 3",
            "build-failed",
        ),
        ("external builder failed to release: builder 'ccaas_builder' release failed: exit status 4", "release-failed"),
        (
            "could not build chaincode: external builder 'ccaas_builder' failed: exit status 5\n\
             INFO [chaincode.externalbuilder.ccaas_builder] waitForExit -> error: connection.json: address: found nothing, expected host:port command=build",
            "build-refused",
        ),
        (
            "could not launch chaincode f1:00: error building chaincode: error building image: external builder failed: existing build could not be restored: chaincode 'f1:00' was already built with builder 'ccaas_builder', but that builder is no longer available",
            "builder-gone",
        ),
        (
            r#"failed to create new connection: connection error: desc = "transport: error while dialing: dial tcp 127.0.0.1:9999: connect: connection refused""#,
            "server-not-running",
        ),
        (
            "ClientHandshake -> Client TLS handshake failed after 1.7ms with error: tls: failed to verify certificate: x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs",
            "no-ip-san",
        ),
        (
            "could not launch chaincode f1:00: timeout expired while starting chaincode f1:00 for transaction",
            "start-timeout",
        ),
        (
            "notifyRegistry -> failed to start f9:11 -- peer will not accept external chaincode connection f9:11 (except in dev mode)",
            "wrong-package-id",
        ),
        ("error sending: chaincode stream terminated", "stream-terminated"),
        (
            "make sure the chaincode basic has been successfully defined on channel mychannel and try again: chaincode definition for 'basic' exists, but chaincode is not installed",
            "not-installed",
        ),
        ("VMEndpoint not set and no ExternalBuilders defined", "no-builder-and-no-docker"),
    ];
    for (text, name) in seen {
        let found = find([("peer.log", text)]);
        assert_eq!(found.iter().map(|finding| finding.name.as_str()).collect::<Vec<_>>(), [name], "{text}");
    }
}

#[test]
fn a_cause_hides_its_symptoms_and_contains_the_matched_text() {
    let client = "error sending: failed to create new connection: context deadline exceeded";
    let log = "one\ntwo\nClient TLS handshake failed: x509: certificate is valid for cc.example, not peer.example";
    let found = find([("client", client), ("peer.log", log)]);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.name.as_str(), finding.place.as_str(), finding.line), ("wrong-name", "peer.log", 3));
    assert!(finding.cause.contains("peer.example"), "{}", finding.cause);
    assert_eq!(find([("client", client)])[0].name, "dial-timeout");
}

#[test]
fn an_error_of_the_builder_is_quoted() {
    let embedded =
        "ccaas_builder build: error: builder.json line 7 (labels: b_1): dial_timeout: found \"x\", expected a duration";
    let found = find([("peer.log", embedded)]);
    let expected = "The external builder rejected its input. builder.json line 7 (labels: b_1): dial_timeout: \
                    found \"x\", expected a duration.";
    assert_eq!(found.iter().map(|finding| finding.cause.as_str()).collect::<Vec<_>>(), [expected]);
}

#[test]
fn a_normal_log_has_no_failures() {
    assert_eq!(find([("peer.log", "INFO [lifecycle] all is well\n")]), []);
}

#[test]
fn messages_of_a_starting_network_are_not_failures() {
    let log = "ERRO [core.comm] ServerHandshake -> Server TLS handshake failed in 1.5ms with error remote error: tls: bad certificate server=PeerServer\n\
               WARN [grpc] AddTraceEvent -> [core] grpc: addrConn.createTransport failed to connect to a:1. Err: x509: certificate signed by unknown authority\n\
               WARN [peer.blocksprovider] DeliverBlocks -> Got error while attempting to receive blocks: received bad status SERVICE_UNAVAILABLE from orderer\n\
               WARN [orderer.common.broadcast] ProcessMessage -> [channel: mychannel] Rejecting broadcast of normal message from 127.0.0.1:38584 with SERVICE_UNAVAILABLE: rejected by Order: no Raft leader\n\
               INFO [comm.grpc.server] 1 -> unary call completed error=\"rpc error: code = Unavailable desc = no orderers could successfully process transaction\"\n\
               INFO [comm.grpc.server] 1 -> unary call completed error=\"rpc error: code = FailedPrecondition desc = no combination of peers can be derived which satisfy the endorsement policy: none\"\n";
    assert_eq!(find([("peer.log", log)]), []);
    let client = "endorse: peer0 answered FailedPrecondition: no combination of peers can be derived which satisfy the endorsement policy";
    let found = find([("log", format!("{log}{client}").as_str())]);
    assert_eq!(found.iter().map(|finding| (&*finding.name, finding.line)).collect::<Vec<_>>(), [("no-endorsers", 7)]);
}

#[test]
fn a_long_line_is_shortened_around_the_match() {
    let line = format!("{}chaincode stream terminated{}", "ä".repeat(500), "b".repeat(500));
    let found = find([("peer.log", line.as_str())]);
    assert!(found[0].excerpt.contains("chaincode stream terminated"), "{}", found[0].excerpt);
    assert!(found[0].excerpt.chars().count() <= EXCERPT + 2);
}

/// With `BLESS` set, this test writes `docs/troubleshooting.md`.
#[test]
fn the_troubleshooting_page_is_current() {
    let mut page = String::from(
        "# Troubleshooting\n\n```console\n$ cargo xtask explain LOG…\n```\n\nfinds these failures in logs of peers, \
         orderers, chaincode servers and clients. A failed run reports them itself.\n\nIn the patterns, `…` and \
         `<name>` stand for any text, `[…]` is optional, and `(a|b)` is one of the two.\n",
    );
    for failure in &CATALOGUE.failures {
        // Writing to a string can't fail.
        let _ = write!(page, "\n## {}\n\n", failure.name);
        for expression in &failure.patterns {
            let _ = writeln!(page, "    {}", readable(expression.0.as_str()));
        }
        let text = |text: &str| text.replace("${", "<").replace('}', ">").replace('<', "`<").replace('>', ">`");
        let _ = write!(page, "\n{}\n\n**Fix:** {}\n", text(&failure.cause), text(&failure.fix));
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/troubleshooting.md differs from the catalogue; run this test with BLESS=1");
}

/// A readable form of an expression: named groups by name, optional parts in brackets.
fn readable(expression: &str) -> String {
    let group = Regex::new(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)").unwrap();
    let optional = Regex::new(r"\((?:\?:)?((?:[^()]|\([^()]*\))*)\)\?").unwrap();
    let anything = Regex::new(r"(?:\\S|\\w|\[1-9\]\\d|\[\^'\])[+*]").unwrap();
    let plain = group.replace_all(expression.trim_start_matches("(?m)").trim_end_matches('$'), "<$1>");
    let plain = anything.replace_all(&plain, "…");
    optional.replace_all(&plain, "[$1]").replace("\"?", "\"").replace("(?:", "(").replace('\\', "")
}
