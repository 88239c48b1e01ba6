//! README.md of a bundle for operators: the commands, and the purpose of each file.

use std::fmt::Write as _;

use super::{Format, Source, processes};
use crate::render::template::fill;

const COMPOSE: &str = include_str!("templates/README-compose.md");
#[cfg(feature = "kubernetes")]
const KUBERNETES: &str = include_str!("templates/README-kubernetes.md");
const FILES: &str = include_str!("templates/README-files.md");
const COMMON: &str = include_str!("templates/README-common.md");

pub(super) fn readme(source: &Source<'_>) -> String {
    let options = source.options;
    let template = match options.format {
        Format::Compose => COMPOSE,
        #[cfg(feature = "kubernetes")]
        Format::Kubernetes => KUBERNETES,
        Format::Files => FILES,
    };
    let images = &options.images;
    let bundle = source.bundle;
    let mut nodes = String::new();
    for node in &bundle.nodes {
        let ports = node.placement.ports;
        let admin = ports.admin.map(|port| format!(", channel participation {port}")).unwrap_or_default();
        let _ = writeln!(
            nodes,
            "| {} | {} | {}:{}{admin}, operations {} |",
            node.name, node.msp_id, node.placement.host, ports.grpc, ports.operations
        );
    }
    let start = bundle.nodes.iter().map(|node| {
        let command: Vec<&str> =
            std::iter::once(node.program.as_str()).chain(node.arguments.iter().map(String::as_str)).collect();
        let directory = node.directory.display();
        let environment = processes::environment_file(&node.name);
        format!("   $ (set -a; . './{}'; cd '{directory}'; exec {}) &\n", environment.display(), command.join(" "))
    });
    let servers = bundle.servers.iter().map(|server| {
        let environment = processes::environment_file(&processes::server_name(&server.peer));
        format!("   $ (set -a; . './{}'; exec chaincode-sample) &\n", environment.display())
    });
    let channels: Vec<&str> = bundle.channels.iter().map(|channel| channel.name.as_str()).collect();
    let values = [
        ("fabric", options.fabric.clone()),
        ("peer_image", images.peer.clone()),
        ("orderer_image", images.orderer.clone()),
        ("builder_image", images.builder.clone()),
        ("chaincode_image", images.chaincode.clone()),
        ("harness_image", images.harness.clone()),
        ("namespace", options.namespace.clone()),
        ("directory", options.directory.display().to_string()),
        ("data_directory", processes::data_directory(&options.directory).display().to_string()),
        ("nodes", nodes),
        ("start", start.chain(servers).collect()),
        ("channels", channels.join(", ")),
        ("package", source.package_path().display().to_string()),
        ("package_id", options.package.id.clone()),
        ("chaincode", options.package.name.clone()),
    ];
    let common = fill(COMMON, &values);
    let mut all = values.to_vec();
    all.push(("common", common));
    fill(template, &all)
}
