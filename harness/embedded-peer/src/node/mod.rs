//! What peers and orderers share: files, TLS, tasks, and the client of a request.

mod client;
pub(crate) mod duration;
mod files;
mod lifetime;
mod tls;
mod verifier;

use std::path::Path;

use fabric_network::node::NodeSpec;
use fabric_network::release::Release;

pub use client::Client;
pub use files::NodeError;
pub(crate) use files::NodeFiles;
pub(crate) use lifetime::Lifetime;
pub use tls::TlsError;

use crate::clock::Clock;
use crate::faults::Faults;
use crate::signer::Randomness;
use crate::trace::Tracer;

/// What a node is created from.
pub(crate) struct Parts<'a> {
    pub(crate) spec: &'a NodeSpec,
    pub(crate) files: NodeFiles<'a>,
    pub(crate) release: Release,
    pub(crate) clock: &'a Clock,
    pub(crate) randomness: &'a Randomness,
    pub(crate) tracer: &'a Tracer,
    pub(crate) faults: &'a Faults,
    pub(crate) temporary: Option<&'a Path>,
    pub(crate) life: &'a Lifetime,
}
