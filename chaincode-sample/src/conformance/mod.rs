//! A chaincode that makes every call of the stub, to check them on a real peer. Each function has the
//! name of the call in Go.
//!
//! Do not use it as an example of a contract: it writes whatever the client requests.

mod private;
mod state;

use bytes::Bytes;
use chaincode_shim::{Contract, Contracts, Error, Json, KeyValue, NodeRole, Page, StateResults, Stub};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A key and its value as text; the parts of a composite key are joined with `/`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// A page of entries.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntryPage {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The number of entries according to the peer.
    pub count: i32,
    /// The start of the next page.
    pub bookmark: String,
}

/// What a stub returns without a ledger call.
#[allow(clippy::struct_excessive_bools, reason = "independent results")]
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Facts {
    /// `GetFunctionAndParameters`: the function.
    pub function: String,
    /// `GetStringArgs`.
    pub string_args: Vec<String>,
    /// Length of `GetArgsSlice` in bytes.
    pub args_bytes: usize,
    /// `GetChannelID`.
    pub channel_id: String,
    /// Digits of `GetTxID`.
    pub tx_id_digits: usize,
    /// Bytes of `GetBinding`.
    pub binding_bytes: usize,
    /// Names in `GetTransient`.
    pub transient: Vec<String>,
    /// Names in `GetDecorations`.
    pub decorations: Vec<String>,
    /// Whether `GetSignedProposal` has a signature.
    pub is_signed: bool,
    /// Whether `GetTxTimestamp` is after the year 2000.
    pub has_time: bool,
    /// Whether `GetCreator` contains more than the client's certificate.
    pub has_creator: bool,
    /// The client's MSP ID.
    pub msp_id: String,
    /// The client's role, from its organizational unit.
    pub role: Option<String>,
    /// Whether the client's ID is not empty.
    pub has_id: bool,
}

/// The chaincode, with the contracts `Conformance` (the default) and `Other`.
pub fn chaincode() -> Contracts {
    let contract = Contract::new("Conformance")
        .version("1.0")
        .evaluate("Facts", facts)
        .evaluate("AssertAttributeValue", |stub: Stub, name: String, value: String| async move {
            stub.client_identity()?.require_attribute(&name, &value)
        })
        .submit("Init", |stub: Stub| async move { stub.put_state("was_init", stub.is_init().to_string()).await })
        .submit("SetEvent", |stub: Stub, name: String, payload: String| async move { stub.set_event(&name, payload) })
        .submit("InvokeChaincode", invoke_chaincode)
        .submit("Fail", |stub: Stub, status: i32, message: String| async move {
            stub.put_state("never", "written").await?;
            Err::<(), _>(Error::new(message).with_status(status))
        })
        .evaluate("Panic", panic)
        .evaluate("Block", |stub: Stub, seconds: u64| async move {
            stub.get_state("a").await?;
            std::thread::sleep(std::time::Duration::from_secs(seconds));
            Ok::<_, Error>(())
        });
    let contract = private::functions(state::functions(contract));
    let other = Contract::new("Other")
        .before(|stub: Stub| async move { stub.set_event("before", stub.function()) })
        .submit("Name", |_: Stub| async { Ok::<_, Error>("Other") })
        .unknown(|stub: Stub| async move {
            Ok::<_, Error>(chaincode_shim::Response::success(format!("unknown {}", stub.function())))
        });
    Contracts::new(contract).with(other)
}

async fn facts(stub: Stub, _: String) -> Result<Facts, Error> {
    let client = stub.client_identity()?;
    let year_2000 = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(24 * 10_957);
    Ok(Facts {
        function: stub.function(),
        string_args: stub.string_args(),
        args_bytes: stub.args().concat().len(),
        channel_id: stub.channel_id().to_owned(),
        tx_id_digits: stub.tx_id().len(),
        binding_bytes: stub.binding().len(),
        transient: stub.transient().keys().cloned().collect(),
        decorations: stub.decorations().keys().cloned().collect(),
        is_signed: stub.signed_proposal().is_some_and(|signed| !signed.signature.is_empty()),
        has_time: stub.timestamp().is_some_and(|time| time > year_2000),
        has_creator: stub.creator().len() > client.certificate().len(),
        msp_id: client.msp_id().to_owned(),
        role: client.role().map(NodeRole::as_str).map(str::to_owned),
        has_id: client.id().len() > "x509::".len(),
    })
}

/// Returns another chaincode's response: status, message and payload as text.
async fn invoke_chaincode(
    stub: Stub,
    name: String,
    args: Json<Vec<String>>,
    channel: String,
) -> Result<(i32, String, String), Error> {
    let args = args.0.into_iter().map(String::into_bytes).collect();
    let answer = stub.invoke_chaincode(&name, args, &channel).await?;
    Ok((answer.status, answer.message, String::from_utf8_lossy(&answer.payload).into_owned()))
}

async fn panic(stub: Stub) -> Result<(), Error> {
    assert!(stub.args().is_empty(), "as requested");
    Ok(())
}

fn text(value: &Bytes) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn entry(found: KeyValue) -> Entry {
    let value = text(&found.value);
    let key = match chaincode_shim::split_composite_key(&found.key) {
        Ok((object_type, attributes)) => {
            let parts: Vec<_> = std::iter::once(object_type).chain(attributes).collect();
            parts.join("/")
        }
        Err(_) => found.key,
    };
    Entry { key, value }
}

async fn entries(found: StateResults) -> Result<Vec<Entry>, Error> {
    Ok(found.map_ok(entry).try_collect().await?)
}

async fn page((found, page): (StateResults, Page)) -> Result<EntryPage, Error> {
    Ok(EntryPage { entries: entries(found).await?, count: page.fetched_records_count, bookmark: page.bookmark })
}

/// The attributes of a composite key, in the form that the stub takes.
fn borrowed(attributes: &[String]) -> Vec<&str> {
    attributes.iter().map(String::as_str).collect()
}
