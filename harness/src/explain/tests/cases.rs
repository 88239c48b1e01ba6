//! Logs and errors in the form in which they were seen at real peers, with the finding that they have.

use super::*;

/// The only finding of this text.
fn only(text: &str) -> Finding {
    let found = find([("peer.log", text)]);
    let [finding] = found.as_slice() else { panic!("{found:#?}") };
    finding.clone()
}

#[test]
fn a_message_over_a_grpc_limit_is_not_a_crash() {
    for limit in [
        "Received message larger than max (5242893 vs. 4194304)",
        "grpc: received message larger than max (5242893 vs. 4194304)",
    ] {
        let log = format!(
            "2026-01-31 12:00:00.425 UTC 19a1 DEBU [chaincode] ProcessStream -> rpc error: code = ResourceExhausted desc = {limit}\n\
             2026-01-31 12:00:00.425 UTC 19a2 ERRO [endorser] SimulateProposal -> failed to invoke chaincode basic, error: chaincode stream terminated"
        );
        let finding = only(&log);
        assert_eq!((finding.name.as_str(), finding.line), ("grpc-message-too-large", 1));
        assert!(
            finding.cause.contains("5242893 bytes") && finding.cause.contains("4194304 bytes"),
            "{}",
            finding.cause
        );
        assert_eq!(only(log.lines().next().unwrap()).name, "grpc-message-too-large");
    }
    let orderer = "received unsuccessful response from orderer: status=BAD_REQUEST, info=message payload is 12583322 bytes \
                   and exceeds maximum allowed 10485760 bytes";
    assert_eq!(only(orderer).name, "orderer-message-too-large");
}

#[test]
fn a_broken_pipe_after_the_handshake_points_to_the_client_certificate_and_to_where_the_cause_is() {
    let log = r#"2026-01-31 12:00:00.601 UTC 037c DEBU [comm.tls] ClientHandshake -> Client TLS handshake completed in 3.1ms remoteaddress=10.0.0.2:9999
2026-01-31 12:00:00.602 UTC 037d DEBU [grpc] WarningDepth -> [core] [Channel #1 SubChannel #2] grpc: addrConn.createTransport failed to connect to {"Addr": "cc.example.com:9999"}. Err: write tcp 10.0.0.1:50000->10.0.0.2:9999: write: broken pipe
2026-01-31 12:00:00.602 UTC 037e DEBU [grpc] InfoDepth -> [core] [Channel #1] Channel Connectivity change to TRANSIENT_FAILURE
2026-01-31 12:00:00.605 UTC 0380 ERRO [endorser] SimulateProposal -> failed to invoke chaincode basic, error: could not launch chaincode basic_1:2e10: connection to basic_1:2e10 failed: error cannot create connection for basic_1:2e10: error creating grpc connection to cc.example.com:9999: failed to create new connection: write tcp 10.0.0.1:50000->10.0.0.2:9999: write: broken pipe"#;
    let finding = only(log);
    // Lines of [grpc] are about nodes too.
    assert_eq!((finding.name.as_str(), finding.line), ("broken-pipe", 4));
    assert!(
        finding.cause.contains("10.0.0.2:9999") && finding.cause.contains("does not show why"),
        "{}",
        finding.cause
    );
    assert!(finding.cause.contains("requires a client certificate"), "{}", finding.cause);
    for advice in ["the server's log", "FABRIC_LOGGING_SPEC", "client_auth_required"] {
        assert!(finding.fix.contains(advice), "{advice}: {}", finding.fix);
    }
    // A later attempt ends with the timeout, and the cause stays.
    let later = format!(
        "{log}\n... error creating grpc connection to cc.example.com:9999: failed to create new connection: context deadline exceeded"
    );
    assert_eq!(only(&later).name, "broken-pipe");
}

#[test]
fn a_server_that_cannot_be_reached_is_named() {
    let error = "error creating grpc connection to 10.0.0.2:9999: failed to create new connection: connection error: \
                 desc = \"transport: error while dialing: dial tcp 10.0.0.2:9999: i/o timeout\"";
    let finding = only(error);
    assert_eq!(finding.name, "address-unreachable");
    assert!(finding.cause.contains("10.0.0.2:9999"), "{}", finding.cause);
}

const DETECT: &str = "2026-01-31 12:00:00.013 UTC 00a1 INFO [chaincode.externalbuilder.my-builder] waitForExit -> \
                      /opt/builders/my/bin/detect: 2: set: Illegal option -o pipefail command=detect\n";
const NOT_TAKEN: &str = "could not build chaincode: docker build failed: platform builder failed: Failed to generate a \
                         Dockerfile: Unknown chaincodeType: EXTERNAL";

#[test]
fn a_failed_builder_is_explained_by_its_own_output() {
    let finding = only(&format!(
        "{DETECT}2026-01-31 12:00:00.020 UTC 00a3 ERRO [endorser] callChaincode -> failed to invoke backing implementation \
         of 'InstallChaincode': {NOT_TAKEN}"
    ));
    assert_eq!((finding.name.as_str(), finding.line), ("type-not-taken", 2));
    let printed = "my-builder detect printed: /opt/builders/my/bin/detect: 2: set: Illegal option -o pipefail. No external builder";
    assert!(finding.cause.starts_with(printed), "{}", finding.cause);

    // A client sees the error only; the output is in the peer's log.
    let log = format!("{DETECT}2026-01-31 12:00:00.020 UTC 00a3 ERRO [endorser] callChaincode -> {NOT_TAKEN}");
    let found = find([("client", NOT_TAKEN), ("peer.log", log.as_str())]);
    assert_eq!(found[0].place, "client");
    assert!(found[0].cause.starts_with(printed), "{}", found[0].cause);

    let programs = [
        ("build", "external builder 'my-builder' failed: exit status 3", "build-failed"),
        ("release", "builder 'my-builder' release failed: exit status 4", "release-failed"),
        ("run", "builder 'my-builder' run failed", "peer-runs-chaincode"),
    ];
    for (program, error, name) in programs {
        let line = "INFO [chaincode.externalbuilder.my-builder] waitForExit -> no space left command=";
        let finding = only(&format!("{DETECT}{line}{program}\n{error}"));
        assert_eq!(finding.name, name);
        assert!(
            finding.cause.starts_with(&format!("my-builder {program} printed: no space left. ")),
            "{}",
            finding.cause
        );
        // What another program printed is not its output.
        assert!(!only(&format!("{DETECT}{error}")).cause.contains("printed"), "{program}");
    }
}

/// As 3.1.5 and 2.5.16 log it: once for each attempt of a client.
const UNSATISFIABLE: &str = "2026-01-31 12:00:00.988 UTC 0061 ERRO [gateway] endorsementPlan -> PeersForEndorsement failed. \
                             error=\"no peer combination can satisfy the endorsement policy\"\n\
                             2026-01-31 12:00:00.988 UTC 0062 INFO [comm.grpc.server] func1 -> unary call completed \
                             grpc.service=gateway.Gateway grpc.method=Endorse error=\"rpc error: code = FailedPrecondition \
                             desc = no combination of peers can be derived which satisfy the endorsement policy: no peer \
                             combination can satisfy the endorsement policy\" grpc.code=FailedPrecondition\n";

#[test]
fn a_policy_with_an_unknown_msp_is_found_in_the_log_and_not_after_it_is_satisfied() {
    let finding = only(UNSATISFIABLE);
    assert_eq!((finding.name.as_str(), finding.line), ("policy-unsatisfiable", 1));
    assert!(finding.cause.contains("names an MSP that is not on the channel"), "{}", finding.cause);
    assert!(finding.fix.contains("querycommitted"), "{}", finding.fix);
    let refused =
        "WARN [endorser] Validate -> access denied channel=mychannel error=\"MSP Org9MSP is not defined on channel\"";
    assert_eq!(only(refused).name, "unknown-msp");

    // A peer that has just joined does not know the others yet.
    let endorsed = "2026-01-31 12:00:05.988 UTC 0071 INFO [comm.grpc.server] func1 -> unary call completed \
                    grpc.service=gateway.Gateway grpc.method=Endorse grpc.code=OK grpc.call_duration=8ms\n";
    assert_eq!(find([("peer.log", format!("{UNSATISFIABLE}{endorsed}").as_str())]), []);
    let again = format!("{UNSATISFIABLE}{endorsed}{UNSATISFIABLE}");
    assert_eq!(only(&again).line, 4);
}

#[test]
fn a_restarted_orderer_and_a_bft_orderer_that_has_the_transaction_are_not_failures() {
    let log = "WARN [peer.blocksprovider] DeliverBlocks -> Could not connect to ordering service: could not dial endpoint \
               'orderer.example.com:7050': failed to create new connection: connection error: desc = \"transport: error while \
               dialing: dial tcp 10.0.0.3:7050: connect: connection refused\"\n\
               WARN [orderer.common.broadcast] ProcessMessage -> [channel: mychannel] Rejecting broadcast of normal message \
               from 10.0.0.1:50000 with SERVICE_UNAVAILABLE: rejected by Order: request already processed\n\
               WARN [gateway] func1 -> Unsuccessful response sending transaction to orderer status=SERVICE_UNAVAILABLE \
               info=\"request already processed\"\n";
    assert_eq!(find([("peer.log", log)]), []);
    let client = "SubmitError: 14 UNAVAILABLE: received unsuccessful response from orderer: status=SERVICE_UNAVAILABLE, info=request already processed";
    let finding = only(client);
    assert_eq!(finding.name, "bft-already-processed");
    assert!(!finding.fix.contains("Raft"), "{}", finding.fix);
}

#[test]
fn an_orderer_that_dies_during_a_submit_is_the_cause_of_the_dropped_connection() {
    let dropped = "WARN [gateway] submitNonBFT -> Error sending transaction to orderer txID=1 endpoint=127.0.0.1:7050 \
                   err=\"rpc error: code = Unavailable desc = error reading from server: EOF\"\n";
    assert_eq!(only(dropped).name, "connection-dropped");
    for (client, expected) in [
        ("14 UNAVAILABLE: no orderers could successfully process transaction", "orderer-unreachable"),
        (
            "14 UNAVAILABLE: insufficient number of orderers could successfully process transaction to satisfy quorum",
            "bft-quorum",
        ),
        (
            "received unsuccessful response from orderer: status=SERVICE_UNAVAILABLE, info=no Raft leader",
            "orderer-not-ready",
        ),
    ] {
        assert_eq!(only(&format!("{dropped}{client}")).name, expected);
    }
}

#[test]
fn an_unchanged_approval_on_2_5_is_explained() {
    let log = "validation of endorsement policy for chaincode _lifecycle in tx 10:0 failed: implicit policy evaluation failed - \
               1 sub-policies were satisfied, but this policy requires 2 of the 'Endorsement' sub-policies to be satisfied\n\
               marked as invalid by committer. Reason code [ENDORSEMENT_POLICY_FAILURE]";
    let finding = only(log);
    assert_eq!(finding.name, "lifecycle-endorsement");
    assert!(finding.cause.contains("on 2.5 an approval that repeats"), "{}", finding.cause);
    // The client of an approval sees the code only.
    let client = only("transaction invalidated with status (ENDORSEMENT_POLICY_FAILURE)");
    assert!(client.fix.contains("approveformyorg"), "{}", client.fix);
}
