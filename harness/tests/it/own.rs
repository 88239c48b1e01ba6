//! A chaincode of one's own: `--chaincode` with a file, and with the address of a server that somebody
//! else starts. On embedded peers, so this runs everywhere; Docker and Node.js have tests of their own.
//!
//! `CCAAS_BUILDER` and `CHAINCODE_SAMPLE` are programs that `cargo xtask test` builds.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fabric_harness::check::cases::CaseFile;

use crate::e2e::E2e;
use crate::fake::soon;

const CASES: &str = "[[case]]\nname = 'it is created'\nsubmit = ['CreateAsset', 'a1', 'blue', '5', 'Tom', '300']\n\
                     [[case]]\nname = 'it is there after a restart'\nsetup = 'restart-chaincode'\n\
                     evaluate = ['AssetExists', 'a1']\npayload = true\n";

fn sample() -> String {
    std::env::var("CHAINCODE_SAMPLE").expect("`cargo xtask test` sets CHAINCODE_SAMPLE")
}

/// A run with this chaincode file, on embedded peers.
fn with_file(text: &str, arguments: &[&str]) -> E2e {
    on("embedded", text, arguments)
}

fn on(runtime: &str, text: &str, arguments: &[&str]) -> E2e {
    let mut e2e = E2e::new(&[&["--runtime", runtime], arguments].concat());
    e2e.chaincode = Some(e2e.file("my.toml", text));
    e2e
}

/// The sample, which sees nothing but what the file hands it.
fn command() -> String {
    let variables = ["ID", "TLS_DISABLED", "TLS_CERT", "TLS_KEY", "CLIENT_CA_CERT"]
        .map(|name| format!("'CHAINCODE_{name}=${{CHAINCODE_{name}}}', "));
    let address = "'CHAINCODE_SERVER_ADDRESS=${CHAINCODE_SERVER_HOST}:${CHAINCODE_SERVER_PORT}'";
    format!("command = ['env', '-i', {}{address}, '{}']\n", variables.concat(), sample())
}

#[test]
fn a_command_is_started_restarted_and_ended() {
    let e2e = with_file(&format!("[server]\n{}{CASES}", command()), &["--keep", "never"]);
    let text = e2e.printed(0);
    assert!(text.contains("2 passed, 0 failed, 0 not run") && text.contains("chaincode TLS mtls"), "{text}");
    // Its environment bears no mark, so it is looked for by its program.
    soon("the server has ended", || servers_of(&e2e).is_empty());
}

/// Each organization installs its own package, whose server has the organization's MSP ID and is restarted alone.
fn each_organization_has_a_server(mut e2e: E2e) {
    let seen = e2e.path("").display().to_string();
    let script = format!("echo ${{CHAINCODE_ID}} >> {seen}/${{CORE_PEER_LOCALMSPID}}; exec {}", sample());
    let cases = "[[case]]\nname = 'both endorse'\nsubmit = ['CreateAsset', 'a1', 'blue', '5', 'Tom', '300']\n\
                 endorsing_organizations = ['Org1', 'Org2']\nendorsed_by = 2\n\
                 [[case]]\nname = 'it is there'\nevaluate = ['AssetExists', 'a1']\npayload = true\n\
                 setup = 'restart basic.Org2'\nendorsing_organizations = ['Org2']\n";
    let file = format!(
        "[chaincode]\nname = 'basic'\n[server]\ncommand = ['sh', '-c', '{script}']\nper_organization = true\n{cases}"
    );
    e2e.chaincode = Some(e2e.file("my.toml", &file));
    let text = e2e.printed(0);
    assert!(text.contains("2 passed, 0 failed, 0 not run"), "{text}");
    let seen = |msp_id: &str| std::fs::read_to_string(e2e.path(msp_id)).unwrap();
    let (first, second) = (seen("Org1MSP"), seen("Org2MSP"));
    let first: Vec<_> = first.lines().collect();
    let second: Vec<_> = second.lines().collect();
    assert!(first.len() == 1 && second.len() == 2 && second[0] == second[1], "{first:?} {second:?}");
    assert!(first[0].starts_with("basic_1.0:") && second[0].starts_with("basic_1.0:"), "{first:?} {second:?}");
    assert_ne!(first[0], second[0], "each has its own package");
}

#[test]
fn an_organization_can_have_its_own_server() {
    each_organization_has_a_server(E2e::new(&["--runtime", "embedded", "--topology", "duo"]));
    let file = format!("[server]\naddress = 'localhost:1'\nper_organization = true\n{CASES}");
    let text = with_file(&file, &[]).printed(2);
    assert!(text.contains("my.toml at line 2, column 11: `per_organization` needs several servers"), "{text}");
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_an_organization_can_have_its_own_server() {
    each_organization_has_a_server(E2e::process(&["--topology", "duo"]));
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images"]
fn needs_docker_an_organization_can_have_its_own_server() {
    for fabric in ["2.5", "3.1"] {
        each_organization_has_a_server(E2e::new(&["--runtime", "docker", "--fabric", fabric, "--topology", "duo"]));
    }
}

/// Cases that save values, wait, and stop nodes.
const STEPS: &str = "
[chaincode]
# A gateway that does not know every endorser yet needs none of Org2.
endorsement_policy = \"OR('Org1MSP.peer', 'Org2MSP.peer')\"
[[case]]
name = 'create'
submit = ['CreateAsset', 'a1', 'blue', '5', 'Tom', '300']
[[case]]
name = 'save'
evaluate = ['ReadAsset', 'a1']
save = { owner = '$.Owner', size = '$.Size' }
[[case]]
name = 'without a peer'
setup = 'stop peer0.org2'
submit = ['TransferAsset', 'a1', '${case.owner}-2']
payload_text = '${case.owner}'
[[case]]
name = 'its gateway is down'
evaluate = ['ReadAsset', 'a1']
identity = 'User1@Org2'
error = 'the connection to peer0.org2.example.com failed'
[[case]]
name = 'after the start'
setup = 'start peer0.org2'
evaluate = ['ReadAsset', 'a1']
identity = 'User1@Org2'
endorsing_organizations = ['Org2']
until = '10s'
payload = { Owner = '${case.owner}-2', Size = '${case.size}' }
[[case]]
name = 'never'
evaluate = ['ReadAsset', 'a1']
until = '300ms'
save = 'never'
payload = { Owner = '$${case.owner}' }
[[case]]
name = 'not run'
evaluate = ['ReadAsset', '${case.never}']
";

fn steps_on(runtime: &[&str]) {
    let mut e2e = E2e::new(&[&["--topology", "duo", "--keep", "never"], runtime].concat());
    e2e.chaincode = Some(e2e.file("my.toml", &format!("[server]\nprogram = '{}'\n{STEPS}", sample())));
    let text = e2e.printed(1);
    assert!(text.contains("5 passed, 1 failed, 1 not run"), "{text}");
    assert!(text.contains("Owner\":\"${case.owner}\"}, within 0.3 s") && text.contains("Tom-2"), "{text}");
    assert!(text.contains("needs ${case.never}, which no case has saved"), "{text}");
}

#[test]
fn cases_save_values_wait_and_stop_nodes() {
    steps_on(&["--runtime", "embedded"]);
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_cases_save_values_wait_and_stop_nodes() {
    let directory = std::env::var("FABRIC_BIN").unwrap_or_default();
    let own = ["--runtime", "process", "--fabric-bin", &directory];
    steps_on(if directory.is_empty() { &own[..2] } else { &own });
}

#[test]
fn a_file_of_the_working_directory_needs_no_directory_in_its_name() {
    let mut e2e = with_file(&format!("[server]\ncommand = ['./server']\n{CASES}"), &["--keep", "never"]);
    std::os::unix::fs::symlink(sample(), e2e.path("server")).unwrap();
    e2e.chaincode = Some("my.toml".to_owned());
    let output = e2e.command().current_dir(e2e.path("")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// The samples that serve for a run: they have a file of it in their environment.
fn servers_of(e2e: &E2e) -> Vec<String> {
    let runs = e2e.runs().display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let environments = processes.filter_map(|process| {
        let environment = fs::read(process.path().join("environ")).ok()?;
        Some(String::from_utf8_lossy(&environment).into_owned())
    });
    environments.filter(|environment| environment.contains(&runs)).collect()
}

#[test]
fn what_a_shell_has_started_ends_with_it() {
    // The shell ends immediately when asked to, and leaves the server behind.
    let shell = format!("command = ['sh', '-c', \"trap 'exit 0' TERM; '{}' & wait\"]\n", sample());
    let e2e = with_file(&format!("[server]\n{shell}{CASES}"), &["--keep", "always"]);
    let text = e2e.printed(0);
    assert!(text.contains("2 passed, 0 failed, 0 not run"), "{text}");
    let evidence = e2e.evidence();
    let (_, log) = evidence.iter().find(|(path, _)| path.ends_with("asset-transfer.log")).unwrap();
    let log = String::from_utf8_lossy(log);
    assert!(!log.contains("in use"), "the former server still had the port:\n{log}");
}

#[test]
#[ignore = "needs a control group that this user may create"]
fn needs_cgroup_what_a_server_hides_ends_with_it() {
    // No mark in its environment, no parent, and a session of its own.
    let hidden = format!("100{}", std::process::id());
    let shell = format!("sleep 0.3; env -i setsid sleep {hidden} & exec {}", sample());
    let e2e = with_file(&format!("[server]\ncommand = ['sh', '-c', '{shell}']\n{CASES}"), &["--keep", "never"]);
    let text = e2e.printed(0);
    assert!(text.contains("2 passed, 0 failed, 0 not run"), "{text}");
    soon("the hidden process has ended", || {
        let lines = std::fs::read_dir("/proc").unwrap().flatten();
        !lines
            .filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok())
            .any(|line| line.split('\0').any(|argument| argument == hidden))
    });
}

#[test]
fn the_file_supplies_what_no_option_gives() {
    let file = format!(
        "[chaincode]\nname = 'basic'\nversion = '2.0'\nlabel = 'mine+1'\nindexes = 'META-INF'\n[server]\n\
         program = '{}'\ntls = 'off'\n{CASES}",
        sample()
    );
    let e2e = with_file(&file, &["--keep", "always"]);
    let index = "META-INF/statedb/couchdb/indexes/byOwner.json";
    fs::create_dir_all(e2e.path(index).parent().unwrap()).unwrap();
    fs::write(e2e.path(index), r#"{"index":{"fields":["Owner"]},"ddoc":"d","name":"byOwner","type":"json"}"#).unwrap();
    let text = e2e.printed(0);
    assert!(text.contains("chaincode TLS off") && text.contains("2 passed, 0 failed"), "{text}");
    let evidence = e2e.evidence();
    let package = evidence.iter().map(|(path, _)| path).find(|path| path.to_string_lossy().ends_with(".tar.gz"));
    let package = package.unwrap();
    assert!(package.parent().unwrap().ends_with("package"), "{package:?}");
    assert!(package.file_name().unwrap().to_string_lossy().starts_with("mine+1-"), "{package:?}");
    let builder = std::env::var("CCAAS_BUILDER").unwrap();
    let inspected = Command::new(builder).arg("inspect").arg(package).output().unwrap();
    let inspected = String::from_utf8(inspected.stdout).unwrap();
    assert!(inspected.contains(index) && inspected.contains("mine+1"), "{inspected}");
    assert!(evidence.iter().any(|(path, _)| path.ends_with("basic.log")), "the log has the chaincode's name");

    let text = with_file(&file.replace("indexes = 'META-INF'\n", ""), &["--tls", "tls"]).printed(0);
    assert!(text.contains("chaincode TLS tls"), "{text}");
}

#[test]
fn other_cases_take_the_place_of_the_files_own() {
    let file = format!("[chaincode]\nname = 'basic'\n[server]\nprogram = '{}'\n{CASES}", sample());
    let mut e2e = with_file(&file, &[]);
    let cases = e2e.file("other.toml", "[[case]]\nname = 'other'\nevaluate = ['AssetExists', 'a']\npayload = false\n");
    e2e.arguments.extend(["--cases".to_owned(), cases]);
    let text = e2e.printed(0);
    assert!(text.contains("1 passed, 0 failed, 0 not run") && text.contains("other"), "{text}");
    e2e.file("other.toml", &format!("# mine\n[chaincode]\nname = 'other'\n{CASES}"));
    let text = e2e.printed(2);
    assert!(
        text.contains("other.toml at line 2, column 1: this section is not used: only cases are read from here"),
        "{text}"
    );
}

/// Starts the harness, and the sample as its user would: when asked to, with the file of variables.
fn with_server_at(e2e: &E2e, address: &str) -> (Option<i32>, String) {
    let mut harness = e2e.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(harness.stdout.take().unwrap()).lines();
    let mut text = String::new();
    let mut server: Option<Child> = None;
    while let Some(Ok(line)) = lines.next() {
        text.push_str(&line);
        text.push('\n');
        if let Some((_, rest)) = line.split_once(&format!("for the chaincode server at {address}")) {
            let file = rest.split_once("variables of ").unwrap().1.split_once(',').unwrap().0;
            let id = rest.split_once("CHAINCODE_ID=").unwrap().1;
            let variables = fs::read_to_string(file).unwrap();
            let pairs = variables.lines().filter(|line| !line.starts_with('#'));
            let pairs: BTreeMap<&str, &str> = pairs.map(|line| line.split_once('=').unwrap()).collect();
            assert_eq!(pairs["CHAINCODE_ID"], id);
            server = Some(Command::new(sample()).envs(pairs).stderr(Stdio::null()).spawn().unwrap());
        }
    }
    let code = harness.wait_with_output().unwrap();
    text += &String::from_utf8_lossy(&code.stderr);
    if let Some(mut server) = server {
        assert!(server.try_wait().unwrap().is_none(), "the server was ended, or ended:\n{text}");
        server.kill().unwrap();
        server.wait().unwrap();
    }
    (code.status.code(), text)
}

/// A port that is free, at least now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// On this runtime.
fn a_server_at_an_address_is_left_alone(runtime: &str) {
    let address = format!("localhost:{}", free_port());
    let mut e2e = E2e::new(&["--runtime", runtime, "--keep", "never"]);
    let cases = e2e.file("cases.toml", CASES);
    e2e.arguments.extend(["--cases".to_owned(), cases]);
    e2e.chaincode = Some(address.clone());
    let (code, text) = with_server_at(&e2e, &address);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("1 passed, 0 failed, 1 not run"), "{text}");
    assert!(text.contains("the harness does not manage the chaincode server"), "{text}");
    e2e.assert_nothing_left();
}

#[test]
fn a_server_at_an_address_is_waited_for_and_left_alone() {
    a_server_at_an_address_is_left_alone("embedded");
}

#[test]
fn the_files_for_a_server_at_an_address_can_be_put_where_it_looks_for_them() {
    let address = format!("127.0.0.1:{}", free_port());
    let file = format!("[server]\naddress = '{address}'\ndirectory = 'for-debugger'\n{CASES}");
    let e2e = with_file(&file, &["--keep", "never"]);
    for _ in 0..2 {
        let (code, text) = with_server_at(&e2e, &address);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("for-debugger/chaincode.env"), "{text}");
    }
    let variables = e2e.path("for-debugger/chaincode.env");
    assert!(variables.is_file() && e2e.path("for-debugger/server.key").is_file());
    fs::remove_file(variables).unwrap();
    let text = e2e.printed(2);
    assert!(text.contains("for-debugger") && text.contains("a file of your own already exists"), "{text}");
}

#[test]
fn a_server_address_without_a_server_is_reported() {
    let mut e2e = E2e::new(&["--runtime", "embedded", "--timeout", "1"]);
    e2e.chaincode = Some(format!("localhost:{}", free_port()));
    let text = e2e.printed(2);
    assert!(text.contains("which you start, listens at localhost:"), "{text}");
}

#[test]
fn a_mistake_in_a_chaincode_file_is_reported_with_its_place() {
    let sample = sample();
    let server = |text: &str| format!("# mine\n[chaincode]\nname = 'basic'\n\n[server]\n{text}\n\n{CASES}");
    for (text, line, expected) in [
        (format!("# no server\n{CASES}"), 1, "no section [server]"),
        (server(""), 5, "[server] needs exactly one of `program`, `command`, `image` and `address`"),
        (server(&format!("image = 'a'\nprogram = '{sample}'")), 5, "[server] needs exactly one of"),
        (server("program = 'nowhere'"), 6, "nowhere: No such file"),
        (server("program = 'my.toml'"), 6, "not executable; run chmod +x"),
        (server("command = []"), 6, "the command is empty"),
        (server("command = ['no-such-program']"), 6, "program no-such-program not found on PATH"),
        (server("command = ['./no-such-program']"), 6, "no-such-program: No such file"),
        (server("command = ['${CHAINCODE_ID}']"), 6, "must be a program without ${…}"),
        (server("command = ['sh',\n '${HOME}']"), 6, "unknown variable ${HOME}"),
        (server("command = ['sh']\nenvironment = { A = '$' }"), 7, "write `$$` for a dollar sign"),
        (server("command = ['sh']\nenvironment = { 'A=' = '' }"), 7, "invalid variable name"),
        (server("command = ['sh']\ndirectory = 'nowhere'"), 7, "nowhere not found"),
        (server("command = ['sh']\narguments = []"), 7, "`arguments` needs a `program` or an `image`"),
        (server(&format!("program = '{sample}'\ndirectory = '.'")), 7, "`directory` needs a `command` or an `address`"),
        (server(&format!("program = '{sample}'\ntls = 'on'")), 7, "unknown variant `on`"),
        (server("address = 'localhost'"), 6, "no port"),
        (server("address = 'localhost:9999'\nenvironment = { A = '' }"), 5, "you start it yourself"),
        (server("image = '-x'"), 6, "invalid image `-x`: give NAME"),
        (server("port = 9999"), 6, "unknown field `port`"),
        (
            server("image = 'my/chaincode:1.0'"),
            6,
            "which only --runtime docker and kubernetes run; leave --runtime embedded out",
        ),
        (server("command = ['sh']").replacen("name =", "label = 'a b' #", 1), 3, "invalid package label"),
        (server("command = ['sh']").replacen("name =", "indexes = 'none' #", 1), 3, "indexes "),
        (
            server("address = 'localhost:9999'").replacen("name =", "also_named = ['other'] #", 1),
            6,
            "needs its own server",
        ),
    ] {
        let printed = with_file(&text, &[]).printed(2);
        let place = format!("line {line}, column ");
        assert!(
            printed.contains("my.toml") && printed.contains(expected) && printed.contains(&place),
            "{text}\n---\n{printed}"
        );
    }
    let printed = with_file(&format!("[server]\nprogram = '{sample}'\n"), &[]).printed(2);
    assert!(printed.contains("my.toml has no cases; add one with [[case]]"), "{printed}");
}

#[test]
fn what_the_network_does_not_have_is_reported_before_it_starts() {
    let file = format!(
        "[chaincode]\nname = 'basic'\nendorsement_policy = \"OR('org0-example-com.member', 'Org1MSP.member')\"\n\
         [server]\nprogram = '{}'\n[[case]]\nname = 'a'\nevaluate = ['F']\nchannel = 'other'\n\
         [[case]]\nname = 'b'\nsubmit = ['F']\nendorsing_organizations = ['Org2']\n",
        sample()
    );
    let printed = with_file(&file, &[]).printed(2);
    for expected in [
        "at line 3, column 22: the endorsement policy names the MSP org0-example-com, but the channel mychannel has \
         only Org1MSP",
        "case \"a\" at line 9, column 11: unknown channel other; the network has mychannel",
        "case \"b\" at line 13, column 28: unknown organization Org2; the channel mychannel has Org1",
    ] {
        assert!(printed.contains(expected), "{expected} is not in:\n{printed}");
    }
    assert!(!printed.contains("start the nodes"), "{printed}");
}

/// A directory of `docs/examples`.
fn example(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples").join(language)
}

#[test]
fn the_examples_can_be_read() {
    for language in ["go", "java", "node", "rust"] {
        let path = example(language).join("chaincode.toml");
        let cases = CaseFile::read(&path).unwrap_or_else(|error| panic!("{language}: {error}")).cases;
        assert!(cases.len() > 3 && cases.iter().any(|case| case.error.is_some()), "{language}: {}", cases.len());
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("\n[server]\n"), "{language} does not describe its server");
    }
}

#[test]
fn the_example_for_rust_passes() {
    // Its program is where cargo puts it, which need not be where the tests have theirs.
    let cases = example("rust").join("chaincode.toml").display().to_string();
    let e2e = E2e::new(&["--runtime", "embedded", "--keep", "never", "--cases", &cases]);
    let text = e2e.printed(0);
    assert!(text.contains("4 passed, 0 failed, 0 not run"), "{text}");
}

#[test]
#[ignore = "needs Node.js with fabric-contract-api and fabric-shim in NODE_PROJECT"]
fn needs_node_the_example_for_node_passes() {
    let modules =
        PathBuf::from(std::env::var_os("NODE_PROJECT").expect("NODE_PROJECT is not set")).join("node_modules");
    for tls in ["off", "tls", "mtls"] {
        let mut e2e = E2e::new(&["--runtime", "embedded", "--keep", "never", "--tls", tls]);
        for name in ["chaincode.toml", "index.js", "package.json"] {
            e2e.file(name, &fs::read_to_string(example("node").join(name)).unwrap());
        }
        std::os::unix::fs::symlink(&modules, e2e.path("node_modules")).unwrap();
        e2e.chaincode = Some(e2e.path("chaincode.toml").display().to_string());
        let text = e2e.printed(0);
        assert!(text.contains("6 passed, 0 failed, 0 not run"), "{text}");
    }
}

/// An image of the sample and nothing else, whose user is nobody in particular. It goes with this.
struct Image(String);

impl Image {
    fn new() -> Self {
        let name = format!("fabric-harness-test/chaincode:{}", std::process::id());
        let script = "cp \"$0\" \"$1/server\" && tar -C \"$1\" -c server | \
                      docker import --change 'ENTRYPOINT [\"/server\"]' --change 'USER 1234' - \"$2\"";
        let scratch = tempfile::tempdir().unwrap();
        let mut import = Command::new("sh");
        let import = import.args(["-c", script, &sample()]).arg(scratch.path()).arg(&name).output().unwrap();
        assert!(import.status.success(), "{import:?}");
        Self(name)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "--force", &self.0]).output();
    }
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images, and the docker command"]
fn needs_docker_an_image_is_started_restarted_and_removed() {
    let image = Image::new();
    for tls in ["off", "mtls"] {
        let file = format!("[server]\nimage = '{}'\nenvironment = {{ RUST_LOG = 'debug' }}\n{CASES}", image.0);
        let text = on("docker", &file, &["--keep", "never", "--tls", tls]).printed(0);
        assert!(text.contains("2 passed, 0 failed, 0 not run"), "{text}");
    }
    // Several names are several containers.
    let file = format!("[chaincode]\nname = 'one'\nalso_named = ['other']\n[server]\nimage = '{}'\n{CASES}", image.0);
    let text = on("docker", &file, &["--keep", "never"]).printed(0);
    assert!(text.contains("2 passed, 0 failed, 0 not run"), "{text}");
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images"]
fn needs_docker_an_image_that_is_not_there_is_reported_before_anything_starts() {
    let file = format!("[server]\nimage = 'localhost:1/fabric-harness-test/absent:1'\n{CASES}");
    let text = on("docker", &file, &[]).printed(2);
    assert!(text.contains("the image localhost:1/fabric-harness-test/absent:1 of the chaincode server"), "{text}");
    assert!(text.contains("build, load or pull it") && !text.contains("render the network"), "{text}");
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images"]
fn needs_docker_a_command_runs_on_this_machine() {
    let file = format!("[server]\n{}{CASES}", command());
    for tls in ["off", "mtls"] {
        let e2e = on("docker", &file, &["--keep", "never", "--tls", tls]);
        let text = e2e.printed(0);
        assert!(text.contains("2 passed, 0 failed, 0 not run"), "{text}");
        soon("the server has ended", || servers_of(&e2e).is_empty());
    }
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images"]
fn needs_docker_a_server_at_an_address_is_reached_from_the_containers() {
    a_server_at_an_address_is_left_alone("docker");
}
