//! Definitions, endorsements and signatures that are broken: what the lifecycle, the gateway and the
//! orderer say.

use std::net::SocketAddr;

use fabric_harness::client::endorser::endorse;
use fabric_harness::client::{
    ClientError, Definition, PeerClient, Signer, approve_for_my_org, await_commit, await_endorsers, commit,
};
use fabric_harness::deploy::Package;
use fabric_harness::explain::find;
use fabric_harness::runtime::Runtime;
use fabric_network::topology::{Node, Organization, Topology};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use super::servers::{Does, Sample, free, serve};
use super::stage::{self, Stage, Verdict, deadline, invocation, package, text};

const CHANNEL: &str = "mychannel";
const SAMPLE: &str = "sample";

const ENTRIES: &[&str] = &[
    "not-defined",
    "not-installed",
    "not-installed-enough",
    "no-endorsers",
    "not-approved-here",
    "not-approved",
    "endorsement-policy",
    "responses-differ",
    "conflict",
    "access-denied",
    "orderer-forbids",
    "init-required",
    "no-init-expected",
];

/// What the logs of Fabric's nodes show about some of them is more exact than the client's error.
const IN_LOGS: &[(&str, &str)] = &[("access-denied", "unknown-msp"), ("orderer-forbids", "signature-invalid")];

pub(super) fn entries() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().copied()
}

/// Three organizations, of which two are a majority.
fn three() -> Topology {
    let mut topology = Topology::solo();
    topology.organizations = (1..=3)
        .map(|number| Organization {
            name: format!("Org{number}"),
            msp_id: format!("Org{number}MSP"),
            domain: format!("org{number}.example.com"),
            peers: vec![Node { name: "peer0".to_owned() }],
            users: 1,
        })
        .collect();
    topology
}

/// A connection to whoever listens at this address.
fn plain(address: SocketAddr) -> String {
    json!({"address": address.to_string(), "dial_timeout": "1s", "tls_required": false}).to_string()
}

/// Somebody whom nobody knows.
fn stranger() -> Signer {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["stranger".to_owned()]).unwrap().self_signed(&key).unwrap();
    Signer::new("Org9MSP", &certificate.pem(), &key.serialize_pem()).unwrap()
}

/// A network with the sample, and a server for a package that is not installed yet.
struct Scene {
    stage: Stage,
    peers: Vec<PeerClient>,
    sample: Package,
    partly: Package,
    _servers: [Sample; 2],
}

impl Scene {
    async fn set(runtime: &dyn Runtime) -> Self {
        let stage = Stage::start(runtime, &three(), |_| {}).await.unwrap();
        let address = free();
        let connection = plain(address);
        let sample = package(SAMPLE, &connection);
        let own = free();
        let partly = package("partly", &plain(own));
        let servers =
            [(address, &sample), (own, &partly)].map(|(address, of)| Sample::begin(address, &of.id, None, None));
        stage.deploy(SAMPLE, &sample).await.unwrap();
        let peers = stage.peers();
        // A peer that does not know the others by gossip yet gives another reason for a missing endorsement.
        await_endorsers(&peers, CHANNEL, SAMPLE, deadline()).await.unwrap();
        Self { stage, peers, sample, partly, _servers: servers }
    }

    /// Approves for the organizations of these peers, and waits for it everywhere.
    async fn approve(
        &self,
        definition: &Definition,
        peers: &[PeerClient],
        package_id: &str,
    ) -> Result<(), ClientError> {
        for peer in peers {
            let own = std::slice::from_ref(peer);
            let approval = approve_for_my_org(own, CHANNEL, definition, Some(package_id), deadline()).await?;
            await_commit(&self.peers, CHANNEL, &approval.transaction_id, deadline()).await?;
        }
        Ok(())
    }

    async fn commit(&self, definition: &Definition) -> Result<(), ClientError> {
        let committed = commit(&self.peers[..2], CHANNEL, definition, deadline()).await?;
        await_commit(&self.peers, CHANNEL, &committed.transaction_id, deadline()).await.map(drop)
    }

    /// Asks a peer, and it alone.
    async fn ask(&self, peer: &PeerClient, chaincode: &str) -> Result<(), ClientError> {
        let proposal = invocation(chaincode, &["GetAllAssets"]).propose(peer.signer())?;
        peer.process_proposal("ask", &proposal, deadline()).await.map(drop)
    }

    /// Breaks what this failure is about, and does something then.
    async fn break_for(&self, entry: &str) -> Result<(), ClientError> {
        let gateway = self.stage.gateway();
        let [first, second, third] = self.peers.as_slice() else { unreachable!("there are three peers") };
        let write = invocation(SAMPLE, &["CreateAsset", entry, "blue", "5", "Tom", "300"]);
        match entry {
            "not-defined" => self.ask(first, "nowhere").await,
            "not-installed" => {
                let definition = Definition::new("partly", "1.0");
                let partly = &self.partly;
                first.install(&partly.bytes, deadline()).await?;
                // The same, packed anew.
                second.install(&package("partly", &plain(free())).bytes, deadline()).await?;
                self.approve(&definition, &self.peers, &partly.id).await?;
                self.commit(&definition).await?;
                self.ask(second, "partly").await
            }
            // As before: there is one endorser only, and a majority is wanted.
            "not-installed-enough" => {
                let proposal = invocation("partly", &["GetAllAssets"]).propose(gateway.signer())?;
                gateway.endorse(&proposal, &[], deadline()).await.map(drop)
            }
            "no-endorsers" => {
                let proposal = invocation("partly", &["GetAllAssets"]).propose(gateway.signer())?;
                gateway.endorse(&proposal, &["Org3MSP".to_owned()], deadline()).await.map(drop)
            }
            "not-approved-here" => {
                let definition = Definition::new("majority", "1.0");
                self.approve(&definition, &self.peers[..2], &self.sample.id).await?;
                self.commit(&definition).await?;
                self.ask(third, "majority").await
            }
            "not-approved" => {
                let definition = Definition::new("changed", "1.0");
                self.approve(&definition, &self.peers, &self.sample.id).await?;
                self.commit(&Definition { version: "2.0".to_owned(), ..definition }).await
            }
            "endorsement-policy" => {
                let transaction = endorse("endorse", &self.peers[..1], &write, deadline()).await?;
                first.commit(&transaction, &self.peers[..1], deadline()).await.map(drop)
            }
            "responses-differ" => {
                let address = free();
                let counter = package("counter", &plain(address));
                let _server = serve(address, &counter.id, Does::Count, None).await;
                self.stage.deploy("counter", &counter).await.unwrap();
                await_endorsers(&self.peers, CHANNEL, "counter", deadline()).await?;
                let organizations = ["Org1MSP", "Org2MSP"].map(str::to_owned);
                let proposal = invocation("counter", &["any"]).propose(gateway.signer())?;
                gateway.endorse(&proposal, &organizations, deadline()).await.map(drop)
            }
            "conflict" => {
                let both = &self.peers[..2];
                let one = endorse("endorse", both, &write, deadline()).await?;
                let other = endorse("endorse", both, &write, deadline()).await?;
                first.commit(&one, both, deadline()).await?;
                first.commit(&other, both, deadline()).await.map(drop)
            }
            "access-denied" => self.ask(&first.with_signer(stranger().into()), SAMPLE).await,
            "orderer-forbids" => {
                let mut wrong = endorse("endorse", &self.peers[..2], &write, deadline()).await?;
                wrong.envelope.signature = stranger().sign(&wrong.envelope.payload)?;
                first.submit(&wrong, deadline()).await
            }
            "init-required" | "no-init-expected" => {
                let definition =
                    Definition { init_required: entry == "init-required", ..Definition::new(entry, "1.0") };
                self.approve(&definition, &self.peers, &self.sample.id).await?;
                self.commit(&definition).await?;
                let asked = invocation(entry, &["GetAllAssets"]);
                let asked = if definition.init_required { asked } else { asked.init() };
                gateway.evaluate(&asked, &[], deadline()).await.map(drop)
            }
            _ => unreachable!("{entry}"),
        }
    }
}

async fn breaks(runtime: &dyn Runtime) {
    let scene = Scene::set(runtime).await;
    let mut verdict = Verdict::default();
    // The logs of a starting network show no failure.
    let logs = scene.stage.unread().await;
    let found = find(logs.iter().map(|(name, log)| (name.as_str(), log.as_str())));
    assert_eq!(found, []);
    scene.stage.turn_over().await;
    for entry in ENTRIES {
        let error = scene.break_for(entry).await.err().unwrap_or_else(|| panic!("{entry}: nothing went wrong"));
        let in_log = IN_LOGS.iter().find(|(known, _)| known == entry && scene.stage.running.embedded().is_none());
        let expected = in_log.map_or(*entry, |(_, in_log)| in_log);
        scene.stage.judge(&mut verdict, expected, &text(&error), "").await;
    }
    scene.stage.stop().await;
    verdict.assert();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_network_shows_what_is_wrong_with_a_transaction() {
    breaks(&stage::embedded()).await;
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_a_network_shows_what_is_wrong_with_a_transaction() {
    breaks(&stage::fabric().await).await;
}
