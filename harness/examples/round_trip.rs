//! Starts a network, submits a transaction, evaluates a query, and stops the network.
//!
//! ```console
//! $ CCAAS_BUILDER=BUILDER cargo run --package fabric-harness --example round_trip -- CHAINCODE
//! ```
//!
//! `cargo xtask dist` builds both programs and prints where they are; CHAINCODE is any server with the
//! functions of the asset-transfer sample.

use fabric_harness::Network;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let chaincode = std::env::args_os().nth(1).ok_or("give the chaincode server's program")?;
    let network = Network::builder(chaincode).start().await?;
    println!("package {}", network.package_id());

    let created = network.call(["CreateAsset", "a1", "blue", "5", "Anna", "300"]).submit().await?;
    println!("transaction {} is in block {}", created.committed.transaction_id, created.committed.block_number);

    let asset = network.call(["ReadAsset", "a1"]).identity("Admin@Org1").evaluate().await?;
    println!("{}", String::from_utf8_lossy(&asset));

    network.stop().await?;
    Ok(())
}
