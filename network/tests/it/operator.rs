//! Bundles for operators: each format is parsed and compared with the node specifications; existing identities are
//! used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fabric_network::bundle::{File, PRIVATE_MODE};
use fabric_network::chaincode::ChaincodeTls;
use fabric_network::identity::{ExistingIdentities, Validity};
use fabric_network::node::NodeKind;
use fabric_network::release::Release;
use fabric_network::render::RenderOptions;
use fabric_network::render::operator::compose::Compose;
use fabric_network::render::operator::description::Description;
use fabric_network::render::operator::{
    Format, Images, OperatorOptions, PackageFile, Rendered, processes, render_for_operator,
};
use fabric_network::topology::{Node, Organization, Topology};

use crate::network::validity;

pub(crate) const FORMATS: [Format; 3] = [Format::Compose, Format::Kubernetes, Format::Files];

pub(crate) fn options(format: Format) -> OperatorOptions {
    OperatorOptions {
        format,
        render: RenderOptions::new(Release::V3_1, validity()),
        fabric: "3.1.5".to_owned(),
        tls: ChaincodeTls::Mutual,
        images: Images {
            peer: "hyperledger/fabric-peer:3.1.5".to_owned(),
            orderer: "hyperledger/fabric-orderer:3.1.5".to_owned(),
            builder: "ccaas-builder:0.1.0".to_owned(),
            chaincode: "chaincode-sample:0.1.0".to_owned(),
            harness: "fabric-harness:0.1.0".to_owned(),
        },
        package: PackageFile {
            name: "basic".to_owned(),
            version: "1.0".to_owned(),
            label: "basic_1.0".to_owned(),
            id: "basic_1.0:0abc".to_owned(),
            bytes: b"package".to_vec(),
        },
        owner: (1000, 1000),
        namespace: "fabric".to_owned(),
        directory: "/srv/network".into(),
    }
}

pub(crate) fn rendered(topology: &Topology, format: Format) -> Rendered {
    render_for_operator(topology, &options(format)).unwrap()
}

pub(crate) fn text<'a>(rendered: &'a Rendered, path: &str) -> &'a str {
    let file = rendered.files.get(Path::new(path)).unwrap_or_else(|| panic!("no file {path}"));
    std::str::from_utf8(&file.bytes).unwrap()
}

fn existing(rendered: &Rendered, keep: impl Fn(&Path) -> bool) -> ExistingIdentities {
    ExistingIdentities::new(identity_files(rendered, keep))
}

fn identity_files(rendered: &Rendered, keep: impl Fn(&Path) -> bool) -> BTreeMap<PathBuf, Vec<u8>> {
    let identity = |path: &Path| path.starts_with("organizations") && path.extension().is_none_or(|e| e != "yaml");
    let files = rendered.files.iter().filter(|(path, _)| identity(path) && keep(path));
    files.map(|(path, file)| (path.clone(), file.bytes.clone())).collect()
}

fn again(topology: &Topology, format: Format, identities: ExistingIdentities) -> Result<Rendered, String> {
    let mut options = options(format);
    options.render.identities = Some(identities);
    render_for_operator(topology, &options).map_err(|error| error.to_string())
}

/// Ten organizations with four peers each.
pub(crate) fn large() -> Topology {
    let mut topology = Topology::duo();
    let organization = |number: u32| Organization {
        name: format!("Org{number}"),
        msp_id: format!("Org{number}MSP"),
        domain: format!("org{number}.example.com"),
        peers: (0..4).map(|peer| Node { name: format!("peer{peer}") }).collect(),
        users: 1,
    };
    topology.organizations = (1..=10).map(organization).collect();
    topology
}

#[test]
fn compose_matches_the_node_specifications() {
    let rendered = rendered(&Topology::duo(), Format::Compose);
    let compose: Compose = serde_saphyr::from_str(text(&rendered, "compose.yaml")).unwrap();
    for node in &rendered.bundle.nodes {
        let service = &compose.services[&node.name];
        assert_eq!(service.image, format!("{}:3.1.5", node.image));
        assert_eq!(service.command[0], node.program);
        assert_eq!(service.command[1..], node.arguments);
        assert_eq!(service.environment, node.environment);
        assert_eq!(service.working_dir.as_deref(), node.placement.config_dir.to_str());
        let mount = format!("./{}:{}:ro", node.directory.display(), node.placement.config_dir.display());
        assert!(service.volumes.contains(&mount), "{mount} is not in {:?}", service.volumes);
        let data = format!("{}:/var/hyperledger", node.name);
        assert!(service.volumes.contains(&data) && node.placement.data_dir.starts_with("/var/hyperledger"));
        let check = service.healthcheck.as_ref().unwrap().test.join(" ");
        let command = format!("ready 127.0.0.1:{} --server-name {}", node.readiness.port, node.readiness.server_name);
        assert!(check.contains(&command), "{check}");
        let published = format!("127.0.0.1:{port}:{port}", port = node.placement.ports.grpc);
        assert!(service.ports.contains(&published));
        assert_eq!(node.placement.host, node.name, "the host is the service");
        assert!(compose.volumes.contains_key(&node.name));
    }
    for server in &rendered.bundle.servers {
        let service = &compose.services[&server.placement.host];
        assert_eq!(service.environment, server.environment);
        // Only its peer is in its network.
        let own = &service.networks;
        assert_eq!(own.len(), 1);
        assert!(compose.networks[&own[0]].internal);
        let members = compose.services.iter().filter(|(_, other)| other.networks.contains(&own[0]));
        let members: BTreeSet<&String> = members.map(|(name, _)| name).collect();
        assert_eq!(members, BTreeSet::from([&server.peer, &server.placement.host]));
    }
}

#[test]
fn services_in_compose_have_only_the_privileges_that_they_need() {
    let rendered = rendered(&Topology::duo(), Format::Compose);
    let all = text(&rendered, "compose.yaml");
    assert!(!all.contains("docker.sock") && !all.contains("privileged: true"));
    let compose: Compose = serde_saphyr::from_str(all).unwrap();
    for (name, service) in &compose.services {
        assert!(service.read_only, "{name}");
        assert_eq!(service.cap_drop, ["ALL"], "{name}");
        assert_eq!(service.security_opt, ["no-new-privileges:true"], "{name}");
        let is_node = rendered.bundle.nodes.iter().any(|node| node.name == *name);
        assert_eq!(service.cap_add.is_empty(), !is_node, "{name}");
        assert!(service.image.rsplit_once(':').is_some_and(|(_, tag)| tag != "latest"), "{name}");
        assert!(service.ports.iter().all(|port| port.starts_with("127.0.0.1:")), "{name}");
    }
}

#[test]
fn processes_match_the_node_specifications() {
    let rendered = rendered(&Topology::duo(), Format::Files);
    let environment = |name: &str| -> BTreeMap<String, String> {
        let text = text(&rendered, processes::environment_file(name).to_str().unwrap());
        let pair = |line: &str| {
            let (name, value) = line.split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('\'').to_owned())
        };
        text.lines().map(pair).collect()
    };
    let unit = |name: &str| text(&rendered, processes::unit_file(name).to_str().unwrap());
    for node in &rendered.bundle.nodes {
        assert_eq!(environment(&node.name), node.environment);
        let unit = unit(&node.name);
        let command: Vec<&str> =
            std::iter::once(node.program.as_str()).chain(node.arguments.iter().map(String::as_str)).collect();
        assert!(unit.contains(&format!("\nExecStart=/usr/local/bin/{}\n", command.join(" "))), "{unit}");
        let directory = node.placement.config_dir.display();
        assert!(unit.contains(&format!("\nWorkingDirectory={directory}\n")), "{unit}");
        assert_eq!(node.placement.config_dir, Path::new("/srv/network").join(&node.directory));
    }
    for server in &rendered.bundle.servers {
        assert_eq!(environment(&processes::server_name(&server.peer)), server.environment);
    }
}

#[test]
fn the_description_has_the_addresses_of_the_nodes() {
    for format in FORMATS {
        let rendered = rendered(&Topology::duo(), format);
        let description = Description::from_yaml(text(&rendered, "deployment.yaml")).unwrap();
        let described: Vec<_> = description
            .nodes
            .iter()
            .map(|node| (&node.name, node.orderer, &node.host, node.port, node.admin_port))
            .collect();
        let expected: Vec<_> = rendered
            .bundle
            .nodes
            .iter()
            .map(|node| {
                let at = &node.placement;
                (&node.name, node.kind == NodeKind::Orderer, &at.host, at.ports.grpc, at.ports.admin)
            })
            .collect();
        assert_eq!(described, expected);
        assert_eq!(Topology::from_yaml(text(&rendered, "topology.yaml")).unwrap(), Topology::duo());
    }
}

#[test]
fn a_peer_and_its_chaincode_server_match_only_each_other() {
    for format in FORMATS {
        let rendered = rendered(&Topology::duo(), format);
        let servers = &rendered.bundle.servers;
        assert_eq!(servers.len(), 4);
        let ids: BTreeSet<_> = servers.iter().map(|server| &server.environment["CHAINCODE_ID"]).collect();
        assert_eq!(ids.len(), 1, "one package for all");
        let mut addresses = BTreeSet::new();
        for server in servers {
            let peer = rendered.bundle.nodes.iter().find(|node| node.name == server.peer).unwrap();
            assert_eq!(peer.environment["CORE_CHAINCODE_ADDRESS"], server.placement.address());
            assert!(addresses.insert(server.placement.address()), "two peers dial {}", server.placement.address());
            let file = |variable: &str| {
                let path = PathBuf::from(&peer.environment[variable]);
                let path = peer.directory.join(path.strip_prefix(&peer.placement.config_dir).unwrap());
                rendered.files[&path].bytes.clone()
            };
            let own = |name: &str| rendered.files[&server.directory.join(name)].bytes.clone();
            let authority = |bytes: Vec<u8>| crate::certificates::authority_of(&String::from_utf8(bytes).unwrap());
            let server_certificate = own("server.crt");
            let client_certificate = file("CORE_CHAINCODE_TLS_CLIENT_CERT");
            assert_eq!(
                authority(server_certificate),
                crate::certificates::subject_of(&file("CORE_CHAINCODE_ROOT_CERT"))
            );
            assert_eq!(authority(client_certificate), crate::certificates::subject_of(&own("client-ca.crt")));
        }
    }
}

#[test]
fn without_tls_a_server_has_no_files() {
    let mut options = options(Format::Compose);
    options.tls = ChaincodeTls::Off;
    let rendered = render_for_operator(&Topology::solo(), &options).unwrap();
    let server = &rendered.bundle.servers[0];
    assert!(!rendered.files.keys().any(|path| path.starts_with(&server.directory)));
    assert_eq!(server.environment["CHAINCODE_TLS_DISABLED"], "true");
    let peer = rendered.bundle.nodes.iter().find(|node| node.name == server.peer).unwrap();
    assert_eq!(peer.environment["CORE_CHAINCODE_TLS_REQUIRED"], "false");
    assert!(!peer.environment.contains_key("CORE_CHAINCODE_ROOT_CERT"));
}

#[test]
fn the_same_identities_give_the_same_bytes() {
    for format in FORMATS {
        let topology = Topology::duo();
        let first = rendered(&topology, format);
        let mut options = options(format);
        options.render.identities = Some(existing(&first, |_| true));
        // A later validity.
        let start = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        options.render.validity = Validity { not_before: start, not_after: start + Duration::from_hours(24) };
        let second = render_for_operator(&topology, &options).unwrap();
        let differing: Vec<_> = first
            .files
            .iter()
            .filter(|(path, file)| second.files.get(*path) != Some(file))
            .map(|(path, _)| path)
            .collect();
        assert!(differing.is_empty(), "{differing:?}");
        assert_eq!(first.files.len(), second.files.len());
    }
}

#[test]
fn missing_certificates_are_issued_by_the_existing_authorities() {
    let topology = Topology::solo();
    let first = rendered(&topology, Format::Compose);
    let authorities = existing(&first, |path| path.iter().any(|part| part == "ca" || part == "tlsca"));
    let second = again(&topology, Format::Compose, authorities).unwrap();
    let certificate = "organizations/peerOrganizations/org1.example.com/tlsca/tlsca.org1.example.com-cert.pem";
    assert_eq!(text(&first, certificate), text(&second, certificate));
    let node = "organizations/peerOrganizations/org1.example.com/peers/peer0.org1.example.com/tls/server.crt";
    assert_ne!(text(&first, node), text(&second, node));
    let issuer = crate::certificates::authority_of(text(&second, node));
    assert_eq!(issuer, crate::certificates::subject_of(text(&first, certificate).as_bytes()));
    // A new peer in an existing organization.
    let mut grown = topology.clone();
    grown.organizations[0].peers.push(Node { name: "peer1".to_owned() });
    let third = again(&grown, Format::Compose, existing(&first, |_| true)).unwrap();
    assert_eq!(text(&first, node), text(&third, node));
}

/// `cryptogen` and fabric-ca name a key after its digest, and an authority's certificate differently.
#[test]
fn other_file_names_are_accepted_when_there_is_one_candidate() {
    let topology = Topology::solo();
    let first = rendered(&topology, Format::Compose);
    let renamed = |path: &Path| {
        let text = path.to_str().unwrap().replace("priv_sk", "0123abcd_sk");
        PathBuf::from(text.replace("/ca/ca.org1.example.com-cert.pem", "/ca/root.pem"))
    };
    let files = identity_files(&first, |_| true);
    let files = files.into_iter().map(|(path, bytes)| (renamed(&path), bytes)).collect();
    let second = again(&topology, Format::Compose, ExistingIdentities::new(files)).unwrap();
    assert_eq!(first.files, second.files);
}

#[test]
fn identities_that_do_not_match_are_rejected_with_the_reason() {
    let first = rendered(&Topology::duo(), Format::Compose);
    let all = |_: &Path| true;
    // Another network.
    let error = again(&Topology::solo(), Format::Compose, existing(&first, all)).unwrap_err();
    for problem in [
        "organizations/peerOrganizations/org2.example.com: not an organization of the topology",
        "orderers/orderer1.example.com: not a node of the topology",
        "peers/peer1.org1.example.com: not a node of the topology",
    ] {
        assert!(error.contains(problem), "{problem} is not in:\n{error}");
    }
    let error = again(&large(), Format::Compose, existing(&first, all)).unwrap_err();
    assert!(error.contains("org3.example.com/ca/ca.org3.example.com-cert.pem: missing"), "{error}");
    // Another format, in which the nodes have other names.
    let error = again(&Topology::duo(), Format::Kubernetes, existing(&first, all)).unwrap_err();
    assert!(error.contains("tls/server.crt is not valid for peer0-org1-example-com, "), "{error}");
    let solo = rendered(&Topology::solo(), Format::Compose);
    let org1 = "organizations/peerOrganizations/org1.example.com";
    let refused = |changed: &str, bytes: Option<&[u8]>| {
        let mut files = identity_files(&solo, all);
        let path = Path::new(org1).join(changed);
        assert!(files.remove(&path).is_some(), "{changed}");
        files.extend(bytes.map(|bytes| (path, bytes.to_vec())));
        again(&Topology::solo(), Format::Compose, ExistingIdentities::new(files)).unwrap_err()
    };
    let peer = "peers/peer0.org1.example.com";
    let other_key = &first.files[&Path::new(org1).join("ca/priv_sk")].bytes;
    let other_certificate = &first.files[&Path::new(org1).join("tlsca/tlsca.org1.example.com-cert.pem")].bytes;
    for (changed, bytes, expected) in [
        ("ca/priv_sk", Some(&other_key[..]), "does not match its key"),
        ("tlsca/priv_sk", Some(b"-----BEGIN EC PRIVATE KEY-----"), "openssl pkcs8 -topk8"),
        ("ca/ca.org1.example.com-cert.pem", Some(b"\xff\xfe"), "is not PEM"),
        ("tlsca/tlsca.org1.example.com-cert.pem", Some(other_certificate), "does not match its key"),
        ("ca/ca.org1.example.com-cert.pem", None, "is missing, but its key exists"),
        (&format!("{peer}/tls/server.key"), None, "tls/server.crt has no key; add it"),
        (&format!("{peer}/tls/server.crt"), None, "is missing, but its key exists"),
    ] {
        let error = refused(changed, bytes);
        assert!(error.contains(expected), "{changed}: {error}");
    }
}

#[test]
fn an_authority_without_a_key_suffices_when_nothing_is_issued() {
    let topology = Topology::solo();
    let first = rendered(&topology, Format::Files);
    let no_authority_key = |path: &Path| !(path.ends_with("ca/priv_sk") || path.ends_with("tlsca/priv_sk"));
    let second = again(&topology, Format::Files, existing(&first, no_authority_key)).unwrap();
    let second: BTreeMap<_, _> = second.files.into_iter().collect();
    let missing: Vec<_> = first.files.keys().filter(|path| !second.contains_key(*path)).collect();
    assert!(missing.iter().all(|path| path.ends_with("ca/priv_sk") || path.ends_with("tlsca/priv_sk")), "{missing:?}");
    let mut grown = topology.clone();
    grown.organizations[0].peers.push(Node { name: "peer1".to_owned() });
    let error = again(&grown, Format::Files, existing(&first, no_authority_key)).unwrap_err();
    let expected = "cannot issue a certificate for peer1.org1.example.com: missing key of the authority organizations/";
    assert!(error.contains(expected) && error.contains("as priv_sk"), "{error}");
}

/// The replacement of an authority for chaincode, see docs/operators.md.
#[test]
fn existing_roots_of_a_peer_and_its_chaincode_server_are_kept() {
    let topology = Topology::solo();
    let [first, second] = [(); 2].map(|()| rendered(&topology, Format::Compose));
    let org1 = Path::new("organizations/peerOrganizations/org1.example.com");
    let [of_server, of_client, server, key, authority] = [
        "peers/peer0.org1.example.com/chaincode/ca.crt",
        "chaincode/peer0.org1.example.com/client-ca.crt",
        "chaincode/peer0.org1.example.com/server.crt",
        "chaincode/peer0.org1.example.com/server.key",
        "tlsca/tlsca.org1.example.com-cert.pem",
    ]
    .map(|path| org1.join(path));
    let of = |rendered: &Rendered, path: &PathBuf| rendered.files[path].bytes.clone();
    let rendered_with = |changes: &[(&PathBuf, Option<Vec<u8>>)]| {
        let mut files = identity_files(&first, |_| true);
        for (path, bytes) in changes {
            assert!(files.remove(*path).is_some(), "{}", path.display());
            files.extend(bytes.clone().map(|bytes| ((*path).clone(), bytes)));
        }
        again(&topology, Format::Compose, ExistingIdentities::new(files))
    };
    let (old, new) = (of(&first, &authority), of(&second, &authority));
    let both = [old.clone(), new.clone()].concat();
    let wide = [(&of_server, Some(both.clone())), (&of_client, Some(both.clone()))];
    let kept = rendered_with(&wide).unwrap();
    assert!(of(&kept, &of_server) == both && of(&kept, &of_client) == both);
    assert_eq!(of(&kept, &server), of(&first, &server));

    // Next, a pair of the new authority; finally, only the new authority.
    let pair = [(&server, Some(of(&second, &server))), (&key, Some(of(&second, &key)))];
    assert_eq!(of(&rendered_with(&[&wide[..], &pair].concat()).unwrap(), &server), of(&second, &server));
    let narrow = [(&of_server, Some(new.clone()))];
    assert_eq!(of(&rendered_with(&[&narrow[..], &pair].concat()).unwrap(), &of_server), new);
    let refused = |changes: &[(&PathBuf, Option<Vec<u8>>)]| rendered_with(changes).unwrap_err();
    assert!(refused(&pair).contains("server.crt was not issued by the existing authority"), "{}", refused(&pair));
    let error = refused(&narrow);
    assert!(error.contains("server.crt was not issued by the existing authority"), "{error}");
    let error = refused(&[&narrow[..], &[(&server, None), (&key, None)]].concat());
    assert!(error.contains("chaincode/ca.crt does not contain the organization's TLS CA"), "{error}");
    let error = refused(&[(&of_client, Some(b"nothing".to_vec()))]);
    assert!(error.contains("client-ca.crt has no certificate in PEM"), "{error}");
    let error = refused(&[(&of_client, Some(of(&first, &server)))]);
    assert!(error.contains("client-ca.crt is not a CA certificate"), "{error}");
}

#[test]
fn an_expired_certificate_is_rejected() {
    let topology = Topology::solo();
    let first = rendered(&topology, Format::Files);
    let mut options = options(Format::Files);
    options.render.identities = Some(existing(&first, |_| true));
    let start = validity().not_after + Duration::from_hours(1);
    options.render.validity = Validity { not_before: start, not_after: start + Duration::from_hours(24) };
    let error = render_for_operator(&topology, &options).unwrap_err().to_string();
    assert!(error.contains("expired at"), "{error}");
}

#[test]
fn ten_organizations_with_four_peers_render_in_every_format() {
    let topology = large();
    for format in FORMATS {
        let rendered = rendered(&topology, format);
        assert_eq!(rendered.bundle.nodes.len(), 43);
        assert_eq!(rendered.bundle.servers.len(), 40);
        let mut seen = BTreeSet::new();
        for node in &rendered.bundle.nodes {
            let at = &node.placement;
            assert!(seen.insert((at.host.clone(), at.ports.grpc)), "{} shares its address", node.name);
        }
    }
}

#[test]
fn only_private_keys_are_private_in_every_format() {
    for format in FORMATS {
        let rendered = rendered(&Topology::solo(), format);
        for (path, File { bytes, mode }) in &rendered.files {
            let is_secret = String::from_utf8_lossy(bytes).contains("PRIVATE KEY") || path.ends_with("secrets.yaml");
            assert_eq!(*mode == PRIVATE_MODE, is_secret, "{}", path.display());
        }
    }
}

#[test]
fn the_files_of_each_format() {
    for (name, format) in [("compose", Format::Compose), ("kubernetes", Format::Kubernetes), ("files", Format::Files)] {
        let rendered = rendered(&Topology::solo(), format);
        let tree = |path: &&PathBuf| !path.starts_with("organizations");
        let paths: Vec<String> = rendered.files.keys().filter(tree).map(|path| path.display().to_string()).collect();
        insta::assert_snapshot!(format!("operator_files_{name}"), paths.join("\n"));
        insta::assert_snapshot!(format!("operator_readme_{name}"), text(&rendered, "README.md"));
    }
}

#[test]
fn the_compose_file() {
    insta::assert_snapshot!(text(&rendered(&Topology::solo(), Format::Compose), "compose.yaml"));
}

#[test]
fn a_unit_of_systemd() {
    insta::assert_snapshot!(text(
        &rendered(&Topology::solo(), Format::Files),
        "systemd/peer0.org1.example.com.service"
    ));
}
