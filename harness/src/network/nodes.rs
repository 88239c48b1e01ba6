//! The nodes and chaincode servers of a plan: start, deployment, restart and stop.

use super::error::{RunError, unless, warn_of};
use super::preparation::{Deployment, planned_servers, prepare, server_requests};
use crate::check::package_verdict::PackageReport;
use crate::check::{self, Target};
use crate::client::Definition;
use crate::console::error_text;
use crate::console::timeline::Timeline;
use crate::couchdb::Databases;
use crate::deploy::{Administration, DeployError, INSTALL, Package};
use crate::evidence::Evidence;
use crate::interrupt::Interrupt;
use crate::plan::NetworkPlan;
use crate::runtime::{Action, ChaincodeSpec, Running, Runtime, RuntimeError, UnexpectedExit, VARIABLES_FILE};
use crate::server::ServerSource;
use fabric_network::bundle::Bundle;
use fabric_network::topology::{Channel, NodeKind};
use futures::future::try_join_all;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// The step that ends with the answer to the first query.
pub const FIRST_QUERY: &str = "first query";

/// How often a start is tried if another program takes one of the ports that were chosen for it.
const MOST_STARTS: usize = 3;

/// Running nodes and chaincode servers. Dropping it stops them, but leaves the peers' databases in a
/// CouchDB for the next run to remove.
#[derive(Debug)]
pub struct Nodes {
    /// The plan.
    pub plan: NetworkPlan,
    /// The network's files and identities.
    pub bundle: Bundle,
    /// The running nodes and servers.
    pub running: Running,
    deployments: Vec<Deployment>,
    package_report: PackageReport,
    databases: Option<Databases>,
}

/// The result of a stop.
#[derive(Debug, Default)]
pub struct Ended {
    /// Nodes and servers that had exited unexpectedly before.
    pub exits: Vec<UnexpectedExit>,
    /// The complete log of each node and chaincode server.
    pub logs: BTreeMap<String, String>,
    /// Leftovers: what could not be removed.
    pub left: Vec<String>,
}

impl Nodes {
    /// Starts the nodes and servers of the plan and waits until they answer. Adds configuration, packages
    /// and, after a failure, logs to `evidence`. Dropping the future stops everything that was started.
    ///
    /// # Errors
    ///
    /// Why they do not answer. Everything that was started is removed by then.
    pub async fn start(
        plan: &NetworkPlan,
        runtime: &dyn Runtime,
        timeline: &Timeline,
        evidence: &mut Evidence,
        interrupt: &Interrupt,
    ) -> Result<Self, RunError> {
        let databases = if plan.couchdb.is_empty() {
            None
        } else {
            let reaches = |address| runtime.check_couchdb(address);
            let claim = Databases::claim(&plan.couchdb, &plan.topology, plan.timeout, reaches);
            Some(unless(interrupt, timeline.step("claim each CouchDB", claim)).await??)
        };
        let mut attempt = 1;
        let brought_up = loop {
            match Box::pin(bring_up(plan, runtime, timeline, evidence, interrupt)).await {
                Err(RunError::Runtime(error)) if error.is_port_in_use() && attempt < MOST_STARTS => {
                    tracing::debug!("start {attempt}: {}", error_text(&error));
                    timeline.print("another program took a port meanwhile; starting again with other ports");
                    *evidence = Evidence::default();
                    attempt += 1;
                }
                ended => break ended,
            }
        };
        match brought_up {
            Ok((bundle, deployments, package_report, running)) => {
                Ok(Self { plan: plan.clone(), bundle, running, deployments, package_report, databases })
            }
            Err(error) => {
                warn_of(&release(databases, timeline).await);
                Err(error)
            }
        }
    }

    /// Deploys the chaincode to every channel: joins, installs, approves, commits, and waits until the
    /// chaincode answers and every gateway knows its endorsers. No case is called.
    ///
    /// # Errors
    ///
    /// The first step that failed.
    pub async fn deploy(&self, timeline: &Timeline) -> Result<Target, RunError> {
        match self.deploy_steps(timeline).await {
            Ok(target) => Ok(target),
            Err(error) => {
                let is_installed = timeline.steps().iter().any(|step| step.name == INSTALL && !step.failed);
                let commands: &[&str] = if is_installed { &["run"] } else { &["detect", "build", "release"] };
                Err(error.with_builder(self.running.printed_by_builders(commands).await))
            }
        }
    }

    async fn deploy_steps(&self, timeline: &Timeline) -> Result<Target, RunError> {
        let (topology, deployments) = (&self.plan.topology, &self.deployments);
        let connect = Administration::connect(topology, &self.bundle, self.running.nodes(), self.plan.timeout);
        let administration = timeline.step("connect to the nodes", connect).await?.noting(timeline.journal());
        let packages: Vec<&Package> = deployments.iter().map(|deployment| &deployment.package).collect();
        administration.join_and_install_all(topology, &self.bundle, &packages, timeline).await?;
        let everywhere =
            || topology.channels.iter().flat_map(|channel| deployments.iter().map(move |one| (channel, one)));
        let approve = everywhere().map(|(channel, one)| administration.approve(channel, &one.definition, &one.package));
        timeline.step("approve for each organization", try_join_all(approve)).await?;
        let definitions = self.plan.chaincode.definitions();
        let everywhere =
            || topology.channels.iter().flat_map(|channel| definitions.iter().map(move |one| (channel, one)));
        let check = everywhere().map(|(channel, definition)| administration.check_readiness(channel, definition));
        timeline.step("check the commit readiness", try_join_all(check)).await?;
        let commit = everywhere().map(|(channel, definition)| administration.commit(channel, definition));
        timeline.step("commit", try_join_all(commit)).await?;

        let target = target(&self.plan, &administration, &self.bundle)?;
        timeline.step(FIRST_QUERY, target.first_answer()).await.map_err(RunError::FirstQuery)?;
        let known = target.endorsers_are_known();
        timeline.step("wait until the endorsers are known", known).await.map_err(RunError::Endorsers)?;
        Ok(target)
    }

    /// The definition and package of each chaincode server. The first are those of the chaincode under test.
    pub fn packages(&self) -> impl Iterator<Item = (&Definition, &Package)> {
        self.deployments.iter().map(|deployment| (&deployment.definition, &deployment.package))
    }

    /// The report about the user's package; empty if there is none.
    pub fn package_report(&self) -> &PackageReport {
        &self.package_report
    }

    /// The specification of each chaincode server, in the order of the packages.
    pub fn servers(&self) -> impl Iterator<Item = &ChaincodeSpec> {
        self.deployments.iter().map(|deployment| &deployment.server)
    }

    /// Stops the chaincode servers and starts them again.
    ///
    /// # Errors
    ///
    /// The first server that cannot be stopped or started.
    pub async fn restart_chaincodes(&self) -> Result<(), RuntimeError> {
        self.running.control(Action::Restart, Running::EVERY_SERVER).await.map(drop)
    }

    /// Stops and starts every peer, one after the other.
    ///
    /// # Errors
    ///
    /// The first peer that cannot be restarted.
    pub async fn restart_peers(&self) -> Result<(), RuntimeError> {
        for node in self.running.nodes().iter().filter(|node| node.kind == NodeKind::Peer) {
            self.running.restart(&node.name).await?;
        }
        Ok(())
    }

    /// Stops everything and removes it.
    pub async fn stop(self, timeline: &Timeline) -> Ended {
        let exits = self.running.exits().await;
        let logs = self.running.logs().await;
        self.running.record_messages(&logs, timeline.journal()).await;
        let left = timeline.step("stop, and remove everything", self.running.stop()).await.err().unwrap_or_default();
        let mut left: Vec<String> = left.iter().map(error_text).collect();
        left.extend(release(self.databases, timeline).await);
        Ended { exits, logs, left }
    }
}

/// Releases each CouchDB. Returns what could not be removed from them.
async fn release(databases: Option<Databases>, timeline: &Timeline) -> Vec<String> {
    let Some(databases) = databases else { return Vec::new() };
    let removed = timeline.step("remove the channels' databases", databases.release()).await;
    removed.err().unwrap_or_default().iter().map(error_text).collect()
}

async fn bring_up(
    plan: &NetworkPlan,
    runtime: &dyn Runtime,
    timeline: &Timeline,
    evidence: &mut Evidence,
    interrupt: &Interrupt,
) -> Result<(Bundle, Vec<Deployment>, PackageReport, Running), RunError> {
    let planned = planned_servers(plan);
    let requests = server_requests(plan, &planned);
    let place = timeline.step("place the nodes", runtime.place(&plan.topology, &requests));
    let placed = unless(interrupt, place).await??;
    let (bundle, deployments, package_report) =
        timeline.step("render the network and the package", async { prepare(plan, runtime, &placed, planned) }).await?;
    evidence.add_configuration(&bundle);
    for (number, Deployment { package, server, .. }) in deployments.iter().enumerate() {
        let directory = if number == 0 { "package".to_owned() } else { format!("package-of-{}", server.name) };
        evidence.add(format!("{directory}/connection.json"), package.connection.clone());
        match plan.chaincode.own_package() {
            // Not the package itself: the user has it, and it may contain a key.
            Some(own) => evidence.add(format!("{directory}/contents.txt"), own.description.clone()),
            None => evidence.add(format!("{directory}/{}.tar.gz", package.id.replace(':', "-")), package.bytes.clone()),
        }
    }
    let servers: Vec<_> = deployments.iter().map(|deployment| deployment.server.clone()).collect();
    placed.write_server_files(&servers)?;
    for Deployment { package, server, .. } in &deployments {
        if let ServerSource::Address { address, .. } = &server.source
            && let Some(place) = placed.chaincodes.get(&server.name)
        {
            let (seconds, id) = (plan.timeout.as_secs(), &package.id);
            let variables = place.directory.join(VARIABLES_FILE);
            timeline.print(&format!(
                "waiting up to {seconds} s for the chaincode server at {address}: start it with the variables of {}, \
                 CHAINCODE_ID={id}",
                variables.display()
            ));
        }
    }
    let start = timeline.step("start the nodes and the chaincode server", placed.start(&bundle, &servers));
    let running = unless(interrupt, start).await?.map_err(|error| {
        evidence.add_logs(error.logs);
        *error.source
    })?;
    running.description().iter().for_each(|text| timeline.print(text));
    Ok((bundle, deployments, package_report, running))
}

fn target(plan: &NetworkPlan, administration: &Administration, bundle: &Bundle) -> Result<Target, RunError> {
    let channel = |channel: &Channel| {
        Ok(check::Channel {
            name: channel.name.clone(),
            peers: administration.channel_peers(channel).cloned().collect(),
            clients: administration.clients(channel, bundle)?,
            organizations: administration.organizations(channel),
        })
    };
    Ok(Target {
        channels: plan.topology.channels.iter().map(channel).collect::<Result<_, DeployError>>()?,
        chaincode: plan.chaincode.name().to_owned(),
        chaincodes: plan.chaincode.definitions().into_iter().map(|definition| definition.name).collect(),
        init_required: plan.chaincode.init_required,
        couchdb: !plan.couchdb.is_empty(),
        can_restart: plan.server.source.is_ours(),
        timeout: plan.timeout,
        stopped: Mutex::default(),
    })
}
