//! What one client may hold open.

use std::time::Duration;

use chaincode_shim::TlsFiles;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::certificates::{Ca, Files};
use super::peer::{Dial, Peer, dial};
use super::support::{config, start};

/// Each may take five seconds.
const HANDSHAKES: usize = 256;
const CONNECTIONS: usize = 256;
const STREAMS: usize = 64;

/// Connections that send nothing. The server closes the first ones for further ones.
#[tokio::test]
async fn stalled_handshakes_delay_nobody() {
    let (files, ca) = (Files::new(), Ca::new("CA"));
    let (certificate, key) = files.pair("server", &ca.issue("chaincode"));
    let server = start(config().with_tls(TlsFiles::new(key, certificate))).await;
    let begin = std::time::Instant::now();
    let mut stalled = Vec::new();
    for _ in 0..HANDSHAKES {
        stalled.push(TcpStream::connect(server.address).await.unwrap());
    }
    let how = Dial { ca: Some(&ca.pem), ..Dial::default() };
    Peer::connect(server.address, how).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "it waited for a handshake that timed out");
}

#[tokio::test]
async fn the_connections_of_an_address_are_limited_until_some_close() {
    let server = start(config()).await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        open.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut refused = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(refused.read(&mut [0; 100]).await.unwrap_or(0), 0, "it is closed");
    drop(open);
    while Peer::connect(server.address, Dial::default()).await.is_err() {}
}

#[tokio::test]
async fn the_streams_of_a_connection_are_limited() {
    let server = start(config()).await;
    let channel = dial(server.address, Dial::default()).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = Peer::open(channel.clone()).await.unwrap();
        stream.receive().await.unwrap();
        streams.push(stream);
    }
    let next = tokio::spawn(Peer::open(channel));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!next.is_finished(), "it waits");
    streams.pop();
    next.await.unwrap().unwrap();
}
