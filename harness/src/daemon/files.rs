//! The files with which tools and SDKs use a persistent network: environment files, connection profiles, a
//! wallet, and the chaincode server's files. The bundle's tree next to them contains the identities.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use fabric_network::bundle::{File, PRIVATE_MODE, PUBLIC_MODE};
use fabric_network::identity::{Credential, OrganizationIdentities};
use fabric_network::logging::LoggingSpec;
use serde_json::{Value, json};

use super::description::{Description, Node};
use crate::network::Network;
use crate::plan::NetworkPlan;
use crate::runtime::{ChaincodeSpec, VARIABLES_FILE};
use crate::server::ServerSource;

/// The directory of the chaincode servers' files.
const CHAINCODE: &str = "chaincode";

/// The variables of the first chaincode server.
const ENVIRONMENT: &str = "chaincode.env";

/// Puts the files of a server that the user starts, which are written before the network starts, into the state
/// directory, unless the user has chosen another one.
pub(super) fn give_directory(server: &mut ServerSource, chaincode: &str, state: &Path) {
    if let ServerSource::Address { directory, .. } = server {
        directory.get_or_insert_with(|| state.join(CHAINCODE).join(chaincode));
    }
}

/// For a server that the user starts, the file that a shell sources: it reads the variables that are written when
/// the network starts.
pub(super) fn user_started(plan: &NetworkPlan, state: &Path) -> BTreeMap<PathBuf, File> {
    let ServerSource::Address { directory, .. } = &plan.server.source else { return BTreeMap::new() };
    let variables = directory.as_deref().unwrap_or(state).join(VARIABLES_FILE);
    let script = format!(
        "# Source this file to start the chaincode server {}.\nset -a\n. {}\nset +a\n",
        plan.chaincode.name(),
        quoted(&variables.display().to_string())
    );
    BTreeMap::from([(ENVIRONMENT.into(), text(&script))])
}

/// All files in the state directory except the bundle and those of a server that the user starts.
pub(super) fn files(network: &Network, description: &Description) -> BTreeMap<PathBuf, File> {
    let mut files = BTreeMap::new();
    let bundle = &network.nodes().bundle;
    for (organization, number) in bundle.identities.peer_organizations.iter().zip(0..) {
        let view = View { organization, description, network };
        let (peer, gateway) = (view.peer_environment(), view.gateway_environment());
        if number == 0 {
            files.insert("peer.env".into(), text(&peer));
            files.insert("gateway.env".into(), text(&gateway));
        }
        let name = &organization.name;
        files.insert(format!("peer-{name}.env").into(), text(&peer));
        files.insert(format!("gateway-{name}.env").into(), text(&gateway));
        files.insert(format!("connection-{name}.json").into(), text(&pretty(&view.connection_profile())));
        for (user, credential) in view.users() {
            let file = File { bytes: pretty(&identity(credential)).into_bytes(), mode: PRIVATE_MODE };
            files.insert(Path::new("wallet").join(format!("{user}.id")), file);
        }
    }
    for (server, number) in network.nodes().servers().filter(|server| server.source.is_ours()).zip(0..) {
        let (environment, own) = server_files(server, &description.state);
        let name = if number == 0 { ENVIRONMENT.to_owned() } else { format!("chaincode-{}.env", server.name) };
        files.insert(name.into(), text(&environment));
        files.extend(own);
    }
    files
}

/// Writes the files. Private ones are never readable by other users.
pub(super) fn write(files: &BTreeMap<PathBuf, File>, directory: &Path) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    for (path, file) in files {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(file.mode).open(path)?.write_all(&file.bytes)?;
    }
    Ok(())
}

/// The network from the view of one organization.
struct View<'a> {
    organization: &'a OrganizationIdentities,
    description: &'a Description,
    network: &'a Network,
}

impl View<'_> {
    fn directory(&self) -> PathBuf {
        self.description.state.join("organizations/peerOrganizations").join(&self.organization.domain)
    }

    fn peers(&self) -> impl Iterator<Item = &Node> {
        peers_of(self.description, &self.organization.msp_id)
    }

    fn users(&self) -> impl Iterator<Item = (String, &Credential)> {
        let domain = &self.organization.domain;
        let users = self.organization.users.iter().zip(1..).map(move |(user, number)| (format!("User{number}"), user));
        users
            .chain([("Admin".to_owned(), &self.organization.admin)])
            .map(move |(name, credential)| (format!("{name}@{domain}"), credential))
    }

    /// The first channel of which the organization is a member, and the first chaincode.
    fn names(&self) -> [(&'static str, String); 2] {
        let is_member =
            |channel: &&super::description::Channel| channel.organizations.contains(&self.organization.name);
        let channel = self.description.channels.iter().find(is_member).or(self.description.channels.first());
        let chaincode = self.description.chaincodes.first();
        [
            ("CHANNEL_NAME", channel.map(|channel| channel.name.clone()).unwrap_or_default()),
            ("CHAINCODE_NAME", chaincode.map(|chaincode| chaincode.name.clone()).unwrap_or_default()),
        ]
    }

    /// The environment of Fabric's `peer` and `osnadmin`, as the organization's administrator on its first
    /// peer.
    fn peer_environment(&self) -> String {
        let own = self.directory();
        let mut values = Vec::new();
        if let Some(peer) = self.peers().next() {
            let directory = own.join("peers").join(&peer.name);
            values.push(("FABRIC_CFG_PATH", directory.display().to_string()));
            values.push(("CORE_PEER_ADDRESS", peer.address.clone()));
            values.push(("CORE_PEER_TLS_ROOTCERT_FILE", directory.join("tls/ca.crt").display().to_string()));
        }
        let admin = own.join("users").join(format!("Admin@{}", self.organization.domain));
        values.push(("CORE_PEER_LOCALMSPID", self.organization.msp_id.clone()));
        values.push(("CORE_PEER_MSPCONFIGPATH", admin.join("msp").display().to_string()));
        values.push(("CORE_PEER_TLS_ENABLED", "true".to_owned()));
        // Otherwise Fabric 3.1 prints messages of its gRPC library.
        values.push((LoggingSpec::VARIABLE, "info:grpc=error".to_owned()));
        let orderers = &self.network.nodes().bundle.identities.orderer_organization;
        let of_orderers = self.description.state.join("organizations/ordererOrganizations").join(&orderers.domain);
        if let Some(orderer) = self.description.nodes.iter().find(|node| node.kind == "orderer") {
            let ca = of_orderers.join("orderers").join(&orderer.name).join("tls/ca.crt");
            values.push(("ORDERER_ADDRESS", orderer.address.clone()));
            values.push(("ORDERER_CA", ca.display().to_string()));
            values.push(("ORDERER_ADMIN_ADDRESS", orderer.admin.clone().unwrap_or_default()));
            let admin = of_orderers.join("users").join(format!("Admin@{}", orderers.domain)).join("tls");
            values.push(("ORDERER_ADMIN_TLS_SIGN_CERT", admin.join("client.crt").display().to_string()));
            values.push(("ORDERER_ADMIN_TLS_PRIVATE_KEY", admin.join("client.key").display().to_string()));
        }
        values.extend(self.names());
        let mut text = environment(
            &format!(
                "Source this file to use Fabric's `peer` as the administrator of {}. A transaction:\n\
                 # peer chaincode invoke -o $ORDERER_ADDRESS --tls --cafile $ORDERER_CA $ENDORSERS \\\n\
                 #   -C $CHANNEL_NAME -n $CHAINCODE_NAME --waitForEvent -c '{{\"Args\":[…]}}'",
                self.organization.name
            ),
            &values,
        );
        if let Some(endorsers) = self.endorsers() {
            let _ = writeln!(text, "# A peer of each organization.\nexport ENDORSERS={}", quoted(&endorsers));
        }
        text
    }

    /// The options of `peer chaincode invoke` for a peer of each organization. They are used without quotes,
    /// so there are none if a path contains a space.
    fn endorsers(&self) -> Option<String> {
        let mut options = Vec::new();
        for organization in &self.network.nodes().bundle.identities.peer_organizations {
            let peer = peers_of(self.description, &organization.msp_id).next()?;
            let directory =
                self.description.state.join("organizations/peerOrganizations").join(&organization.domain).join("peers");
            let ca = directory.join(&peer.name).join("tls/ca.crt").display().to_string();
            if ca.contains(char::is_whitespace) {
                return None;
            }
            options.push(format!("--peerAddresses {} --tlsRootCertFiles {ca}", peer.address));
        }
        Some(options.join(" "))
    }

    /// The environment of gateway clients, with the names that Fabric's sample applications use.
    fn gateway_environment(&self) -> String {
        let own = self.directory();
        let mut values = self.names().to_vec();
        values.push(("MSP_ID", self.organization.msp_id.clone()));
        if let Some(peer) = self.peers().next() {
            let ca = own.join("peers").join(&peer.name).join("tls/ca.crt");
            values.push(("PEER_ENDPOINT", peer.address.clone()));
            values.push(("PEER_HOST_ALIAS", peer.name.clone()));
            values.push(("TLS_CERT_PATH", ca.display().to_string()));
        }
        if let Some((user, _)) = self.users().next() {
            let msp = own.join("users").join(&user).join("msp");
            let (certificates, keys) = (msp.join("signcerts"), msp.join("keystore"));
            values.push(("CRYPTO_PATH", own.display().to_string()));
            values.push(("CERT_DIRECTORY_PATH", certificates.display().to_string()));
            values.push(("KEY_DIRECTORY_PATH", keys.display().to_string()));
            values.push(("CERT_PATH", certificates.join(format!("{user}-cert.pem")).display().to_string()));
            values.push(("KEY_PATH", keys.join("priv_sk").display().to_string()));
        }
        environment(&format!("Source this file to use a gateway SDK as a user of {}.", self.organization.name), &values)
    }

    /// The connection profile of the Fabric SDKs.
    fn connection_profile(&self) -> Value {
        let identities = &self.network.nodes().bundle.identities;
        let entry = |node: &Node, ca: &str| {
            json!({
                "url": format!("grpcs://{}", node.address),
                "tlsCACerts": {"pem": ca},
                "grpcOptions": {"ssl-target-name-override": node.name, "hostnameOverride": node.name},
            })
        };
        let with_ca = |wanted: &str, nodes: &mut dyn Iterator<Item = (&Node, &str)>| -> Value {
            let nodes = nodes.filter(|(node, _)| node.kind == wanted);
            nodes.map(|(node, ca)| (node.name.clone(), entry(node, ca))).collect::<serde_json::Map<_, _>>().into()
        };
        let own_ca = self.organization.tls_ca_pem.as_str();
        let orderer_ca = identities.orderer_organization.tls_ca_pem.as_str();
        let orderers: Vec<&Node> = self.description.nodes.iter().filter(|node| node.kind == "orderer").collect();
        let names: Vec<&str> = self.peers().map(|peer| peer.name.as_str()).collect();
        let roles = json!({"endorsingPeer": true, "chaincodeQuery": true, "ledgerQuery": true, "eventSource": true});
        let channels =
            self.description.channels.iter().filter(|channel| channel.organizations.contains(&self.organization.name));
        let channels = channels.map(|channel| {
            let peers: serde_json::Map<_, _> = names.iter().map(|name| ((*name).to_owned(), roles.clone())).collect();
            let orderers: Vec<&str> = orderers.iter().map(|orderer| orderer.name.as_str()).collect();
            (channel.name.clone(), json!({"orderers": orderers, "peers": peers}))
        });
        let name = &self.organization.name;
        json!({
            "name": format!("fabric-harness-{name}"),
            "version": "1.0.0",
            "client": {
                "organization": name,
                "connection": {"timeout": {"peer": {"endorser": "300"}, "orderer": "300"}},
            },
            "channels": channels.collect::<serde_json::Map<_, _>>(),
            "organizations": {name: {"mspid": self.organization.msp_id, "peers": names, "certificateAuthorities": []}},
            "orderers": with_ca("orderer", &mut orderers.iter().map(|node| (*node, orderer_ca))),
            "peers": with_ca("peer", &mut self.peers().map(|node| (node, own_ca))),
            "certificateAuthorities": {},
        })
    }
}

fn peers_of<'a>(description: &'a Description, msp_id: &'a str) -> impl Iterator<Item = &'a Node> {
    description.nodes.iter().filter(move |node| node.kind == "peer" && node.msp_id == msp_id)
}

/// An identity in the format of the Node SDK's file system wallet.
fn identity(credential: &Credential) -> Value {
    json!({
        "credentials": {
            "certificate": credential.certificate_pem,
            "privateKey": credential.private_key_pem.as_pem(),
        },
        "mspId": credential.msp_id,
        "type": "X.509",
        "version": 1,
    })
}

/// The environment and files of a server, for a start from another directory.
fn server_files(server: &ChaincodeSpec, state: &Path) -> (String, BTreeMap<PathBuf, File>) {
    let directory = Path::new(CHAINCODE).join(&server.name);
    let at = |value: &String| {
        let name = Path::new(value).file_name().map(Path::new);
        let file = name.filter(|name| value.starts_with('/') && server.files.contains_key(*name));
        file.map_or_else(|| value.clone(), |name| state.join(&directory).join(name).display().to_string())
    };
    let values: Vec<(&str, String)> =
        server.environment.iter().map(|(name, value)| (name.as_str(), at(value))).collect();
    let title = format!("Source this file to start the chaincode server {}.", server.name);
    let files = server.files.iter().map(|(name, file)| (directory.join(name), file.clone()));
    (environment(&title, &values), files.collect())
}

fn environment(title: &str, values: &[(&str, String)]) -> String {
    let mut text = format!("# {title}\n");
    for (name, value) in values {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "export {name}={}", quoted(value));
    }
    text
}

/// Quotes a value for a shell.
fn quoted(value: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-:@,+=".contains(letter);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn text(text: &str) -> File {
    File { bytes: text.as_bytes().to_vec(), mode: PUBLIC_MODE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_quoted_values() {
        for value in ["", "plain/path.crt", "two words", "it's", "$HOME `x` \"y\"", "a\nb"] {
            let script = format!("printf %s {}", quoted(value));
            let output = std::process::Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
        }
    }

    #[test]
    fn the_environment_names_the_servers_files() {
        let server = ChaincodeSpec {
            name: "basic".to_owned(),
            environment: BTreeMap::from([
                ("CHAINCODE_ID".to_owned(), "basic:server.crt".to_owned()),
                ("CHAINCODE_TLS_CERT".to_owned(), "/opt/chaincode/server.crt".to_owned()),
            ]),
            files: BTreeMap::from([("server.crt".into(), File::public("pem"))]),
            ..ChaincodeSpec::default()
        };
        let (environment, files) = server_files(&server, Path::new("/state"));
        assert!(environment.contains("\nexport CHAINCODE_ID=basic:server.crt\n"), "{environment}");
        assert!(
            environment.contains("\nexport CHAINCODE_TLS_CERT=/state/chaincode/basic/server.crt\n"),
            "{environment}"
        );
        assert_eq!(files.keys().collect::<Vec<_>>(), [Path::new("chaincode/basic/server.crt")]);
    }
}
