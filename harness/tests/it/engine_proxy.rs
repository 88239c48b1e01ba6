//! A proxy in front of a Docker engine, which brings about what an engine does rarely.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fabric_harness::runtime::docker::engine::Engine;

/// What the engine does differently.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It does not see the files that are to be mounted.
    SeesNoFiles,
    /// It creates each container this much later, even if the client is gone.
    CreatesLate(Duration),
}

/// A proxy that serves until the test ends.
pub(crate) struct EngineProxy {
    socket: PathBuf,
    creations: Arc<AtomicUsize>,
}

impl EngineProxy {
    /// In front of the engine of the environment, which is reached by a socket of this machine.
    pub(crate) fn start(directory: &Path, fault: Fault) -> Self {
        let engine = Engine::from_environment();
        let engine = PathBuf::from(engine.uri().strip_prefix("unix://").unwrap());
        let socket = directory.join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let creations = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&creations);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, engine, counter) =
                    (client.unwrap(), UnixStream::connect(&engine).unwrap(), counter.clone());
                let (answers, back) = (engine.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || copy(answers, back));
                std::thread::spawn(move || requests(client, engine, fault, &counter));
            }
        });
        Self { socket, creations }
    }

    pub(crate) fn uri(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// How many requests to create a container have come.
    pub(crate) fn creations(&self) -> usize {
        self.creations.load(Ordering::SeqCst)
    }
}

fn copy(mut from: UnixStream, mut to: UnixStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Passes requests on. An engine that the client has left finishes what it does, so its connection stays.
fn requests(mut client: UnixStream, mut engine: UnixStream, fault: Fault, creations: &AtomicUsize) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        let part = &buffer[..count];
        let text = String::from_utf8_lossy(part);
        if text.starts_with("POST ") && text.contains("/containers/create") {
            creations.fetch_add(1, Ordering::SeqCst);
            if let Fault::CreatesLate(late) = fault {
                std::thread::sleep(late);
            }
        }
        if matches!(fault, Fault::SeesNoFiles) && text.contains(r#""Type":"bind""#) {
            let body = r#"{"message":"bind source path does not exist"}"#;
            let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n";
            let _ = write!(client, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
            let _ = engine.shutdown(std::net::Shutdown::Both);
            return;
        }
        if engine.write_all(part).is_err() {
            return;
        }
    }
    std::thread::sleep(Duration::from_secs(2));
    let _ = engine.shutdown(std::net::Shutdown::Both);
}
