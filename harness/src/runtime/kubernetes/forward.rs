//! From a port of this machine's loopback to a port of a pod, through the cluster's API server: it works
//! with every cluster that `kubectl` works with.

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

/// Before a connection ends that led nowhere: whoever wants in asks again and again, and the server
/// has much to do for each.
const PAUSE: Duration = Duration::from_millis(100);

/// A port of this machine. Dropping it ends it, with every connection.
#[derive(Debug)]
pub(super) struct Forward {
    /// Where it is.
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
    /// Listens, on a free port, for connections to a port of this pod.
    pub(super) async fn begin(space: &Space, pod: &str, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (cut, cuts) = watch::channel(());
        let task = tokio::spawn(serve(listener, cuts, space.clone(), pod.to_owned(), port));
        Ok(Self { address, cut, task })
    }

    /// Ends its connections; new ones can be made. The end of what they led to comes through the cluster
    /// some time later, and until then they swallow what is sent.
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
                // No file handle is left, for example.
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
