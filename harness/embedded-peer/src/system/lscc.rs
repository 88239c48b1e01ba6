//! `lscc`: Fabric 2.5's queries of legacy chaincodes (`core/scc/lscc`).
//!
//! These networks have no legacy chaincodes. Queries return empty results, and nothing can be
//! installed or deployed.

use fabric_protos::protos::Response;

use super::{Caller, failure, success};
use crate::channel::PeerChannel;
use crate::ledger::{LedgerError, SharedSimulation, Simulation, lock};
use crate::peer::Peer;

/// The chaincode's name and its state namespace.
pub(crate) const NAME: &str = "lscc";

/// The query functions with their old and new names.
const FUNCTIONS: [&str; 15] = [
    "install",
    "deploy",
    "upgrade",
    "getid",
    "ChaincodeExists",
    "getdepspec",
    "GetDeploymentSpec",
    "getccdata",
    "GetChaincodeData",
    "getchaincodes",
    "GetChaincodes",
    "getinstalledchaincodes",
    "GetInstalledChaincodes",
    "getcollectionsconfig",
    "GetCollectionsConfig",
];

/// Answers a call.
pub(crate) fn invoke(
    peer: &Peer,
    channel: Option<&PeerChannel>,
    caller: &Caller,
    arguments: &[Vec<u8>],
    simulation: Option<&SharedSimulation>,
) -> Response {
    let mut simulation = simulation.map(lock);
    let name = channel.map(|channel| channel.name.as_str()).unwrap_or_default();
    let call = Call { peer, caller, channel: name, simulation: simulation.as_deref_mut() };
    call.answer(arguments).map_or_else(failure, success)
}

struct Call<'a> {
    peer: &'a Peer,
    caller: &'a Caller,
    /// The channel of the call; empty without one.
    channel: &'a str,
    simulation: Option<&'a mut Simulation>,
}

impl Call<'_> {
    fn answer(mut self, arguments: &[Vec<u8>]) -> Result<Vec<u8>, String> {
        let miscounted = format!("invalid number of arguments to lscc: {}", arguments.len());
        let texts: Vec<_> = arguments.iter().map(|argument| String::from_utf8_lossy(argument)).collect();
        let texts: Vec<_> = texts.iter().map(|text| &**text).collect();
        match &texts[..] {
            ["install", _, ..] => self.install(),
            ["deploy" | "upgrade", channel, _, ..] => Err(migrated(channel)),
            [function @ ("getid" | "ChaincodeExists"), channel, chaincode] => {
                self.definition(function, "ChaincodeExists", channel, chaincode)
            }
            [function @ ("getdepspec" | "GetDeploymentSpec"), channel, chaincode] => {
                self.definition(function, "GetDeploymentSpec", channel, chaincode)
            }
            [function @ ("getccdata" | "GetChaincodeData"), channel, chaincode] => {
                self.definition(function, "GetChaincodeData", channel, chaincode)
            }
            [function @ ("getchaincodes" | "GetChaincodes")] => self.definitions(function),
            [function @ ("getinstalledchaincodes" | "GetInstalledChaincodes")] => {
                self.check("GetInstalledChaincodes", "")
                    .map_err(|error| format!("access denied for [{function}]: {error}"))?;
                Ok(Vec::new())
            }
            [function @ ("getcollectionsconfig" | "GetCollectionsConfig"), chaincode] => {
                self.check("GetCollectionsConfig", self.channel)
                    .map_err(|error| format!("access denied for [{function}]: {error}"))?;
                self.read(|simulation| simulation.get_state(NAME, &format!("{chaincode}~collection")).map(drop))?;
                Err(format!("collections config not defined for chaincode {chaincode}"))
            }
            [function, ..] if !FUNCTIONS.contains(function) => Err(format!("invalid function to lscc: {function}")),
            _ => Err(miscounted),
        }
    }

    fn install(&self) -> Result<Vec<u8>, String> {
        self.check("Install", "").map_err(|error| format!("access denied for [install]: {error}"))?;
        Err("this peer installs no chaincodes of the old lifecycle: use `peer lifecycle chaincode install`".to_owned())
    }

    /// The definition of a chaincode, which is always missing.
    fn definition(
        &mut self,
        function: &str,
        resource: &str,
        channel: &str,
        chaincode: &str,
    ) -> Result<Vec<u8>, String> {
        self.check(resource, channel).map_err(|error| format!("access denied for [{function}][{channel}]: {error}"))?;
        self.read(|simulation| simulation.get_state(NAME, chaincode).map(drop))
            .map_err(|error| format!("transaction not found: {error}"))?;
        Err(format!("could not find chaincode with name '{chaincode}'"))
    }

    /// The chaincodes of the channel: always an empty message.
    fn definitions(&mut self, function: &str) -> Result<Vec<u8>, String> {
        let channel = self.channel;
        self.check("GetInstantiatedChaincodes", channel)
            .map_err(|error| format!("access denied for [{function}][{channel}]: {error}"))?;
        self.read(|simulation| {
            let mut rows = simulation.range(NAME, "", "")?;
            simulation.next(&mut rows).map(drop)
        })?;
        Ok(Vec::new())
    }

    fn check(&self, resource: &str, channel: &str) -> Result<(), String> {
        self.caller.check(self.peer, &format!("{NAME}/{resource}"), channel)
    }

    /// Reads from the ledger, so that the transaction depends on it as in Fabric.
    fn read(&mut self, look: impl FnOnce(&mut Simulation) -> Result<(), LedgerError>) -> Result<(), String> {
        self.simulation.as_deref_mut().map_or(Ok(()), look).map_err(|error| error.to_string())
    }
}

fn migrated(channel: &str) -> String {
    if channel.is_empty() {
        return "invalid channel name: ".to_owned();
    }
    format!("Channel '{channel}' has been migrated to the new lifecycle, LSCC is now read-only")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use fabric_network::release::Release;
    use fabric_network::topology::Topology;

    use super::*;
    use crate::network::Options;
    use crate::testing::{Member, genesis, started};

    #[tokio::test]
    async fn a_2_5_peer_has_no_legacy_chaincodes() {
        let options = Options { release: Release::V2_5, ..Options::default() };
        let (network, bundle, _directory) = started(&Topology::solo(), options, |_| ());
        let peer = &network.nodes().peers()[0];
        peer.join("mychannel", genesis(&bundle)).unwrap();
        let channel = peer.channel("mychannel").unwrap();
        let simulation = Arc::new(Mutex::new(channel.ledger.simulate("transaction")));
        let ask = |member: &Member, arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect();
            let caller = Caller { called: NAME.to_owned(), signed: member.signed(b"proposal") };
            let answer = invoke(peer, Some(&channel), &caller, &arguments, Some(&simulation));
            if answer.status == 200 { Ok(answer.payload) } else { Err(answer.message) }
        };
        let (user, admin) = (Member::user(&bundle, 0), Member::admin(&bundle, 0));
        let refused = |arguments: &[&str]| ask(&admin, arguments).unwrap_err();
        for question in ["getchaincodes", "GetChaincodes"] {
            assert_eq!(ask(&user, &[question]), Ok(Vec::new()));
        }
        for question in ["getinstalledchaincodes", "GetInstalledChaincodes"] {
            assert_eq!(ask(&admin, &[question]), Ok(Vec::new()));
            let denied = ask(&user, &[question]).unwrap_err();
            assert!(denied.starts_with(&format!("access denied for [{question}]: Failed verifying")), "{denied}");
        }
        for question in ["getid", "ChaincodeExists", "getdepspec", "GetDeploymentSpec", "getccdata", "GetChaincodeData"]
        {
            let missing = "could not find chaincode with name 'basic'";
            assert_eq!(ask(&user, &[question, "mychannel", "basic"]), Err(missing.to_owned()));
            assert_eq!(refused(&[question]), "invalid number of arguments to lscc: 1");
            let denied = refused(&[question, "nowhere", "basic"]);
            assert!(denied.starts_with(&format!("access denied for [{question}][nowhere]: ")), "{denied}");
        }
        assert_eq!(refused(&["GetCollectionsConfig", "basic"]), "collections config not defined for chaincode basic");
        let migrated = "Channel 'mychannel' has been migrated to the new lifecycle, LSCC is now read-only";
        assert_eq!(refused(&["deploy", "mychannel", "spec"]), migrated);
        assert_eq!(refused(&["upgrade", "", "spec"]), "invalid channel name: ");
        assert!(refused(&["install", "spec"]).contains("peer lifecycle chaincode install"));
        assert_eq!(refused(&["start"]), "invalid function to lscc: start");
        assert_eq!(refused(&[]), "invalid number of arguments to lscc: 0");
    }

    #[tokio::test]
    async fn a_3_peer_reports_lscc_as_not_installed() {
        let (network, bundle, _directory) = started(&Topology::solo(), Options::default(), |_| ());
        let peer = &network.nodes().peers()[0];
        let caller = Caller { called: NAME.to_owned(), signed: Member::user(&bundle, 0).signed(b"proposal") };
        let arguments = [b"getchaincodes".to_vec()];
        let error = crate::system::invoke(peer, None, NAME, &caller, &arguments, None).await.unwrap_err();
        let expected = "could not launch chaincode lscc.syscc: error building chaincode: error building image: failed to get chaincode package for external build: could not get legacy chaincode package 'lscc.syscc': open /";
        assert!(
            error.starts_with(expected) && error.ends_with("/chaincodes/lscc.syscc: no such file or directory"),
            "{error}"
        );
    }
}
