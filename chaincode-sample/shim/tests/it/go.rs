//! The documentation's table of Go methods is complete, and its Rust methods exist.

use chaincode_shim::{ClientIdentity, EndorsementPolicy, Stub, composite_key, split_composite_key};

const DOCUMENT: &str = include_str!("../../../../docs/chaincode.md");

/// Each method of Go, its counterpart as the documentation names it, and an expression that compiles
/// only if the counterpart exists.
macro_rules! table {
    ($check:ident: |$stub:ident, $client:ident, $policy:ident| $($go:literal => $ours:literal: $use:expr;)*) => {
        const TABLE: &[(&str, &str, &str)] = &[$(($go, $ours, stringify!($use))),*];

        #[allow(dead_code, clippy::let_underscore_future, reason = "only compiled, never called")]
        fn $check($stub: &Stub, $client: &ClientIdentity, $policy: EndorsementPolicy) {
            $(let _ = $use;)*
        }
    };
}

table! { compiles: |stub, client, policy|
    // ChaincodeStubInterface of fabric-chaincode-go v2 (`shim/interfaces.go`).
    "GetArgs" => "Stub::args": stub.args().len();
    "GetStringArgs" => "Stub::string_args": stub.string_args();
    "GetFunctionAndParameters" => "Stub::function": (stub.function(), stub.parameters::<(String,)>());
    "GetArgsSlice" => "Stub::args": stub.args().concat();
    "GetTxID" => "Stub::tx_id": stub.tx_id().len();
    "GetChannelID" => "Stub::channel_id": stub.channel_id().len();
    "InvokeChaincode" => "Stub::invoke_chaincode": stub.invoke_chaincode("", Vec::new(), "");
    "GetState" => "Stub::get_state": stub.get_state("");
    "GetMultipleStates" => "Stub::get_multiple_states": stub.get_multiple_states(&[]);
    "PutState" => "Stub::put_state": stub.put_state("", "");
    "DelState" => "Stub::delete_state": stub.delete_state("");
    "SetStateValidationParameter" => "Stub::set_state_validation_parameter":
        stub.set_state_validation_parameter("", policy.clone());
    "GetStateValidationParameter" => "Stub::get_state_validation_parameter": stub.get_state_validation_parameter("");
    "GetStateByRange" => "Stub::get_state_by_range": stub.get_state_by_range("", "");
    "GetStateByRangeWithPagination" => "Stub::get_state_by_range_with_pagination":
        stub.get_state_by_range_with_pagination("", "", 1, "");
    "GetStateByPartialCompositeKey" => "Stub::get_state_by_partial_composite_key":
        stub.get_state_by_partial_composite_key("", &[]);
    "GetStateByPartialCompositeKeyWithPagination" => "Stub::get_state_by_partial_composite_key_with_pagination":
        stub.get_state_by_partial_composite_key_with_pagination("", &[], 1, "");
    "GetAllStatesCompositeKeyWithPagination" => "Stub::get_all_states_composite_key_with_pagination":
        stub.get_all_states_composite_key_with_pagination(1, "");
    "CreateCompositeKey" => "composite_key": composite_key("", &[]);
    "SplitCompositeKey" => "split_composite_key": split_composite_key("");
    "GetQueryResult" => "Stub::get_query_result": stub.get_query_result("");
    "GetQueryResultWithPagination" => "Stub::get_query_result_with_pagination":
        stub.get_query_result_with_pagination("", 1, "");
    "GetHistoryForKey" => "Stub::get_history_for_key": stub.get_history_for_key("");
    "GetPrivateData" => "Stub::get_private_data": stub.get_private_data("", "");
    "GetMultiplePrivateData" => "Stub::get_multiple_private_data": stub.get_multiple_private_data("", &[]);
    "GetPrivateDataHash" => "Stub::get_private_data_hash": stub.get_private_data_hash("", "");
    "PutPrivateData" => "Stub::put_private_data": stub.put_private_data("", "", "");
    "DelPrivateData" => "Stub::delete_private_data": stub.delete_private_data("", "");
    "PurgePrivateData" => "Stub::purge_private_data": stub.purge_private_data("", "");
    "SetPrivateDataValidationParameter" => "Stub::set_private_data_validation_parameter":
        stub.set_private_data_validation_parameter("", "", policy.clone());
    "GetPrivateDataValidationParameter" => "Stub::get_private_data_validation_parameter":
        stub.get_private_data_validation_parameter("", "");
    "GetPrivateDataByRange" => "Stub::get_private_data_by_range": stub.get_private_data_by_range("", "", "");
    "GetPrivateDataByPartialCompositeKey" => "Stub::get_private_data_by_partial_composite_key":
        stub.get_private_data_by_partial_composite_key("", "", &[]);
    "GetPrivateDataQueryResult" => "Stub::get_private_data_query_result": stub.get_private_data_query_result("", "");
    "GetCreator" => "Stub::creator": stub.creator().len();
    "GetTransient" => "Stub::transient": stub.transient().len();
    "GetBinding" => "Stub::binding": stub.binding().len();
    "GetDecorations" => "Stub::decorations": stub.decorations().len();
    "GetSignedProposal" => "Stub::signed_proposal": stub.signed_proposal().is_some();
    "GetTxTimestamp" => "Stub::timestamp": stub.timestamp().is_some();
    "SetEvent" => "Stub::set_event": stub.set_event("", "");
    "StartWriteBatch" => "Stub::start_write_batch": stub.start_write_batch();
    "FinishWriteBatch" => "Stub::finish_write_batch": stub.finish_write_batch();
    // `pkg/cid`.
    "cid.GetMSPID" => "ClientIdentity::msp_id": client.msp_id().len();
    "cid.GetID" => "ClientIdentity::id": client.id().len();
    "cid.GetX509Certificate" => "ClientIdentity::certificate": client.certificate().len();
    "cid.GetAttributeValue" => "ClientIdentity::attribute": client.attribute("").is_some();
    "cid.AssertAttributeValue" => "ClientIdentity::require_attribute": client.require_attribute("", "");
    "cid.HasOUValue" => "ClientIdentity::organizational_units": client.organizational_units().len();
    // `pkg/statebased`.
    "statebased.NewStateEP" => "EndorsementPolicy::decode": EndorsementPolicy::decode(&[]);
    "statebased.AddOrgs" => "EndorsementPolicy::all_of": EndorsementPolicy::all_of([EndorsementPolicy::peer("")]);
    "statebased.DelOrgs" => "EndorsementPolicy::OutOf": EndorsementPolicy::OutOf(1, Vec::new());
    "statebased.ListOrgs" => "EndorsementPolicy::msp_ids": policy.msp_ids().len();
    "statebased.Policy" => "EndorsementPolicy::encode": policy.encode();
}

/// The number of methods in the three packages.
const METHODS: usize = 43 + 6 + 5;

#[test]
fn the_table_in_the_documentation_is_complete() {
    assert_eq!(TABLE.len(), METHODS);
    let rows: Vec<_> = DOCUMENT.lines().filter(|line| line.starts_with("| `")).collect();
    for (go, ours, used) in TABLE {
        let name = ours.rsplit(':').next().unwrap_or_default();
        assert!(used.contains(name), "the expression for {go} does not use {ours}: {used}");
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{go}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/chaincode.md has no row for {go}"));
        let cell = row.split('|').nth(2).unwrap_or_default();
        assert!(cell.contains(&format!("`{ours}`")), "the row for {go} does not name {ours}: {row}");
    }
}
