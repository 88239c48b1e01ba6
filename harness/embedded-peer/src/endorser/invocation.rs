//! Runs a system chaincode or a packaged chaincode on a simulation, called by a proposal or by
//! another chaincode (`core/chaincode/chaincode_support.go`).

use std::sync::{Arc, Mutex};

use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{ChaincodeInput, ChaincodeMessage};
use prost::Message as _;

use super::Answer;
use super::host::ProposalHost;
use crate::chaincode::{Call, Executed};
use crate::channel::{ChaincodeInfo, PeerChannel, Runnable, SYSTEM_VERSION, is_system};
use crate::ledger::{SharedSimulation, lock};
use crate::peer::{Peer, distribution};
use crate::policy::SignedData;
use crate::proposal::UnpackedProposal;
use crate::system::{self, Caller};

/// The key that marks a chaincode as initialized (`core/chaincode/lifecycle`).
const INITIALIZED: &str = "\u{0}\u{10ffff}initialized";

/// Runs the chaincode of a proposal.
///
/// # Errors
///
/// Fabric's text for the response.
pub(super) async fn execute(
    peer: &Arc<Peer>,
    channel: Option<&Arc<PeerChannel>>,
    proposal: &Arc<UnpackedProposal>,
) -> Result<Answer, String> {
    let chaincode = &proposal.chaincode;
    let Some(channel) = channel else { return without_channel(peer, proposal).await };
    // Fabric gives these two no simulation because of its locks.
    let is_reader = [system::qscc::NAME, system::cscc::NAME].contains(&chaincode.as_str());
    let mut simulation = channel.ledger.simulate(proposal.transaction_id());
    let state = simulation.state().clone();
    let runnable = channel.find(chaincode, &mut simulation).map_err(|error| {
        let channel = proposal.channel();
        format!("make sure the chaincode {chaincode} has been successfully defined on channel {channel} and try again: {error}")
    })?;
    let version = runnable.version().to_owned();
    let simulation: SharedSimulation = Arc::new(Mutex::new(simulation));
    let failed = |error: String| format!("error in simulation: {error}");
    let invocation = Invocation { peer, channel, proposal, simulation: &simulation };
    let ended = invocation
        .run(chaincode, runnable, proposal.input.clone())
        .await
        .map_err(|error| failed(error.to_text(proposal)))?;
    let Executed { response, event } = Executed::from_message(ended, proposal.transaction_id(), chaincode)
        .map_err(|error| failed(error.to_string()))?;
    if is_reader {
        return Ok(Answer { response, event, simulated: None, version });
    }
    let mut simulated = lock(&simulation).finish().map_err(|error| failed(error.to_string()))?;
    if let Some(private) = simulated.private.take() {
        let id = proposal.transaction_id();
        distribution::distribute(peer, channel, id, &state, private).map_err(failed)?;
    }
    // The event of a failed chaincode is dropped.
    let event = event.filter(|_| response.status < super::FAILURE);
    Ok(Answer { response, event, simulated: Some(simulated), version })
}

/// A call without a channel.
async fn without_channel(peer: &Arc<Peer>, proposal: &Arc<UnpackedProposal>) -> Result<Answer, String> {
    let chaincode = &proposal.chaincode;
    if !is_system(chaincode) {
        return Err(format!(
            "make sure the chaincode {chaincode} has been successfully defined on channel  and try again: could not get channel config for channel ''"
        ));
    }
    let response = system::invoke(peer, None, chaincode, &caller(proposal), &proposal.input.args, None).await.map_err(
        |error| format!("error in simulation: failed to execute transaction {}: {error}", proposal.transaction_id()),
    )?;
    let version = SYSTEM_VERSION.to_owned();
    Ok(Answer { response, event: None, simulated: None, version })
}

fn caller(proposal: &UnpackedProposal) -> Caller {
    Caller {
        called: proposal.chaincode.clone(),
        signed: SignedData {
            message: proposal.message.clone(),
            identity: proposal.creator.clone(),
            signature: proposal.signature.clone(),
        },
    }
}

/// Why a chaincode gave no response.
#[derive(Debug)]
pub(super) enum Failure {
    /// The call is invalid in the current state.
    Invalid(String),
    /// A system chaincode failed to run.
    System(String),
    /// A chaincode failed to run.
    Execute(crate::chaincode::ExecuteError),
}

impl Failure {
    fn to_text(&self, proposal: &UnpackedProposal) -> String {
        let id = proposal.transaction_id();
        match self {
            Self::Invalid(error) => format!("failed to execute transaction {id}: invalid invocation: {error}"),
            Self::System(error) => format!("failed to execute transaction {id}: {error}"),
            Self::Execute(error) => error.to_string(),
        }
    }
}

/// The invocation of one chaincode in a transaction.
pub(super) struct Invocation<'a> {
    pub(super) peer: &'a Arc<Peer>,
    pub(super) channel: &'a Arc<PeerChannel>,
    pub(super) proposal: &'a Arc<UnpackedProposal>,
    pub(super) simulation: &'a SharedSimulation,
}

impl Invocation<'_> {
    /// Runs a chaincode and returns its final message.
    pub(super) async fn run(
        &self,
        chaincode: &str,
        runnable: Runnable,
        input: ChaincodeInput,
    ) -> Result<ChaincodeMessage, Failure> {
        let Runnable::Package { info, package_id } = runnable else {
            if input.is_init {
                return Err(not_to_be_initialized(chaincode));
            }
            let caller = caller(self.proposal);
            let answered =
                system::invoke(self.peer, Some(self.channel), chaincode, &caller, &input.args, Some(self.simulation))
                    .await;
            let response = answered.map_err(Failure::System)?;
            return Ok(ChaincodeMessage {
                r#type: Type::Completed.into(),
                payload: response.encode_to_vec().into(),
                txid: self.proposal.transaction_id().to_owned(),
                channel_id: self.channel.ledger.channel().to_owned(),
                ..ChaincodeMessage::default()
            });
        };
        self.check_initialization(chaincode, &info, input.is_init)?;
        let is_init = input.is_init;
        let call = Call {
            channel: self.channel.ledger.channel().to_owned(),
            transaction_id: self.proposal.transaction_id().to_owned(),
            chaincode: chaincode.to_owned(),
            package_id,
            input: ChaincodeInput { decorations: [].into(), ..input },
            is_init,
            signed_proposal: self.proposal.signed.clone(),
            proposal: self.proposal.proposal.clone(),
            simulation: Arc::clone(self.simulation),
            host: Arc::new(ProposalHost::new(self)),
        };
        self.peer.support.invoke(call).await.map_err(Failure::Execute)
    }

    fn check_initialization(&self, chaincode: &str, info: &ChaincodeInfo, is_init: bool) -> Result<(), Failure> {
        let definition = &info.definition;
        let needs = definition.init_required && {
            let initialized = lock(self.simulation).get_state(chaincode, INITIALIZED);
            let initialized =
                initialized.map_err(|error| Failure::Invalid(format!("could not get 'initialized' key: {error}")))?;
            initialized.is_none_or(|version| version != definition.version.as_bytes())
        };
        if !is_init {
            return if needs {
                Err(Failure::Invalid(format!(
                    "chaincode '{chaincode}' has not been initialized for this version, must call as init first"
                )))
            } else {
                Ok(())
            };
        }
        if !definition.init_required {
            return Err(not_to_be_initialized(chaincode));
        }
        if !needs {
            return Err(Failure::Invalid(format!("chaincode '{chaincode}' is already initialized but called as init")));
        }
        lock(self.simulation)
            .set_state(chaincode, INITIALIZED, definition.version.clone().into_bytes())
            .map_err(|error| Failure::Invalid(format!("could not set 'initialized' key: {error}")))
    }
}

fn not_to_be_initialized(chaincode: &str) -> Failure {
    Failure::Invalid(format!("chaincode '{chaincode}' does not require initialization but called as init"))
}
