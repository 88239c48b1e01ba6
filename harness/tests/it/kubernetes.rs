//! The kubernetes runtime, in the cluster that `FABRIC_HARNESS_KUBE_CONTEXT` names: what passes, what is
//! refused, and that no namespace stays.
//!
//! `CCAAS_BUILDER` and `CHAINCODE_SAMPLE` are programs that `cargo xtask test` builds.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fabric_harness::runtime::kubernetes::KubernetesRuntime;
use fabric_harness::runtime::kubernetes::cluster::Cluster;
use fabric_harness::runtime::registry::sweep;
use fabric_harness::runtime::{ChaincodeSpec, ClusterOptions, Runtime, RuntimeOptions};
use fabric_harness::server::ServerSource;
use fabric_network::topology::Topology;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{
    LimitRange, LimitRangeItem, LimitRangeSpec, Namespace, Pod, ResourceQuota, ResourceQuotaSpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use rustix::process::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::daemon::{Daemon, send};
use crate::e2e::{E2e, UNTIL_THE_CASES};
use crate::fake::{PATIENCE, marked, place, soon};

const PEER: &str = "peer0.org1.example.com";

fn context() -> String {
    std::env::var("FABRIC_HARNESS_KUBE_CONTEXT").expect("FABRIC_HARNESS_KUBE_CONTEXT is not set")
}

/// In the cluster of the tests.
pub(crate) fn options() -> ClusterOptions {
    ClusterOptions { context: Some(context()), ..ClusterOptions::default() }
}

pub(crate) fn e2e(arguments: &[&str]) -> E2e {
    let context = context();
    E2e::new(&[&["--runtime", "kubernetes", "--kube-context", &context], arguments].concat())
}

async fn namespaces() -> Api<Namespace> {
    let (client, _) = Cluster::find(Some(&context())).unwrap().connect().await.unwrap();
    Api::all(client)
}

/// The namespaces of runs whose directory is below this one.
async fn below(parent: &Path) -> Vec<String> {
    let found = namespaces().await.list(&ListParams::default()).await.unwrap();
    let is_ours = |namespace: &Namespace| {
        let directory = namespace.annotations().get("fabric-harness.directory");
        directory.is_some_and(|directory| Path::new(directory).starts_with(parent))
    };
    found.items.iter().filter(|namespace| is_ours(namespace)).map(ResourceExt::name_any).collect()
}

async fn assert_nothing_left(runs: &Path) {
    let deadline = Instant::now() + Duration::from_mins(1);
    // The namespace goes before the directory: whoever ended it needs the record until then.
    while std::fs::read_dir(runs).unwrap().next().is_some() {
        assert!(Instant::now() < deadline, "directories are left, and of namespaces {:?}", below(runs).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(below(runs).await, Vec::<String>::new());
    soon("every process has ended", || marked(runs).is_empty());
}

async fn passes(arguments: &[&str], passed: usize, not_run: usize) {
    let e2e = e2e(arguments);
    e2e.assert_passes(passed, not_run);
    assert_eq!(below(&e2e.runs()).await, Vec::<String>::new());
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster that can have Fabric's images: FABRIC_HARNESS_KUBE_CONTEXT"]
async fn needs_kubernetes_every_case_passes_on_3_1() {
    passes(&["--fabric", "3.1", "--topology", "duo"], 20, 0).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster that can have Fabric's images: FABRIC_HARNESS_KUBE_CONTEXT"]
async fn needs_kubernetes_every_case_passes_on_2_5() {
    passes(&["--fabric", "2.5", "--topology", "duo"], 20, 0).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster that can have Fabric's images: FABRIC_HARNESS_KUBE_CONTEXT"]
async fn needs_kubernetes_every_case_passes_with_bft() {
    passes(&["--fabric", "3.1", "--topology", "bft", "--tls", "tls"], 19, 1).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster that can have Fabric's images: FABRIC_HARNESS_KUBE_CONTEXT"]
async fn needs_kubernetes_every_case_passes_without_tls_for_the_chaincode() {
    passes(&["--fabric", "3.1", "--tls", "off"], 19, 1).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster that can have Fabric's images and ours: FABRIC_HARNESS_KUBE_IMAGES"]
async fn needs_images_builder_and_server_are_those_of_their_images() {
    let (builder, server) =
        (concat!("ccaas-builder:", env!("CARGO_PKG_VERSION")), concat!("chaincode-sample:", env!("CARGO_PKG_VERSION")));
    let mut e2e = e2e(&["--builder-image", builder, "--keep", "always"]);
    let file = format!(
        "[chaincode]\nname = 'assets'\n[server]\nimage = '{server}'\n\
         [[case]]\nname = 'writes'\nsubmit = ['InitLedger']\n\
         [[case]]\nname = 'reads'\nevaluate = ['AssetExists', 'asset1']\npayload = true\n\
         [[case]]\nname = 'reads again'\nsetup = 'restart-chaincode'\nevaluate = ['AssetExists', 'asset1']\npayload = true\n"
    );
    e2e.chaincode = Some(e2e.file("chaincode.toml", &file));
    let (output, text) = e2e.output();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("3 passed, 0 failed, 0 not run"), "{text}");
    assert_nothing_left(&e2e.runs()).await;
    let evidence = e2e.evidence();
    let events = evidence.iter().find(|(path, _)| path.ends_with("logs/events.log")).expect("no events");
    let events = String::from_utf8_lossy(&events.1);
    assert!(events.contains(builder) && events.contains(server), "{events}");
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster that can have Fabric's images: FABRIC_HARNESS_KUBE_CONTEXT"]
async fn needs_kubernetes_whenever_it_is_ended_nothing_is_left() {
    for (signal, index) in [
        (Signal::KILL, 0),
        (Signal::KILL, 1),
        (Signal::KILL, 2),
        (Signal::KILL, 3),
        (Signal::KILL, 11),
        (Signal::TERM, 2),
    ] {
        let (e2e, done) = (e2e(&["--keep", "never"]), UNTIL_THE_CASES[index]);
        let code = e2e.end_after(done, signal);
        assert_eq!(code, (signal == Signal::TERM).then_some(2), "{signal:?} after {done}");
        assert_nothing_left(&e2e.runs()).await;
    }
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: FABRIC_HARNESS_KUBE_CONTEXT"]
async fn needs_kubernetes_impossible_options_are_refused_before_anything_is_created() {
    let printed = |arguments: &[&str]| {
        let e2e = E2e::new(&[&["--runtime", "kubernetes"], arguments].concat());
        let (output, text) = e2e.output();
        assert_eq!(output.status.code(), Some(2), "{text}");
        e2e.assert_nothing_left();
        text
    };
    let text = printed(&["--kube-context", "no-such-context"]);
    assert!(text.contains("--kube-context no-such-context: unknown context; the kubeconfig has"), "{text}");
    assert!(text.contains(&context()), "{text}");
    let text = printed(&["--kube-context", &context(), "--kube-namespace", "kube-system"]);
    assert!(text.contains("the namespace kube-system already exists"), "{text}");
    assert!(namespaces().await.get("kube-system").await.unwrap().metadata.deletion_timestamp.is_none());
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: FABRIC_HARNESS_KUBE_CONTEXT"]
async fn needs_kubernetes_an_image_that_is_not_there_is_named_and_nothing_is_left() {
    let e2e = e2e(&["--fabric", "3.1.99999"]);
    let (output, text) = e2e.output();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("hyperledger/fabric-") && text.contains(":3.1.99999") && text.contains("ImagePull"),
        "{text}"
    );
    assert!(text.contains("put the image where the cluster's nodes can pull it from"), "{text}");
    let evidence = e2e.evidence();
    let events = evidence.iter().find(|(path, _)| path.ends_with("logs/events.log")).expect("no events");
    assert!(String::from_utf8_lossy(&events.1).contains("Failed"));
    assert_nothing_left(&e2e.runs()).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster that can have Fabric's images: FABRIC_HARNESS_KUBE_CONTEXT"]
async fn needs_kubernetes_an_image_without_a_builder_is_reported_with_its_output() {
    // Its `install` is another one.
    let e2e = e2e(&["--fabric", "3.1", "--builder-image", "hyperledger/fabric-peer:3.1"]);
    let (output, text) = e2e.output();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("its init container install-builder, image "), "{text}");
    assert!(text.contains("fabric-peer:3.1, exited: exit status: 1: install: "), "{text}");
    assert_nothing_left(&e2e.runs()).await;
}

/// Why a network does not start, soon, when its namespace has this object. Clusters have means to put one
/// into each new namespace.
async fn refused_with<K>(object: K) -> String
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
{
    let scratch = tempfile::tempdir().unwrap();
    let parent = scratch.path().canonicalize().unwrap();
    let settings = RuntimeOptions { parent: parent.clone(), ..RuntimeOptions::new("/bin/true") };
    let runtime = KubernetesRuntime::find(settings, options(), "3.1").await.unwrap();
    let (placed, bundle) = place(&runtime, &Topology::solo()).await;
    let namespace = below(&parent).await.remove(0);
    let objects: Api<K> = Api::namespaced(namespaces().await.into_client(), &namespace);
    objects.create(&PostParams::default(), &object).await.unwrap();
    let source = ServerSource::Program(PathBuf::from("/bin/true"));
    let server = ChaincodeSpec { name: "basic".to_owned(), source, ..ChaincodeSpec::default() };
    let begin = Instant::now();
    let error = placed.start(&bundle, &[server]).await.unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}: {error}", begin.elapsed());
    assert!(error.logs["events"].contains("Failed"), "{}", error.logs["events"]);
    assert_nothing_left(&parent).await;
    error.to_string()
}

fn quantities(name: &str, quantity: &str) -> BTreeMap<String, Quantity> {
    [(name.to_owned(), Quantity(quantity.to_owned()))].into()
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: FABRIC_HARNESS_KUBE_CONTEXT"]
async fn needs_kubernetes_a_quota_and_missing_resources_are_reported_before_the_timeout() {
    let mut quota = ResourceQuota {
        spec: Some(ResourceQuotaSpec { hard: Some(quantities("pods", "1")), ..ResourceQuotaSpec::default() }),
        ..ResourceQuota::default()
    };
    quota.metadata.name = Some("small".to_owned());
    let text = refused_with(quota).await;
    assert!(text.contains("the cluster refuses its pod: ") && text.contains("exceeded quota: small"), "{text}");

    let much = Some(quantities("ephemeral-storage", "1Pi"));
    let item = LimitRangeItem {
        type_: "Container".to_owned(),
        default: much.clone(),
        default_request: much,
        ..LimitRangeItem::default()
    };
    let mut range = LimitRange { spec: Some(LimitRangeSpec { limits: vec![item] }), ..LimitRange::default() };
    range.metadata.name = Some("much".to_owned());
    let text = refused_with(range).await;
    assert!(text.contains("its pod is unschedulable: 0/"), "{text}");
    assert!(text.contains("Insufficient ephemeral-storage"), "{text}");
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster that can have Fabric's images: FABRIC_HARNESS_KUBE_CONTEXT"]
async fn needs_kubernetes_a_network_stays_and_is_gone_with_its_daemon() {
    for killed in [false, true] {
        let daemon = Daemon::new();
        daemon.is_up(&["--runtime", "kubernetes", "--kube-context", &context()]);
        let runs = daemon.path("runs");
        let client = daemon.client().await;
        daemon.create(&client, "a1").await;
        daemon.done(&["restart", "chaincode"]);
        daemon.done(&["restart", PEER]);
        assert!(daemon.done(&["status"]).contains(&format!("{PEER}  answers")));
        // As Fabric's `peer` tool does it, which takes no other name than the one it dials.
        let by_address = daemon.client_of("127.0.0.1").await;
        assert!(daemon.exists(&by_address, "a1").await, "the ledger stays");
        assert!(daemon.done(&["logs", "chaincode"]).contains("listening on "));
        assert_eq!(below(&runs).await.len(), 1);
        if killed {
            send(daemon.process(), Signal::KILL);
        } else {
            daemon.done(&["down"]);
        }
        assert_nothing_left(&runs).await;
        daemon.assert_nothing_left();
    }
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster that can have Fabric's images: FABRIC_HARNESS_KUBE_CONTEXT"]
async fn needs_kubernetes_an_existing_namespace_is_not_removed() {
    let scratch = tempfile::tempdir().unwrap();
    let parent = scratch.path().canonicalize().unwrap();
    let name = format!("fabric-harness-test-{}", std::process::id());
    let own = ClusterOptions { namespace: Some(name.clone()), ..options() };
    let settings = RuntimeOptions { parent: parent.clone(), ..RuntimeOptions::new("/bin/true") };
    let runtime = KubernetesRuntime::find(settings.clone(), own, "3.1").await.unwrap();
    let mut other = Namespace::default();
    other.metadata.name = Some(name.clone());
    let namespaces = namespaces().await;
    namespaces.create(&PostParams::default(), &other).await.unwrap();
    let error = runtime.place(&Topology::solo(), &[]).await.unwrap_err();
    assert!(error.to_string().contains(&format!("the namespace {name} already exists")), "{error}");
    let still = namespaces.get(&name).await.unwrap();
    assert!(still.metadata.deletion_timestamp.is_none(), "somebody else's namespace was removed");
    assert!(std::fs::read_dir(&parent).unwrap().next().is_none());
    namespaces.delete(&name, &DeleteParams::default()).await.unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while namespaces.get_opt(&name).await.unwrap().is_some() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let placed = runtime.place(&Topology::solo(), &[]).await.unwrap();
    assert_eq!(below(&parent).await, [name]);
    drop(placed);
    assert_nothing_left(&parent).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes cluster that can have Fabric's images: FABRIC_HARNESS_KUBE_CONTEXT"]
async fn needs_kubernetes_a_chaincode_server_is_stopped_killed_and_started() {
    let scratch = tempfile::tempdir().unwrap();
    let parent = scratch.path().canonicalize().unwrap().join("runs");
    std::fs::create_dir(&parent).unwrap();
    let settings = RuntimeOptions { parent: parent.clone(), ..RuntimeOptions::new("/bin/true") };
    let runtime = KubernetesRuntime::find(settings, options(), "3.1").await.unwrap();
    // In any image with Perl. It ends by itself when somebody sends it a byte.
    let program = scratch.path().join("program");
    let script = "#!/bin/sh\necho up $WHO\nexec perl -MIO::Socket::INET -e '\n\
                  $SIG{TERM} = sub { syswrite STDOUT, qq(bye\\n); exit };\n\
                  my $socket = IO::Socket::INET->new(Listen => 5, LocalPort => 9999, ReuseAddr => 1) or die;\n\
                  while (my $client = $socket->accept) { if (sysread $client, my $byte, 1) { print qq(enough\\n); exit 7 } }'\n";
    std::fs::write(&program, script).unwrap();
    let source = ServerSource::Program(program);
    let (placed, bundle) = place(&runtime, &Topology::solo()).await;
    assert_eq!(placed.chaincodes["basic"].address, "chaincode0-basic:9999");
    let server = ChaincodeSpec {
        name: "basic".to_owned(),
        source,
        environment: [("WHO".to_owned(), "world".to_owned())].into(),
        ..ChaincodeSpec::default()
    };
    let running = placed.start(&bundle, &[server]).await.unwrap();
    let server = &running.chaincodes()[0];
    let ups = async |count: usize| {
        let log = running.logs().await.remove("basic").unwrap();
        assert_eq!(log.matches("up world").count(), count, "{log}");
        log
    };
    ups(1).await;
    server.stop().await.unwrap();
    ups(1).await;
    server.start().await.unwrap();
    ups(2).await;
    server.kill().await.unwrap();
    server.start().await.unwrap();
    ups(3).await;
    assert_eq!(running.exits().await, []);

    send_a_byte_to("chaincode0-basic", &below(&parent).await[0]).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    let exits = loop {
        let exits = running.exits().await;
        if !exits.is_empty() || Instant::now() > deadline {
            break exits;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(exits.iter().map(|exit| (&*exit.name, &*exit.how)).collect::<Vec<_>>(), [("basic", "exit status: 7")]);
    // The cluster starts it again by itself, when it likes to.
    server.start().await.unwrap();
    assert!(ups(4).await.contains("enough"), "the log of the one that died is lost");

    let logs = running.logs().await;
    assert!(logs[PEER].contains("Starting peer") && logs["events"].contains("Scheduled"), "{logs:?}");
    assert_eq!(below(&parent).await.len(), 1);
    running.stop().await.unwrap();
    assert_nothing_left(&parent).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: FABRIC_HARNESS_KUBE_CONTEXT"]
async fn needs_kubernetes_the_next_sweep_removes_what_even_the_reaper_could_not() {
    let e2e = e2e(&["--keep", "never"]);
    let runs = e2e.runs();
    let mut child = e2e.command().stdout(std::process::Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while below(&runs).await.is_empty() {
        assert!(Instant::now() < deadline, "no namespace was made");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The program and its reaper, together.
    let group: Vec<u32> = marked(&runs);
    for number in group.into_iter().chain([child.id()]) {
        kill(number);
    }
    child.wait().unwrap();
    assert_eq!(below(&runs).await.len(), 1);
    let swept = sweep(&runs, Vec::new()).await;
    assert_eq!((swept.runs, swept.left.len()), (1, 0), "{swept:?}");
    assert_nothing_left(&runs).await;
}

/// Through the only pod of a chaincode server.
async fn send_a_byte_to(instance: &str, namespace: &str) {
    let pods: Api<Pod> = Api::namespaced(namespaces().await.into_client(), namespace);
    let label = format!("app.kubernetes.io/instance={instance}");
    let found = pods.list(&ListParams::default().labels(&label)).await.unwrap();
    let mut forwarder = pods.portforward(&found.items[0].name_any(), &[9999]).await.unwrap();
    let mut stream = forwarder.take_stream(9999).unwrap();
    stream.write_all(b"x").await.unwrap();
    // Until it has come there.
    let _ = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
}

fn kill(number: u32) {
    let process = rustix::process::Pid::from_raw(i32::try_from(number).unwrap()).unwrap();
    let _ = rustix::process::kill_process(process, Signal::KILL);
}

#[test]
fn options_of_a_cluster_are_for_the_kubernetes_runtime_alone() {
    let printed = |arguments: &[&str]| {
        let (output, text) = E2e::new(arguments).output();
        assert_eq!(output.status.code(), Some(2), "{text}");
        text
    };
    let text = printed(&["--runtime", "embedded", "--kube-context", "x", "--builder-image", "y"]);
    assert!(text.contains("--kube-context x: only --runtime kubernetes uses it"), "{text}");
    assert!(text.contains("--builder-image y: only"), "{text}");
    let text = printed(&["--runtime", "kubernetes", "--kube-namespace", "A_b"]);
    assert!(text.contains("--kube-namespace A_b: not a valid namespace name"), "{text}");
}

#[test]
fn a_kubeconfig_that_leads_nowhere_is_reported_in_time() {
    let e2e = E2e::new(&["--runtime", "kubernetes"]);
    let printed = |kubeconfig: &str| {
        let begin = Instant::now();
        let output = e2e.command().env("KUBECONFIG", kubeconfig).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
        e2e.assert_nothing_left();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = printed("/does/not/exist");
    assert!(text.contains("no kubeconfig: /does/not/exist does not exist"), "{text}");
    let text = printed(&e2e.file("broken", "{"));
    assert!(text.contains("invalid kubeconfig "), "{text}");
    let cluster = |address: &str| {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\ncontexts: [{{name: here, context: {{cluster: c}}}}]\n\
             clusters: [{{name: c, cluster: {{server: \"{address}\"}}}}]\n"
        )
    };
    let text = printed(&e2e.file("refused", &cluster("https://127.0.0.1:1")));
    assert!(text.contains("the cluster of context here does not answer"), "{text}");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = printed(&e2e.file("silent", &cluster(&format!("https://{}", silent.local_addr().unwrap()))));
    assert!(text.contains("does not answer: nothing within 5 s; choose another with --kube-context"), "{text}");
    let text = printed(&e2e.file("none", "apiVersion: v1\nkind: Config\n"));
    assert!(text.contains("no current context; choose one with --kube-context: none"), "{text}");
}
