//! Servers and connections that are broken: the error of a call.

use fabric_harness::runtime::Runtime;
use fabric_network::bundle::Bundle;
use fabric_network::topology::Topology;
use serde_json::{Value, json};

use super::On::{self, Both, Fabric};
use super::servers::{Authority, Does, Pair, Sample, Task, free, keep_silent, serve};
use super::stage::{self, Builder, Stage, Verdict, package, set, shows};
use crate::fake::rendered;

/// Who listens at the address.
enum Server {
    Nobody,
    /// A listener that sends nothing.
    Silent,
    /// The sample, without TLS.
    Plain,
    /// The sample, that shows a certificate with these SANs.
    Tls(&'static [&'static str]),
    /// The same, whose clients must show a certificate of the peer's CA, of one of the same name that is
    /// another, or of one of another name.
    Mutual(ClientCa),
    /// The sample, that registers under another package ID.
    Other,
    /// A certificate that ended years ago.
    Expired,
    Odd(Does),
}

#[derive(Clone, Copy)]
enum ClientCa {
    Ours,
    Former,
    Other,
}

/// What connection.json contains besides address and time-out.
enum Connection {
    Plain,
    /// TLS, with the CA that issued the server's certificate.
    Tls,
    /// TLS, with another CA.
    OtherCa,
    /// TLS, with another CA of the same name.
    NamesakeCa,
    /// The same as [`Tls`](Self::Tls), and the peer shows its certificate.
    Mutual,
    /// As they are, past a builder that would refuse them.
    Unchecked(&'static str),
}

struct Dial {
    entry: &'static str,
    on: On,
    /// The host that the peer dials.
    host: &'static str,
    connection: Connection,
    server: Server,
}

const PLAIN: Dial =
    Dial { entry: "", on: Both, host: "127.0.0.1", connection: Connection::Plain, server: Server::Plain };
const TLS: Dial = Dial { connection: Connection::Tls, ..PLAIN };
const LOOPBACK: &[&str] = &["127.0.0.1", "localhost"];

const DIALS: &[Dial] = &[
    Dial { entry: "server-not-running", server: Server::Nobody, ..PLAIN },
    Dial { entry: "host-unknown", host: "nowhere.invalid", server: Server::Nobody, ..PLAIN },
    Dial { entry: "dial-timeout", server: Server::Silent, ..PLAIN },
    Dial { entry: "unknown-authority", connection: Connection::OtherCa, server: Server::Tls(LOOPBACK), ..TLS },
    Dial { entry: "namesake-ca", on: Fabric, connection: Connection::NamesakeCa, server: Server::Tls(LOOPBACK), ..TLS },
    Dial { entry: "no-ip-san", server: Server::Tls(&["localhost"]), ..TLS },
    Dial { entry: "wrong-name", host: "localhost", server: Server::Tls(&["cc.example.com"]), ..TLS },
    Dial { entry: "no-sans", host: "localhost", server: Server::Tls(&[]), ..TLS },
    Dial { entry: "expired-certificate", server: Server::Expired, ..TLS },
    // TLS to a server without, and the other way round.
    Dial { entry: "plain-server", ..TLS },
    Dial { entry: "plain-server", server: Server::Tls(LOOPBACK), ..PLAIN },
    Dial { entry: "client-certificate-missing", server: Server::Mutual(ClientCa::Ours), ..TLS },
    // A client of Go's keeps its certificate back when no CA is named that issued it.
    Dial {
        entry: "client-certificate-missing",
        on: Fabric,
        connection: Connection::Mutual,
        server: Server::Mutual(ClientCa::Other),
        ..TLS
    },
    Dial {
        entry: "client-certificate-refused",
        connection: Connection::Mutual,
        server: Server::Mutual(ClientCa::Former),
        ..TLS
    },
    Dial {
        entry: "client-key-missing",
        connection: Connection::Unchecked(r#"{"client_auth_required":true,"root_cert":"a"}"#),
        ..PLAIN
    },
    Dial {
        entry: "root-certificate-unreadable",
        connection: Connection::Unchecked(r#"{"root_cert":"no certificate"}"#),
        ..PLAIN
    },
    Dial { entry: "wrong-package-id", server: Server::Other, ..PLAIN },
    Dial { entry: "start-timeout", server: Server::Odd(Does::NotRegister), ..PLAIN },
    Dial { entry: "stream-terminated", server: Server::Odd(Does::Break), ..PLAIN },
    Dial { entry: "execute-timeout", server: Server::Odd(Does::NotAnswer), ..PLAIN },
    Dial { entry: "no-ledger-context", server: Server::Odd(Does::AskTooLate), ..PLAIN },
    Dial { entry: "rich-query-on-leveldb", server: Server::Odd(Does::QueryRichly), ..PLAIN },
];

pub(super) fn entries() -> impl Iterator<Item = &'static str> {
    DIALS.iter().map(|dial| dial.entry)
}

/// Who vouches for whom.
struct Authorities {
    servers: Authority,
    other: Authority,
    namesake: Authority,
    /// That of the peers' certificates, as PEM.
    peers: String,
    /// What had the same name before everything was made anew.
    former: String,
}

impl Authorities {
    async fn of(stage: &Stage, runtime: &dyn Runtime) -> Self {
        let topology = Topology::solo();
        let placed = runtime.place(&topology, &[]).await.unwrap();
        let former = rendered(runtime, &topology, &placed);
        let peers = |bundle: &Bundle| bundle.identities.peer_organizations[0].tls_ca_pem.clone();
        Self {
            servers: Authority::new("servers"),
            other: Authority::new("other"),
            namesake: Authority::new("servers"),
            peers: peers(&stage.bundle),
            former: peers(&former),
        }
    }
}

/// What runs for one of them.
enum Serving {
    Nothing,
    Sample(Sample),
    Task { _task: Task },
}

impl Serving {
    fn log(&self) -> String {
        match self {
            Self::Sample(sample) => sample.log(),
            Self::Nothing | Self::Task { .. } => String::new(),
        }
    }
}

impl Dial {
    fn has_tls(&self) -> bool {
        !matches!(self.connection, Connection::Plain) || matches!(self.server, Server::Tls(_))
    }

    fn connection(&self, port: u16, authorities: &Authorities) -> Value {
        let Authorities { servers: authority, other, namesake, .. } = authorities;
        let is_tls = !matches!(self.connection, Connection::Plain);
        let mut connection =
            json!({"address": format!("{}:{port}", self.host), "dial_timeout": "300ms", "tls_required": is_tls});
        match &self.connection {
            Connection::Plain => {}
            Connection::Tls => connection["root_cert"] = json!(authority.certificate),
            Connection::OtherCa => connection["root_cert"] = json!(other.certificate),
            Connection::NamesakeCa => connection["root_cert"] = json!(namesake.certificate),
            Connection::Mutual => {
                connection["root_cert"] = json!(authority.certificate);
                connection["client_auth_required"] = json!(true);
            }
            Connection::Unchecked(text) => {
                let fields: Value = serde_json::from_str(text).unwrap();
                connection.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            }
        }
        connection
    }

    async fn serve(&self, port: u16, id: &str, authorities: &Authorities) -> Serving {
        let authority = &authorities.servers;
        let address = ([127, 0, 0, 1], port).into();
        let sample = |id: &str, pair: Option<Pair>, ca: Option<&str>| {
            Serving::Sample(Sample::begin(address, id, pair.as_ref(), ca))
        };
        match self.server {
            Server::Nobody => Serving::Nothing,
            Server::Silent => Serving::Task { _task: keep_silent(address).await },
            Server::Plain => sample(id, None, None),
            Server::Tls(names) => sample(id, Some(authority.issue(names, false)), None),
            Server::Mutual(ca) => {
                let ca = match ca {
                    ClientCa::Ours => &authorities.peers,
                    ClientCa::Former => &authorities.former,
                    ClientCa::Other => &authority.certificate,
                };
                sample(id, Some(authority.issue(LOOPBACK, false)), Some(ca))
            }
            Server::Other => sample("another:0", None, None),
            Server::Expired => {
                let pair = authority.issue(LOOPBACK, true);
                Serving::Task { _task: serve(address, id, Does::NotAnswer, Some(&pair)).await }
            }
            Server::Odd(does) => Serving::Task { _task: serve(address, id, does, None).await },
        }
    }
}

/// Those whose server or connection has TLS, or the others.
async fn dials(runtime: &dyn Runtime, with_tls: bool) {
    // Five seconds is the shortest that a peer takes.
    let timeouts = [("CORE_CHAINCODE_STARTUPTIMEOUT", "5s"), ("CORE_CHAINCODE_EXECUTETIMEOUT", "1s")];
    let stage = Stage::start(runtime, &Topology::solo(), |bundle| set(bundle, &timeouts)).await.unwrap();
    let authorities = Authorities::of(&stage, runtime).await;
    let builder = Builder::of(&stage);
    let mut verdict = Verdict::default();
    for (number, dial) in DIALS.iter().enumerate() {
        if dial.has_tls() != with_tls || !shows(runtime, dial.on) {
            continue;
        }
        let label = format!("cc{number}");
        let port = free().port();
        let unchecked = matches!(dial.connection, Connection::Unchecked(_));
        if unchecked {
            builder.replace("build", "cp \"$1\"/connection.json \"$3\"", 0o755);
            let body = "mkdir -p \"$2\"/chaincode/server; cp \"$1\"/connection.json \"$2\"/chaincode/server";
            builder.replace("release", body, 0o755);
        }
        let connection = dial.connection(port, &authorities).to_string();
        let package = package(&label, &connection);
        stage.deploy(&label, &package).await.unwrap_or_else(|error| panic!("{}: {error}", dial.entry));
        if unchecked {
            builder.restore("build");
            builder.restore("release");
        }
        let serving = dial.serve(port, &package.id, &authorities).await;
        stage.turn_over().await;
        let error = stage.ask(&label, &["any"]).await;
        stage.judge(&mut verdict, dial.entry, &error, &serving.log()).await;
    }
    stage.stop().await;
    verdict.assert();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_peer_shows_what_is_wrong_with_a_server() {
    dials(&stage::embedded(), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_peer_shows_what_is_wrong_with_tls() {
    dials(&stage::embedded(), true).await;
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_a_peer_shows_what_is_wrong_with_a_server() {
    dials(&stage::fabric().await, false).await;
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_a_peer_shows_what_is_wrong_with_tls() {
    dials(&stage::fabric().await, true).await;
}
