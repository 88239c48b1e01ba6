//! Names, hooks and metadata, as a client sees them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::Json;
use crate::mock::{MockIdentity, MockLedger};

#[derive(Serialize, Deserialize, JsonSchema)]
struct Asset {
    id: String,
    size: u8,
}

async fn echo(_: Stub, text: String) -> Result<String, Error> {
    Ok(text)
}

fn assets() -> Contract {
    Contract::new("Assets")
        .version("1.2")
        .submit("Create", |stub: Stub, asset: Json<Asset>, count: i64| async move {
            stub.put_state(&asset.0.id, count.to_string()).await
        })
        .parameters("Create", ["asset", "count"])
        .parameters("Absent", ["a"])
        .evaluate("Find", |_: Stub, _: bool, _: Vec<u8>, _: f64| async move { Ok::<_, Error>(Vec::<Asset>::new()) })
        .evaluate("Echo", echo)
}

async fn failure(ledger: &mut MockLedger, name: &str) -> String {
    ledger.evaluate([name, "x"]).await.error().unwrap_or("none").to_owned()
}

#[tokio::test]
async fn functions_are_found_by_name() {
    let mut ledger = MockLedger::new(assets());
    for name in ["Echo", "echo", "Assets:Echo", "Assets:echo"] {
        assert_eq!(ledger.evaluate([name, "hi"]).await.text(), "hi", "{name}");
    }
    for (name, text) in [
        ("ECHO", "Function ECHO not found in contract Assets"),
        ("Assets:Other", "Function Other not found in contract Assets"),
        ("Other:Echo", "Contract not found with name Other"),
        ("org.hyperledger.fabric:Other", "Function Other not found in contract org.hyperledger.fabric"),
        ("", "the function name is missing"),
        ("Assets:", "the function name is missing"),
    ] {
        assert_eq!(failure(&mut ledger, name).await, text, "{name}");
    }
}

#[tokio::test]
async fn several_contracts_are_selected_by_name() {
    let owners = Contract::new("org.Owners").evaluate("Echo", |_: Stub, _: String| async { Ok::<_, Error>("owners") });
    let replaced = Contract::new("org.Owners");
    let mut ledger = MockLedger::new(Contracts::new(assets()).with(replaced).with(owners));
    assert_eq!(ledger.evaluate(["Echo", "hi"]).await.text(), "hi");
    assert_eq!(ledger.evaluate(["org.Owners:Echo", "hi"]).await.text(), "owners");
    assert_eq!(failure(&mut ledger, "org.Owners:Create").await, "Function Create not found in contract org.Owners");
    assert_eq!(ledger.transaction(Vec::<String>::new()).init().simulate().await.text(), "");
}

#[tokio::test]
async fn hooks_run_around_every_function() {
    let contract = assets()
        .before(|stub: Stub| async move {
            stub.set_event("before", stub.function())?;
            match stub.client_identity()?.msp_id() {
                "Org1MSP" => Ok(()),
                other => Err(Error::new(format!("permission denied for {other}")).with_status(403)),
            }
        })
        .after(|_, mut response: Response| async move {
            if response.payload == b"reject" {
                return Err(Error::new("rejected afterwards"));
            }
            response.payload.push(b'!');
            Ok(response)
        })
        .unknown(|stub: Stub| async move {
            Ok::<_, Error>(Response { status: 399, ..Response::success(stub.args()[1].clone()) })
        });
    let mut ledger = MockLedger::new(contract);
    let echo = ledger.evaluate(["Echo", "hi"]).await;
    assert_eq!(echo.text(), "hi!");
    assert_eq!(echo.event.map(|event| event.payload), Some(b"Echo".to_vec()));
    let unknown = ledger.evaluate(["Unknown", "hi"]).await;
    assert_eq!((unknown.response.status, unknown.text().as_str()), (399, "hi!"));
    assert_eq!(ledger.evaluate(["Echo", "reject"]).await.error(), Some("rejected afterwards"));
    let wrong = ledger.evaluate(["Echo"]).await;
    assert_eq!(wrong.error(), Some("incorrect number of arguments: expected 1, received 0"));
    let other = MockIdentity::new("Org2MSP");
    let rejected = ledger.transaction(["Echo", "hi"]).client(&other).simulate().await;
    assert_eq!((rejected.response.status, rejected.error()), (403, Some("permission denied for Org2MSP")));
}

#[tokio::test]
async fn the_metadata_contains_the_schemas_of_every_function() {
    let mut ledger = MockLedger::new(Contracts::new(assets()).with(Contract::new("Empty")));
    let metadata: Value = ledger.evaluate(["org.hyperledger.fabric:GetMetadata"]).await.json();
    let asset = json!({ "$ref": "#/components/schemas/Asset" });
    let text = json!({ "type": "string" });
    let integer = json!({ "type": "integer", "format": "int64" });
    let create = json!({
        "name": "Create",
        "tag": ["submit", "SUBMIT"],
        "parameters": [{ "name": "asset", "schema": asset }, { "name": "count", "schema": integer }],
    });
    let find = json!({
        "name": "Find",
        "tag": ["evaluate", "EVALUATE"],
        "parameters": [
            { "name": "param0", "schema": { "type": "boolean" } },
            { "name": "param1", "schema": { "type": "string", "format": "binary" } },
            { "name": "param2", "schema": { "type": "number", "format": "double" } },
        ],
        "returns": { "type": "array", "items": asset },
    });
    let echo = json!({
        "name": "Echo",
        "tag": ["evaluate", "EVALUATE"],
        "parameters": [{ "name": "param0", "schema": text }],
        "returns": text,
    });
    let expected = json!({
        "info": { "title": "Assets", "version": "1.2" },
        "name": "Assets",
        "transactions": [create, echo, find],
        "default": true,
    });
    assert_eq!(metadata["contracts"]["Assets"], expected);
    assert_eq!(metadata["contracts"]["Empty"]["default"], json!(false));
    let system = &metadata["contracts"]["org.hyperledger.fabric"]["transactions"][0];
    assert_eq!((&system["name"], &system["returns"]), (&json!("GetMetadata"), &text));
    let schema = &metadata["components"]["schemas"]["Asset"];
    assert_eq!(schema["$id"], json!("Asset"));
    assert_eq!(schema["required"], json!(["id", "size"]));
    assert_eq!(schema["properties"]["size"]["maximum"], json!(255));
    assert_eq!(metadata["info"], json!({ "title": "Assets", "version": "1.2" }));
}
