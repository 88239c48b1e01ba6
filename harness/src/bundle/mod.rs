//! `bundle`, and the small commands that its output uses: `deploy`, `ready` and `install`.
//!
//! `bundle` renders the network that the runtimes start, in the form that an operator takes. It
//! starts nothing and touches nothing but its output.

mod deploy;
mod identities;
mod install;
mod output;
mod ready;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ccaas_builder::connection::Connection;
use ccaas_builder::package::{self, PackageError, package_id};
use clap::ValueEnum;
use fabric_network::chaincode::ChaincodeTls;
use fabric_network::identity::Validity;
use fabric_network::release::Release;
use fabric_network::render::operator::{Format, Images, OperatorOptions, PackageFile, Rendered, render_for_operator};
use fabric_network::render::{RenderError, RenderOptions};
use fabric_network::topology::Consensus;
use fabric_primitives::names;

pub(crate) use deploy::DeployOptions;
pub(crate) use identities::IdentitiesError;
pub(crate) use install::InstallOptions;
pub(crate) use output::OutputError;
pub(crate) use ready::ReadyOptions;

use crate::console::{ExitCode, error_text, print};
use crate::options::{FabricOptions, image};
use crate::plan::{OptionError, resolve_fabric, resolve_topology};
use crate::server::TlsMode;

/// The options of `bundle`.
#[derive(Debug, Clone, clap::Args)]
pub struct BundleOptions {
    /// What will run the network: Compose, Kubernetes, or programs on one machine (files).
    #[arg(long, value_enum)]
    pub format: FormatChoice,
    /// Directory to write, new or empty. It appears whole or not at all.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Network to render: solo, duo, bft, or a YAML file.
    #[arg(long, value_name = "solo|duo|bft|FILE", default_value = "solo")]
    pub topology: String,
    /// Fabric version, the tag of the images: 2.5.16, 3.1.5, … Default: 3.1.5; a release line (2.5,
    /// 3.1) is the newest version of it that this was tested with.
    #[arg(long, value_name = "VERSION")]
    pub fabric: Option<String>,
    /// TLS between the peers and their chaincode servers. Everything else always uses TLS.
    #[arg(long, value_enum, default_value_t)]
    pub tls: TlsMode,
    /// Use the identities of a former bundle, or your own certificate authorities, in the same layout;
    /// what is missing is issued.
    #[arg(long, value_name = "DIR")]
    pub identities: Option<PathBuf>,
    /// Replace a former bundle in the output directory. Anything else is never replaced.
    #[arg(long)]
    pub force: bool,
    /// How long new certificates are valid, in days; no longer than their authority.
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub days: u32,
    /// The chaincode's name.
    #[arg(long, value_name = "NAME", default_value = "asset-transfer")]
    pub chaincode: String,
    /// Image of the chaincode server.
    #[arg(long, value_name = "IMAGE", default_value = concat!("chaincode-sample:", env!("CARGO_PKG_VERSION")), value_parser = image)]
    pub chaincode_image: String,
    /// Image of the external builder.
    #[arg(long, value_name = "IMAGE", default_value = concat!("ccaas-builder:", env!("CARGO_PKG_VERSION")), value_parser = image)]
    pub builder_image: String,
    /// Image of this program, for deployment and readiness checks.
    #[arg(long, value_name = "IMAGE", default_value = concat!("fabric-harness:", env!("CARGO_PKG_VERSION")), value_parser = image)]
    pub harness_image: String,
    /// Kubernetes: the namespace.
    #[arg(long, value_name = "NAME", default_value = "fabric", value_parser = namespace)]
    pub namespace: String,
}

/// What will run the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatChoice {
    /// A Compose file.
    Compose,
    /// A kustomize base with overlays.
    #[cfg(feature = "kubernetes")]
    Kubernetes,
    /// Environment files and systemd units for the programs of one machine.
    Files,
}

/// There is no bundle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    /// A mistake in an option.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The release does not know the consensus.
    #[error("--topology {topology}: BFT ordering needs Fabric 3, but --fabric is {fabric}")]
    NoBft {
        /// What was given.
        topology: String,
        /// The version.
        fabric: String,
    },
    /// The identities can't be read.
    #[error(transparent)]
    Identities(#[from] IdentitiesError),
    /// The network can't be rendered.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The package can't be made.
    #[error("--chaincode {name}")]
    Package {
        /// The chaincode's name.
        name: String,
        /// Why not.
        #[source]
        source: PackageError,
    },
    /// The directory can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// A namespace is a DNS label.
fn namespace(text: &str) -> Result<String, String> {
    names::dns_label(text).map_err(|invalid| invalid.to_string()).map(|()| text.to_owned())
}

/// Runs the command and returns its exit code.
pub(crate) fn bundle(options: &BundleOptions) -> ExitCode {
    match write_bundle(options) {
        Ok(rendered) => {
            let (nodes, files) = (rendered.bundle.nodes.len(), rendered.files.len());
            let out = options.out.display();
            print(format_args!("{out}: {files} files, {nodes} nodes. Go on with {out}/README.md"));
            if std::env::current_dir().is_err() {
                print("this directory was replaced by a new one: enter it again, cd \"$PWD\"");
            }
            ExitCode::Passed
        }
        Err(error) => failed(&error),
    }
}

/// `deploy`.
pub(crate) async fn deploy(options: &DeployOptions) -> ExitCode {
    match deploy::deploy(options).await {
        Ok(()) => ExitCode::Passed,
        Err(error) => failed(&error),
    }
}

/// `ready`: 0 when it is, 1 when it is not.
pub(crate) async fn ready(options: &ReadyOptions) -> ExitCode {
    match ready::ready(options).await {
        Ok(()) => ExitCode::Passed,
        Err(error) => {
            eprintln!("not ready: {}", error_text(&error));
            ExitCode::Failed
        }
    }
}

/// `install`.
pub(crate) fn install(options: &InstallOptions) -> ExitCode {
    match install::install(options) {
        Ok(path) => {
            print(format_args!("install: {}", path.display()));
            ExitCode::Passed
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("error: {}", error_text(error));
    ExitCode::CouldNotRun
}

/// Renders and writes a bundle.
///
/// # Errors
///
/// [`BundleError`]; then nothing was written or replaced.
pub(crate) fn write_bundle(options: &BundleOptions) -> Result<Rendered, BundleError> {
    let target = output::Target::check(&options.out, options.force)?;
    let rendered = render(options, target.path())?;
    target.write(&rendered.files)?;
    Ok(rendered)
}

/// The files of a bundle that will be at this absolute path.
fn render(options: &BundleOptions, directory: &Path) -> Result<Rendered, BundleError> {
    let fabric = FabricOptions { fabric: options.fabric.clone(), fabric_bin: None };
    let fabric = resolve_fabric(&fabric)?;
    let release = fabric.as_ref().map(|fabric| fabric.release).unwrap_or_default();
    let tag = pinned(fabric.map(|fabric| fabric.tag), release);
    names::chaincode(&options.chaincode).map_err(|invalid| OptionError::Name { option: "--chaincode", invalid })?;
    let topology = resolve_topology(&options.topology)?;
    if topology.ordering.consensus == Consensus::Bft && !release.has_bft() {
        return Err(BundleError::NoBft { topology: options.topology.clone(), fabric: tag });
    }
    let identities = options.identities.as_deref().map(identities::read).transpose()?;
    let lifetime = Duration::from_hours(24 * u64::from(options.days));
    let validity = Validity::starting(SystemTime::now(), lifetime);
    let operator = OperatorOptions {
        format: match options.format {
            FormatChoice::Compose => Format::Compose,
            #[cfg(feature = "kubernetes")]
            FormatChoice::Kubernetes => Format::Kubernetes,
            FormatChoice::Files => Format::Files,
        },
        render: RenderOptions { identities, ..RenderOptions::new(release, validity) },
        tls: match options.tls {
            TlsMode::Off => ChaincodeTls::Off,
            TlsMode::Tls => ChaincodeTls::Server,
            TlsMode::Mtls => ChaincodeTls::Mutual,
        },
        images: Images {
            peer: format!("hyperledger/fabric-peer:{tag}"),
            orderer: format!("hyperledger/fabric-orderer:{tag}"),
            builder: options.builder_image.clone(),
            chaincode: options.chaincode_image.clone(),
            harness: options.harness_image.clone(),
        },
        fabric: tag,
        package: make_package(&options.chaincode, options.tls)
            .map_err(|source| BundleError::Package { name: options.chaincode.clone(), source })?,
        owner: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        namespace: options.namespace.clone(),
        directory: directory.to_owned(),
    };
    Ok(render_for_operator(&topology, &operator)?)
}

/// A tag that never means another image: of a release line, the version that this was tested with.
fn pinned(tag: Option<String>, release: Release) -> String {
    match tag {
        Some(tag) if tag != release.line() => tag.trim_start_matches('v').to_owned(),
        _ => release.tested_version().to_owned(),
    }
}

/// The package for every peer: which server, what to trust and what to show is each peer's own matter,
/// so it has nothing that could ever change but the kind of connection.
fn make_package(name: &str, tls: TlsMode) -> Result<PackageFile, PackageError> {
    let connection = Connection {
        address: "set-by-the-peer:9999".to_owned(),
        dial_timeout: "10s".to_owned(),
        tls_required: tls != TlsMode::Off,
        client_auth_required: tls == TlsMode::Mtls,
        ..Connection::default()
    };
    let version = "1.0";
    let label = format!("{name}_{version}");
    let content = package::Package {
        label: label.clone(),
        kind: "ccaas".to_owned(),
        connection,
        extra_files: std::collections::BTreeMap::new(),
    };
    let bytes = content.to_bytes()?;
    let id = package_id(&label, &bytes);
    Ok(PackageFile { name: name.to_owned(), version: version.to_owned(), label, id, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_never_means_another_image() {
        for (given, release, tag) in [
            (None, Release::V3_1, "3.1.5"),
            (Some("3.1"), Release::V3_1, "3.1.5"),
            (Some("2.5"), Release::V2_5, "2.5.16"),
            (Some("v2.5.12"), Release::V2_5, "2.5.12"),
            (Some("3.1.4"), Release::V3_1, "3.1.4"),
        ] {
            assert_eq!(pinned(given.map(str::to_owned), release), tag);
        }
    }

    #[test]
    fn a_namespace_is_a_dns_label() {
        for wrong in ["", "Fabric", "a.b", "-a", "a-", &"a".repeat(64)] {
            assert!(namespace(wrong).is_err(), "{wrong}");
        }
        assert_eq!(namespace("fabric-2"), Ok("fabric-2".to_owned()));
    }

    /// What identifies a package is in its bytes, so nothing that changes may be in them.
    #[test]
    fn a_package_holds_no_certificate() {
        let package = make_package("asset-transfer", TlsMode::Mtls).unwrap();
        assert!(!String::from_utf8_lossy(&package.bytes).contains("BEGIN"));
        assert_eq!(package.id, make_package("asset-transfer", TlsMode::Mtls).unwrap().id);
    }
}
