//! The Docker engine, its clock, and Fabric's images in it, for `doctor`.

use std::time::SystemTime;

use bollard::Docker;
use fabric_network::identity::Validity;

use super::engine::Engine;
use super::images::is_obtainable;
use crate::console::error_text;
use crate::runtime::{Finding, ORDERER_IMAGE, PEER_IMAGE};

pub(super) async fn look(tag: &str) -> Vec<Finding> {
    let engine = Engine::from_environment();
    let docker = match engine.connect().await {
        Ok(docker) => docker,
        Err(error) => {
            let text = format!("{}; without it there is no docker runtime", error_text(&error));
            return vec![Finding::warning("engine", text)];
        }
    };
    let (mut findings, images) = tokio::join!(of_engine(&engine, &docker), images(&engine, &docker, tag));
    findings.extend(images);
    findings
}

async fn of_engine(engine: &Engine, docker: &Docker) -> Vec<Finding> {
    let asked =
        tokio::join!(engine.ask("show its version", docker.version()), engine.ask("show its state", docker.info()));
    let (version, info) = match asked {
        (Ok(version), Ok(info)) => (version, info),
        (Err(error), _) | (_, Err(error)) => return vec![Finding::warning("engine", error_text(&error))],
    };
    let known = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
    let name = format!("{} at {}, {} {}", known(version.version), engine.uri(), known(version.os), known(version.arch));
    let mut findings = vec![Finding::ok("engine", name)];
    let format = &time::format_description::well_known::Rfc3339;
    let its = info.system_time.and_then(|text| time::OffsetDateTime::parse(&text, format).ok());
    if let Some(its) = its {
        findings.push(clock(its.into(), SystemTime::now()));
    }
    findings
}

/// Certificates are issued by the clock of this machine, and verified by that of the engine.
fn clock(its: SystemTime, ours: SystemTime) -> Finding {
    let apart = its.duration_since(ours).unwrap_or_else(|error| error.duration());
    let seconds = apart.as_secs();
    if apart > Validity::BACK_DATING {
        let text = format!(
            "the engine's differs from this machine's by {seconds} s: certificates will not be valid; set one of the two"
        );
        return Finding::problem("clock", text);
    }
    Finding::ok("clock", format!("the engine's differs from this machine's by {seconds} s"))
}

async fn images(engine: &Engine, docker: &Docker, tag: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in [PEER_IMAGE, ORDERER_IMAGE] {
        let image = format!("{name}:{tag}");
        let Ok(found) = engine.ask("look for an image", docker.inspect_image(&image)).await else {
            continue;
        };
        let digests = found.repo_digests.unwrap_or_default();
        let digest = digests.iter().find_map(|digest| digest.split_once('@')).map(|(_, digest)| digest.to_owned());
        let digest = digest.or(found.id).unwrap_or_else(|| "without a digest".to_owned());
        let built_for = found.architecture.unwrap_or_else(|| "unknown".to_owned());
        let text = format!("{image} {digest}, {built_for}");
        let finding = if is_ours(&built_for) {
            Finding::ok("image", text)
        } else {
            let machine = std::env::consts::ARCH;
            let fix = "pull the image for this architecture, or builder and chaincode will not run in it";
            Finding::warning("image", format!("{text}, and this machine is {machine}; {fix}"))
        };
        findings.push(finding);
    }
    if findings.len() < 2 {
        findings.push(match is_obtainable(tag).await {
            Ok(what) => Finding::ok("image", what),
            Err(error) => Finding::warning("image", error_text(&error)),
        });
    }
    findings
}

/// Whether the engine's name of an architecture means that of this program.
fn is_ours(architecture: &str) -> bool {
    let ours = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    architecture == ours
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::finding::Level;
    use std::time::Duration;

    #[test]
    fn clocks_may_differ_by_as_much_as_certificates_are_dated_back() {
        let now = SystemTime::now();
        for (apart, level) in [(0, Level::Ok), (299, Level::Ok), (301, Level::Problem)] {
            let apart = Duration::from_secs(apart);
            assert_eq!(clock(now + apart, now).level, level, "{apart:?} ahead");
            assert_eq!(clock(now - apart, now).level, level, "{apart:?} behind");
        }
    }
}
