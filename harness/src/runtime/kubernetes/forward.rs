//! Forwards a port of this machine's loopback to a port of a pod, through the cluster's API server, as
//! `kubectl port-forward` does.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::space::Space;
use crate::console::error_text;

/// The pause before a failed connection is closed: clients try again immediately, and each attempt is expensive
/// for the server.
const PAUSE: Duration = Duration::from_millis(100);

/// A forwarded port of this machine. Dropping it closes it and its connections.
#[derive(Debug)]
pub(super) struct Forward {
    /// Its address.
    pub(super) address: SocketAddr,
    cut: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Forward {
    /// Listens on a free port, and forwards connections to a port of this pod.
    pub(super) async fn begin(space: &Space, pod: &str, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (cut, cuts) = watch::channel(());
        let task = tokio::spawn(serve(listener, cuts, space.clone(), pod.to_owned(), port));
        Ok(Self { address, cut, task })
    }

    /// Closes its connections; new ones can be made. The cluster reports only later that the other side is gone,
    /// and until then data that is sent is lost.
    pub(super) fn cut(&self) {
        self.cut.send_replace(());
    }
}

async fn serve(listener: TcpListener, mut cuts: watch::Receiver<()>, space: Space, pod: String, port: u16) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((connection, _)) => drop(connections.spawn(relay(connection, space.clone(), pod.clone(), port))),
                // Too many open files, for example.
                Err(_) => sleep(PAUSE).await,
            },
            Ok(()) = cuts.changed() => connections.abort_all(),
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn relay(mut connection: TcpStream, space: Space, pod: String, port: u16) {
    let _ = connection.set_nodelay(true);
    let ports = [port];
    let pods = space.all::<Pod>();
    let mut forwarder = match space.ask("forward a port", pods.portforward(&pod, &ports)).await {
        Ok(forwarder) => forwarder,
        Err(error) => {
            tracing::debug!("{pod}: {}", error_text(&error));
            sleep(PAUSE).await;
            return;
        }
    };
    if let (Some(mut stream), Some(refused)) = (forwarder.take_stream(port), forwarder.take_error(port)) {
        tokio::select! {
            _ = copy_bidirectional(&mut connection, &mut stream) => {}
            Some(reason) = refused => {
                tracing::debug!("port {port} of {pod}: {reason}");
                sleep(PAUSE).await;
            }
        }
    }
    forwarder.abort();
}
