//! What Fabric itself answers, in the words and numbers that the clients read. Chaincode is not run
//! here: that is the matter of whole runs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

use ccaas_builder::connection::Connection;
use ccaas_builder::package::{Package, package_id};
use fabric_network::bundle::Bundle;
use fabric_network::identity::{Credential, Validity};
use fabric_network::render::{RenderOptions, render};
use fabric_network::topology::Topology;
use tonic::Code;

use super::*;
use crate::client::{
    ClientError, Definition, EndorsementPolicy, EventStart, Installation, Invocation, Node, Participation, PeerClient,
    approve_for_my_org, await_endorsers, commit,
};
use crate::runtime::process::ProcessRuntime;
use crate::runtime::{Running, Runtime, RuntimeOptions};
use crate::wait::{self, Poll};

const CHANNEL: &str = "mychannel";

/// A solo network of which nothing has joined anything, and its administrators.
struct Network {
    bundle: Bundle,
    running: Running,
    _scratch: tempfile::TempDir,
}

impl Network {
    async fn start() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        // Takes every package and does nothing with it.
        let builder = scratch.path().join("builder");
        fs::write(&builder, "#!/bin/sh\nexit 0\n").unwrap();
        fs::set_permissions(&builder, fs::Permissions::from_mode(0o755)).unwrap();
        let options = RuntimeOptions { parent: scratch.path().to_owned(), ..RuntimeOptions::new(builder) };
        let directory = std::env::var_os("FABRIC_BIN").map(PathBuf::from);
        let runtime = ProcessRuntime::find(options, directory.as_deref()).await.unwrap();
        let topology = Topology::solo();
        let placed = runtime.place(&topology, &[]).await.unwrap();
        let validity = Validity::starting(SystemTime::now(), Duration::from_hours(1));
        let bundle = render(&topology, &placed.placement, &RenderOptions::new(runtime.release(), validity)).unwrap();
        let running = placed.start(&bundle, &[]).await.unwrap();
        Self { bundle, running, _scratch: scratch }
    }

    fn genesis_block(&self) -> &[u8] {
        &self.bundle.channels[0].genesis_block
    }

    fn participation(&self) -> Participation {
        let node = &self.running.nodes()[0];
        let pair = &self.bundle.identities.orderer_organization.admin_tls;
        Participation::new(&node.name, node.admin.as_ref().unwrap(), pair).unwrap()
    }

    /// The peer, as its administrator and as a user of its organization.
    async fn peer(&self) -> (PeerClient, PeerClient) {
        let node = &self.running.nodes()[1];
        let members = &self.bundle.identities.peer_organizations[0];
        let connection = Node::connect(&node.name, &node.grpc, Some(&members.admin_tls)).await.unwrap();
        let administrator = PeerClient::new(connection, signer(&members.admin));
        let user = administrator.with_signer(signer(&members.users[0]));
        (administrator, user)
    }
}

fn signer(credential: &Credential) -> Arc<Signer> {
    let key = credential.private_key_pem.as_pem();
    Arc::new(Signer::new(&credential.msp_id, &credential.certificate_pem, key).unwrap())
}

fn package() -> Vec<u8> {
    let connection = Connection { address: "127.0.0.1:1".to_owned(), ..Connection::default() };
    let label = "basic_1".to_owned();
    let package = Package { label, kind: "ccaas".to_owned(), connection, extra_files: BTreeMap::new() };
    package.to_bytes().unwrap()
}

/// The status of a refusal.
#[track_caller]
fn status(refused: &ClientError) -> i32 {
    match refused {
        ClientError::Rejected { status, .. } => *status,
        ClientError::Http { status, .. } => i32::from(*status),
        other => panic!("not a refusal: {other}"),
    }
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_every_call_is_answered_as_the_clients_read_it() {
    let network = Network::start().await;
    join(&network).await;
    deploy(&network).await;
    ask_the_gateway(&network).await;
    leave(&network).await;
    network.running.stop().await.unwrap();
}

async fn join(network: &Network) {
    let participation = network.participation();
    assert_eq!(participation.channel(CHANNEL, soon()).await.unwrap(), None);
    assert_eq!(status(&participation.join(b"no block", soon()).await.unwrap_err()), 400);
    let joined = participation.join(network.genesis_block(), soon()).await.unwrap();
    assert_eq!((joined.consensus_relation.as_str(), joined.height), ("consenter", 1));
    assert_eq!(status(&participation.join(network.genesis_block(), soon()).await.unwrap_err()), 405);
    assert_eq!(participation.channels(soon()).await.unwrap(), [CHANNEL]);

    let (administrator, _) = network.peer().await;
    assert_eq!(status(&administrator.chain_info(CHANNEL, soon()).await.unwrap_err()), 500);
    administrator.join(network.genesis_block(), soon()).await.unwrap();
    assert_eq!(status(&administrator.join(network.genesis_block(), soon()).await.unwrap_err()), 500);
    assert_eq!(administrator.channels(soon()).await.unwrap(), [CHANNEL]);
    assert_eq!(administrator.chain_info(CHANNEL, soon()).await.unwrap().height, 1);
}

async fn deploy(network: &Network) {
    let (administrator, user) = network.peer().await;
    let package = package();
    let package_id = package_id("basic_1", &package);
    assert_eq!(status(&user.install(&package, soon()).await.unwrap_err()), 500);
    let installed = Installation::Installed { package_id: package_id.clone() };
    assert_eq!(administrator.install(&package, soon()).await.unwrap(), installed);
    let already = Installation::AlreadyInstalled { package_id: package_id.clone() };
    assert_eq!(administrator.install(&package, soon()).await.unwrap(), already);
    let listed = administrator.query_installed(soon()).await.unwrap();
    assert_eq!((listed.len(), &listed[0].package_id), (1, &package_id));

    let peers = std::slice::from_ref(&administrator);
    let mut definition = Definition::new("basic", "1.0");
    definition.endorsement_policy = Some(EndorsementPolicy::ChannelConfig("/Channel/Application/Writers".to_owned()));
    let readiness = administrator.check_commit_readiness(CHANNEL, &definition, soon()).await.unwrap();
    assert_eq!(readiness.missing(), ["Org1MSP"]);
    assert_eq!(status(&commit(peers, CHANNEL, &definition, soon()).await.unwrap_err()), 500);
    let approved = approve_for_my_org(peers, CHANNEL, &definition, Some(&package_id), soon()).await.unwrap();
    assert_eq!(approved.block_number, 1);
    let readiness = administrator.check_commit_readiness(CHANNEL, &definition, soon()).await.unwrap();
    assert!(readiness.missing().is_empty(), "{readiness:?}");
    commit(peers, CHANNEL, &definition, soon()).await.unwrap();
    assert_eq!(administrator.query_committed(CHANNEL, "basic", soon()).await.unwrap().sequence, 1);
    assert_eq!(status(&administrator.query_committed(CHANNEL, "other", soon()).await.unwrap_err()), 404);
}

async fn ask_the_gateway(network: &Network) {
    let (_, user) = network.peer().await;
    let info = Invocation::new(CHANNEL, "qscc", "GetChainInfo").argument(CHANNEL);
    assert!(!user.evaluate(&info, &[], soon()).await.unwrap().is_empty());
    let absent = Invocation::new(CHANNEL, "qscc", "GetBlockByNumber").arguments([CHANNEL, "99"]);
    let error = user.evaluate(&absent, &[], soon()).await.unwrap_err();
    let (status, message) = error.chaincode_error().unwrap();
    assert_eq!(status, 500);
    assert!(message.starts_with("Failed to get block number 99"), "{message}");

    let elsewhere = ["Org9MSP".to_owned()];
    let call = Invocation::new(CHANNEL, "basic", "ReadAsset").propose(user.signer()).unwrap();
    let error = user.endorse(&call, &elsewhere, soon()).await.unwrap_err().to_string();
    assert!(error.ends_with("failed to find any endorsing peers for org(s): Org9MSP"), "{error}");

    await_endorsers(std::slice::from_ref(&user), CHANNEL, "basic", soon()).await.unwrap();
    let in_a_moment = Instant::now() + Duration::from_millis(200);
    let unknown = await_endorsers(std::slice::from_ref(&user), CHANNEL, "other", in_a_moment).await;
    let error = unknown.unwrap_err().to_string();
    assert!(error.contains("No metadata was found for chaincode other"), "{error}");

    let in_a_moment = Instant::now() + Duration::from_millis(200);
    let error = user.commit_status(CHANNEL, &"0".repeat(64), in_a_moment).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
    let mut events = user.chaincode_events("other", "basic", &EventStart::NextCommit).unwrap();
    let error = events.next(soon()).await.unwrap_err();
    assert!(matches!(error, ClientError::Status { code: Code::PermissionDenied, .. }), "{error}");
}

async fn leave(network: &Network) {
    let participation = network.participation();
    participation.remove(CHANNEL, soon()).await.unwrap();
    let gone = wait::until("the channel is gone", Duration::from_secs(10), async || {
        match participation.channel(CHANNEL, soon()).await? {
            None => Ok::<_, ClientError>(Poll::Ready(())),
            Some(info) => Ok(Poll::NotYet(format!("{info:?}"))),
        }
    });
    gone.await.unwrap();
    assert_eq!(status(&participation.remove(CHANNEL, soon()).await.unwrap_err()), 404);
}
