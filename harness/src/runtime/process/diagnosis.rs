//! Fabric's programs on this machine, for `doctor`.

use std::path::{Path, PathBuf};

use super::ProcessRuntime;
use super::binaries::version_of;
use crate::console::error_text;
use crate::runtime::{Finding, Runtime as _, RuntimeOptions};

/// Which programs there are, and whether they are of one version.
pub(super) async fn look(directory: Option<&Path>) -> Vec<Finding> {
    let runtime = match ProcessRuntime::find(RuntimeOptions::new(PathBuf::new()), directory).await {
        Ok(runtime) => runtime,
        Err(error) => {
            let text = format!("{}; without it there is no process runtime", error_text(&error));
            return vec![Finding::warning("fabric", text)];
        }
    };
    let (peer, orderer) = (runtime.peer(), runtime.orderer());
    let both = format!("peer {} at {}, orderer at {}", runtime.version(), peer.display(), orderer.display());
    vec![match version_of(orderer).await {
        Ok(version) if version == runtime.version() => Finding::ok("fabric", both),
        Ok(version) => Finding::warning(
            "fabric",
            format!("{both} is {version}; give the directory of one release with --fabric-bin"),
        ),
        Err(error) => Finding::problem("fabric", error_text(&error)),
    }]
}
