//! The asset-transfer contract.
//!
//! Functions, arguments, JSON and error messages are those of `asset-transfer-basic` in
//! fabric-samples. Every change except `InitLedger` emits an event named after its function, as in
//! `asset-transfer-events`.
//!
//! ```
//! use chaincode_shim::mock::MockLedger;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let mut ledger = MockLedger::new(chaincode_sample::contract());
//! ledger.submit(["CreateAsset", "a1", "blue", "5", "tom", "300"]).await;
//! let previous_owner = ledger.submit(["TransferAsset", "a1", "anna"]).await.text();
//! assert_eq!(previous_owner, "tom");
//! # }
//! ```

pub mod conformance;
pub mod program;

use chaincode_shim::{Contract, Error, Stub};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An asset. The fields are in alphabetical order, so that chaincodes in every language write the same
/// bytes of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Asset {
    /// Its appraised value.
    pub appraised_value: i64,
    /// Its color.
    pub color: String,
    /// Its key in the world state.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its owner.
    pub owner: String,
    /// Its size.
    pub size: i64,
}

/// Why a function of the contract fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssetError {
    /// An asset with this ID already exists.
    #[error("the asset {0} already exists")]
    Exists(String),
    /// There is no asset with this ID.
    #[error("the asset {0} does not exist")]
    Missing(String),
}

/// The asset-transfer contract.
pub fn contract() -> Contract {
    Contract::new("SmartContract")
        .submit("InitLedger", init_ledger)
        .submit("CreateAsset", create_asset)
        .evaluate("ReadAsset", read_asset)
        .submit("UpdateAsset", update_asset)
        .submit("DeleteAsset", delete_asset)
        .evaluate("AssetExists", asset_exists)
        .submit("TransferAsset", transfer_asset)
        .evaluate("GetAllAssets", get_all_assets)
}

async fn init_ledger(stub: Stub) -> Result<(), Error> {
    for (id, color, size, owner, appraised_value) in [
        ("asset1", "blue", 5, "Tomoko", 300),
        ("asset2", "red", 5, "Brad", 400),
        ("asset3", "green", 10, "Jin Soo", 500),
        ("asset4", "yellow", 10, "Max", 600),
        ("asset5", "black", 15, "Adriana", 700),
        ("asset6", "white", 15, "Michel", 800),
    ] {
        let asset =
            Asset { appraised_value, color: color.to_owned(), id: id.to_owned(), owner: owner.to_owned(), size };
        stub.put_state(id, serde_json::to_vec(&asset)?).await?;
    }
    Ok(())
}

async fn create_asset(
    stub: Stub,
    id: String,
    color: String,
    size: i64,
    owner: String,
    appraised_value: i64,
) -> Result<(), Error> {
    if asset_exists(stub.clone(), id.clone()).await? {
        return Err(AssetError::Exists(id).into());
    }
    let asset = Asset { appraised_value, color, id, owner, size };
    write(&stub, "CreateAsset", &asset).await
}

async fn read_asset(stub: Stub, id: String) -> Result<Asset, Error> {
    match stub.get_state(&id).await? {
        Some(json) => Ok(serde_json::from_slice(&json)?),
        None => Err(AssetError::Missing(id).into()),
    }
}

async fn update_asset(
    stub: Stub,
    id: String,
    color: String,
    size: i64,
    owner: String,
    appraised_value: i64,
) -> Result<(), Error> {
    if !asset_exists(stub.clone(), id.clone()).await? {
        return Err(AssetError::Missing(id).into());
    }
    let asset = Asset { appraised_value, color, id, owner, size };
    write(&stub, "UpdateAsset", &asset).await
}

async fn delete_asset(stub: Stub, id: String) -> Result<(), Error> {
    let Some(json) = stub.get_state(&id).await? else {
        return Err(AssetError::Missing(id).into());
    };
    stub.delete_state(&id).await?;
    stub.set_event("DeleteAsset", json)?;
    Ok(())
}

async fn asset_exists(stub: Stub, id: String) -> Result<bool, Error> {
    Ok(stub.get_state(&id).await?.is_some())
}

/// Returns the previous owner.
async fn transfer_asset(stub: Stub, id: String, new_owner: String) -> Result<String, Error> {
    let mut asset = read_asset(stub.clone(), id).await?;
    let old_owner = std::mem::replace(&mut asset.owner, new_owner);
    write(&stub, "TransferAsset", &asset).await?;
    Ok(old_owner)
}

async fn get_all_assets(stub: Stub) -> Result<Vec<Asset>, Error> {
    let mut assets = Vec::new();
    let mut found = stub.get_state_by_range("", "").await?;
    while let Some(entry) = found.try_next().await? {
        assets.push(serde_json::from_slice(&entry.value)?);
    }
    Ok(assets)
}

/// Writes an asset and emits an event.
async fn write(stub: &Stub, event: &str, asset: &Asset) -> Result<(), Error> {
    let json = serde_json::to_vec(asset)?;
    stub.put_state(&asset.id, json.clone()).await?;
    stub.set_event(event, json)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use chaincode_shim::mock::MockLedger;

    use super::*;

    #[tokio::test]
    async fn a_transfer_changes_only_the_owner() {
        let mut ledger = MockLedger::new(contract());
        ledger.submit(["CreateAsset", "a1", "blue", "1", "tom", "5"]).await;

        let transfer = ledger.submit(["TransferAsset", "a1", "anna"]).await;
        assert_eq!(transfer.text(), "tom");
        let event = transfer.event.expect("a transfer emits an event");
        assert_eq!(event.name, "TransferAsset");

        let asset: Asset = ledger.evaluate(["ReadAsset", "a1"]).await.json();
        let expected =
            Asset { appraised_value: 5, color: "blue".into(), id: "a1".into(), owner: "anna".into(), size: 1 };
        assert_eq!(asset, expected);
        assert_eq!(serde_json::from_slice::<Asset>(&event.payload).unwrap(), expected);

        let absent = ledger.submit(["TransferAsset", "a2", "anna"]).await;
        assert_eq!(absent.error(), Some("the asset a2 does not exist"));
    }

    #[test]
    fn an_asset_has_the_json_of_fabric_samples() {
        let asset = Asset {
            appraised_value: 1,
            color: "blue".to_owned(),
            id: "a1".to_owned(),
            owner: "tom".to_owned(),
            size: 1,
        };
        let json = r#"{"AppraisedValue":1,"Color":"blue","ID":"a1","Owner":"tom","Size":1}"#;
        assert_eq!(serde_json::to_string(&asset).unwrap(), json);
        assert_eq!(serde_json::from_str::<Asset>(json).unwrap(), asset);
    }
}
