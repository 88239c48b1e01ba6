//! A bundle for Compose as its operator uses it: with `docker compose` itself, by the commands of the
//! bundle's README.md, on Fabric's images.
//!
//! `CCAAS_BUILDER`, `CHAINCODE_SAMPLE` and `FABRIC_HARNESS_STATIC` are the static programs that images are
//! made of; `cargo xtask test` builds them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::bundle::{path, tree};

/// The bundle of a network, the images that it names, and whatever the engine makes of them. All of it
/// goes with this value.
struct Composed {
    scratch: tempfile::TempDir,
    /// The release line. A bundle takes its newest version.
    line: &'static str,
    /// What the engine's objects are named after: the directory that `compose.yaml` is in.
    project: String,
    images: BTreeMap<&'static str, String>,
}

impl Composed {
    fn new(line: &'static str, arguments: &[&str]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let project = format!("fabric-harness-test-{}", std::process::id());
        let mut this = Self { scratch, line, project, images: BTreeMap::new() };
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        this.build("builder", &program("CCAAS_BUILDER"), "ccaas-builder", &sources.join("builder/Dockerfile"));
        this.build("harness", &program("FABRIC_HARNESS_STATIC"), "fabric-harness", &sources.join("harness/Dockerfile"));
        // Its own Dockerfile compiles it once more, in an image that has a compiler.
        let dockerfile = this.scratch.path().join("Dockerfile");
        fs::write(&dockerfile, "FROM scratch\nCOPY chaincode /chaincode\nENTRYPOINT [\"/chaincode\"]\n").unwrap();
        this.build("chaincode", &program("CHAINCODE_SAMPLE"), "chaincode", &dockerfile);
        this.render(&this.directory(), arguments);
        this
    }

    fn build(&mut self, what: &'static str, program: &Path, name: &str, dockerfile: &Path) {
        let context = self.scratch.path().join(what);
        fs::create_dir(&context).unwrap();
        fs::copy(program, context.join(name)).unwrap();
        let image = format!("{}-{what}:test", self.project);
        let mut build = Command::new("docker");
        build.args(["build", "--quiet", "--tag", &image, "--file", path(dockerfile)]).arg(&context);
        done(&mut build);
        self.images.insert(what, image);
    }

    fn directory(&self) -> PathBuf {
        self.scratch.path().join(&self.project)
    }

    fn render(&self, out: &Path, arguments: &[&str]) {
        let mut bundle = Command::new(env!("CARGO_BIN_EXE_fabric-harness"));
        bundle.args(["bundle", "--format", "compose", "--fabric", self.line, "--out", path(out)]).args(arguments);
        for (what, image) in &self.images {
            bundle.arg(format!("--{what}-image")).arg(image);
        }
        done(&mut bundle);
    }

    fn compose(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("compose").args(arguments).current_dir(self.directory());
        command
    }

    fn done(&self, arguments: &[&str]) -> String {
        done(&mut self.compose(arguments))
    }

    /// The containers by their services, and whether they run.
    fn containers(&self, filter: &[&str]) -> BTreeMap<String, String> {
        let format = "{{.Label \"com.docker.compose.service\"}} {{.ID}}";
        let project = format!("label=com.docker.compose.project={}", self.project);
        let mut list = Command::new("docker");
        list.args(["ps", "--no-trunc", "--format", format, "--filter", &project]).args(filter);
        let text = done(&mut list);
        text.lines().map(|line| line.split_once(' ').unwrap()).map(|(name, id)| (name.into(), id.into())).collect()
    }

    /// What is in the engine that belongs to it, but for images.
    fn left(&self) -> Vec<String> {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let kinds = [&["ps", "--all"][..], &["volume", "ls"], &["network", "ls"]];
        let list = |kind: &[&str]| done(Command::new("docker").args(kind).args(["--quiet", "--filter", &project]));
        kinds.iter().flat_map(|kind| list(kind).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    fn each_server_is_reached_by_its_peer_alone(&self) {
        let dials = |from: &str| {
            let dial = "timeout 5 bash -c 'exec 3<>/dev/tcp/chaincode.peer0.org1.example.com/9999'";
            self.compose(&["exec", "-T", from, "sh", "-c", dial]).output().unwrap().status.success()
        };
        assert!(dials("peer0.org1.example.com"));
        assert!(!dials("peer1.org1.example.com"), "another peer reaches the server");
    }

    /// The commands of README.md, from nothing to nothing, for a network of so many peers and orderers.
    fn lives_and_goes(&self, peers: usize, orderers: usize, tls: &[&str]) {
        self.done(&["up", "--detach"]);
        let deployed = self.done(&["run", "--rm", "deploy"]);
        assert!(deployed.contains(&format!("answers on {peers} peers")), "{deployed}");
        let healthy = self.containers(&["--filter", "health=healthy"]);
        assert_eq!(healthy.len(), 2 * peers + orderers, "each peer has a chaincode server: {healthy:?}");
        if peers > 1 {
            self.each_server_is_reached_by_its_peer_alone();
        }
        let again = self.done(&["run", "--rm", "deploy"]);
        assert!(again.contains("is committed to mychannel already") && again.contains("answers on"), "{again}");

        // Rendered again with its own identities it is the same, so nothing that runs is touched.
        let second = self.scratch.path().join("again").join(&self.project);
        let directory = self.directory();
        let topology = directory.join("topology.yaml");
        fs::create_dir(second.parent().unwrap()).unwrap();
        self.render(&second, &[&["--topology", path(&topology), "--identities", path(&directory)], tls].concat());
        assert!(tree(&directory) == tree(&second), "the two differ");
        self.done(&["up", "--detach"]);
        assert_eq!(self.containers(&["--filter", "health=healthy"]), healthy, "containers were made anew");

        // Without `--volumes` the ledgers stay.
        self.done(&["down"]);
        assert_eq!(self.containers(&["--all"]), BTreeMap::new());
        self.done(&["up", "--detach"]);
        let kept = self.done(&["run", "--rm", "deploy"]);
        assert!(kept.contains("is committed to mychannel already"), "{kept}");
        self.done(&["down", "--volumes"]);
        assert_eq!(self.left(), Vec::<String>::new());
    }
}

impl Drop for Composed {
    fn drop(&mut self) {
        let _ = self.compose(&["--profile", "*", "down", "--volumes", "--timeout", "1"]).output();
        let _ = Command::new("docker").arg("rmi").args(self.images.values()).output();
    }
}

fn program(variable: &str) -> PathBuf {
    std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set")).into()
}

/// What a command prints that must succeed.
#[track_caller]
fn done(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{command:?}: {status}\n{text}\n{}", String::from_utf8_lossy(&stderr));
    text
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images, and the plugin `docker compose`"]
fn needs_compose_a_network_of_two_organizations_on_3_1() {
    Composed::new("3.1", &["--topology", "duo"]).lives_and_goes(4, 3, &[]);
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images, and the plugin `docker compose`"]
fn needs_compose_a_network_without_tls_for_its_chaincode_on_2_5() {
    Composed::new("2.5", &["--tls", "off"]).lives_and_goes(1, 1, &["--tls", "off"]);
}
