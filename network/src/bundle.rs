//! A rendered network: its files, and how each node is started. The contents are decided in `render`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::chaincode::ServerSpec;
use crate::identity::Identities;
use crate::node::NodeSpec;

pub use crate::files::{File, PRIVATE_MODE, PUBLIC_MODE, WriteError, write_files};

/// A channel and its genesis block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelArtifact {
    /// The channel's name.
    pub name: String,
    /// The genesis block (`common.Block`), also the file `channels/<name>.block`.
    pub genesis_block: Vec<u8>,
}

/// A network, ready to be written and started.
///
/// The layout:
///
/// ```text
/// channels/<channel>.block
/// organizations/ordererOrganizations/<domain>/{ca,msp,orderers,tlsca,users}
/// organizations/peerOrganizations/<domain>/{ca,chaincode,msp,peers,tlsca,users}
/// …/orderers/<node>/{orderer.yaml,msp,tls}
/// …/peers/<node>/{core.yaml,msp,tls,chaincode}
/// ```
///
/// The tree under `organizations/` is that of `cryptogen`.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Every file, by its path relative to the bundle.
    pub files: BTreeMap<PathBuf, File>,
    /// Every node, orderers first.
    pub nodes: Vec<NodeSpec>,
    /// The chaincode server of each peer, in the order of the peers. Empty unless
    /// [`RenderOptions::chaincode`](crate::render::RenderOptions::chaincode) asks for them.
    pub servers: Vec<ServerSpec>,
    /// Every channel, in the order of the topology.
    pub channels: Vec<ChannelArtifact>,
    /// The keys and certificates of the files.
    pub identities: Identities,
}

impl Bundle {
    /// Writes every file under `directory`, as [`write_files`] does.
    ///
    /// # Errors
    ///
    /// As [`write_files`].
    pub fn write_to(&self, directory: &Path) -> Result<(), WriteError> {
        write_files(&self.files, directory)
    }
}
