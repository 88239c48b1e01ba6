use super::*;
use regex::Regex;
use std::fmt::Write as _;

mod cases;
mod messages;

#[test]
fn the_catalogue_is_valid() {
    let areas =
        AREAS.iter().map(|(area, text)| toml::from_str::<Area>(text).unwrap_or_else(|error| panic!("{area}: {error}")));
    let failures: Vec<Failure> = areas.flat_map(|area| area.failures).collect();
    let names: BTreeSet<&str> = failures.iter().map(|failure| failure.name.as_str()).collect();
    assert_eq!(names.len(), failures.len(), "duplicate name");
    for failure in &failures {
        assert!(!failure.patterns.is_empty(), "{} has no patterns", failure.name);
        for expression in [&failure.patterns, &failure.except, &failure.over].into_iter().flatten() {
            assert!(expression.regex().is_some(), "{}: {} is too large", failure.name, expression.as_str());
        }
        for hidden in &failure.hides {
            assert!(names.contains(hidden.as_str()), "{} hides the unknown failure {hidden}", failure.name);
        }
        for placeholder in [&failure.cause, &failure.fix].iter().flat_map(|text| text.split("${").skip(1)) {
            let Some((name, _)) = placeholder.split_once('}') else { continue };
            for expression in &failure.patterns {
                let has = expression.regex().unwrap().capture_names().flatten().any(|group| group == name);
                assert!(has, "{}: {} has no group {name}", failure.name, expression.as_str());
            }
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
         orderers, chaincode servers and clients. A failed run reports them itself.\n\nIn the errors, `…` and \
         `<name>` stand for any text, `[…]` is optional, and `(a|b)` is one of the two.\n",
    );
    let group = Regex::new(r"\$\{(\w+)\}").unwrap();
    let text = |text: &str| group.replace_all(text, "`<$1>`").replace('|', "\\|");
    for (title, area) in AREAS {
        // Writing to a string can't fail.
        let _ = write!(page, "\n## {title}\n\n| error | cause | fix |\n|---|---|---|\n");
        for failure in toml::from_str::<Area>(area).unwrap().failures {
            let patterns = failure.patterns.iter().map(|expression| readable(expression.as_str()));
            let patterns: Vec<String> = patterns.map(|pattern| format!("`{}`", pattern.replace('|', "\\|"))).collect();
            let (cause, fix) = (text(&failure.cause), text(&failure.fix));
            let _ = writeln!(page, "| **{}**<br>{} | {cause} | {fix} |", failure.name, patterns.join("<br>"));
        }
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/troubleshooting.md differs from the catalogue; run this test with BLESS=1");
}

/// The parts of an expression that [`readable`] replaces: named groups, optional parts, repeated characters,
/// repeated spaces, and escaped characters.
static PARTS: LazyLock<[Regex; 5]> = LazyLock::new(|| {
    [
        r"\(\?P<(\w+)>(?:\[[^\]]*\]|[^()\[]|\([^()]*\))*\)",
        r"(?:\\[SwWd]|\[[^\]]+\]|\.)(?:[+*]\??|\{\d+(?:,\d+)?\})",
        r"\((?:\?:)?((?:[^()]|\([^()]*\))*)\)\?|([^\\)])\?",
        r" +[+*]",
        r"\\b|\\(\W)",
    ]
    .map(|part| Regex::new(part).unwrap())
});

/// A readable form of an expression: named groups by name, optional parts in brackets, repeated characters as `…`.
fn readable(expression: &str) -> String {
    let [group, repeated, optional, spaces, escaped] = &*PARTS;
    // Escaped brackets are text, not a class of characters.
    let (open, close) = ("\u{1}", "\u{2}");
    let plain = expression.replace(r"\[", open).replace(r"\]", close).replace("(?:", "(");
    let plain = ["(?m)", "(?i)", "(^|: )"].iter().fold(plain.as_str(), |text, flag| text.trim_start_matches(flag));
    let plain = group.replace_all(plain.trim_end_matches('$'), "<$1>");
    let plain = repeated.replace_all(&plain, "…");
    let plain = optional.replace_all(&plain, "[$1$2]");
    let plain = spaces.replace_all(&plain, " ");
    let plain = escaped.replace_all(&plain, "$1").replace(open, "[").replace(close, "]");
    plain.trim().to_owned()
}
