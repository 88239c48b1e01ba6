//! `_lifecycle`: authorization of its functions, which are in `lifecycle`
//! (`core/chaincode/lifecycle/scc.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric_protos::protos::Response;

use super::{Caller, failure, success};
use crate::chaincode::Installed;
use crate::channel::PeerChannel;
use crate::ledger::{SharedSimulation, lock};
use crate::lifecycle::{self, Failure, InstalledPackage, LifecycleContext, PackageFailure, Packages};
use crate::peer::Peer;

/// The chaincode's name.
pub(crate) const NAME: &str = lifecycle::NAMESPACE;

/// The function that may wait for external builders.
const INSTALL: &str = "InstallChaincode";

/// Answers a call.
///
/// # Errors
///
/// The build of a chaincode timed out.
pub(crate) async fn invoke(
    peer: &Arc<Peer>,
    channel: Option<&Arc<PeerChannel>>,
    caller: &Caller,
    arguments: &[Vec<u8>],
    simulation: Option<&SharedSimulation>,
) -> Result<Response, String> {
    let (function, argument) = match arguments {
        [] => return Ok(failure("lifecycle scc must be invoked with arguments".to_owned())),
        [function, argument] => (String::from_utf8_lossy(function), argument),
        _ => {
            let count = arguments.len();
            return Ok(failure(format!("lifecycle scc operations require exactly two arguments but received {count}")));
        }
    };
    let config = channel.map(|channel| channel.config());
    let name = channel.map(|channel| channel.name.as_str()).unwrap_or_default();
    if config.as_ref().is_some_and(|config| !config.capabilities().lifecycle()) {
        return Ok(failure(format!(
            "cannot use new lifecycle for channel '{name}' as it does not have the required capabilities enabled"
        )));
    }
    if let Err(error) = caller.check(peer, &format!("{NAME}/{function}"), name) {
        return Ok(failure(format!("Failed to authorize invocation due to failed ACL check: {error}")));
    }
    if function == INSTALL {
        return install(peer, argument).await;
    }
    let mut simulation = simulation.map(lock);
    let context = LifecycleContext {
        simulation: simulation.as_deref_mut(),
        config: config.as_ref(),
        msp_id: &peer.msp_id,
        packages: &PeerPackages(peer),
        release: peer.release,
    };
    Ok(lifecycle::invoke(&function, argument, context).map_or_else(refused, success))
}

fn refused(failure: Failure) -> Response {
    Response { status: failure.status, message: failure.message, payload: Vec::new() }
}

async fn install(peer: &Arc<Peer>, argument: &[u8]) -> Result<Response, String> {
    let package = match lifecycle::install_arguments(argument) {
        Ok(package) => package,
        Err(failure) => return Ok(refused(failure)),
    };
    match peer.support.install(package.into()).await {
        Ok(installed) => {
            peer.launch_runnable();
            Ok(success(lifecycle::install_result(&installed.package_id, &installed.label)))
        }
        Err(error) if error.is_timeout() => Err(format!("error sending: {error}")),
        Err(error) => Ok(failure(format!("failed to invoke backing implementation of '{INSTALL}': {error}"))),
    }
}

/// The packages of a peer for `lifecycle`.
struct PeerPackages<'a>(&'a Peer);

impl PeerPackages<'_> {
    /// The definitions that use a package, by channel.
    fn references(&self, package_id: &str) -> BTreeMap<String, Vec<(String, String)>> {
        let mut references = BTreeMap::new();
        for name in self.0.channels() {
            let Some(channel) = self.0.channel(&name) else { continue };
            let runs = channel.all_runnable().into_iter().filter_map(|(chaincode, info)| {
                let is_it = info.package_id.as_deref() == Some(package_id);
                is_it.then(|| (chaincode, info.definition.version.clone()))
            });
            let runs: Vec<_> = runs.collect();
            if !runs.is_empty() {
                references.insert(name, runs);
            }
        }
        references
    }
}

impl Packages for PeerPackages<'_> {
    fn install(&self, _: &[u8]) -> Result<InstalledPackage, PackageFailure> {
        // Installation is asynchronous, which this trait does not support.
        Err(PackageFailure::Other("packages are installed by the peer".to_owned()))
    }

    fn list(&self) -> Vec<InstalledPackage> {
        let installed = self.0.support.packages().list().into_iter();
        installed
            .map(|Installed { package_id, label }| InstalledPackage {
                references: self.references(&package_id),
                package_id,
                label,
            })
            .collect()
    }

    fn load(&self, package_id: &str) -> Result<Vec<u8>, PackageFailure> {
        let package = self.0.support.packages().get(package_id);
        package.map(Vec::from).ok_or_else(|| PackageFailure::NotFound(package_id.to_owned()))
    }
}
