//! External builder for Hyperledger Fabric chaincode as a service (`CCaaS`).
//!
//! For each installed chaincode package, a peer runs the programs `detect`, `build` and `release` of an
//! external builder. [`detect`](detect()), [`build`](build()), [`release`](release()) and [`run`](run())
//! are those programs as functions over paths; the program `ccaas-builder` adds the command line.
//!
//! | command | does |
//! |---|---|
//! | `detect SRC METADATA` | checks the package type |
//! | `build SRC METADATA BLD` | applies the peer's settings, checks and writes connection.json |
//! | `release BLD RELEASE` | releases connection.json and the CouchDB indexes |
//! | `run BLD RUN_METADATA` | reports why the peer called it |
//!
//! ```
//! use ccaas_builder::{Environment, build, detect, release};
//! # let directory = tempfile::tempdir()?;
//! # let root = directory.path();
//! # let (src, metadata) = (root.join("src"), root.join("metadata"));
//! # let (output, released) = (root.join("bld"), root.join("release"));
//! # std::fs::create_dir(&src)?;
//! # std::fs::create_dir(&metadata)?;
//!
//! std::fs::write(metadata.join("metadata.json"), r#"{"type":"ccaas","label":"basic_1.0"}"#)?;
//! std::fs::write(src.join("connection.json"), r#"{"address":"basic:9999"}"#)?;
//!
//! let environment = Environment::from_process();
//! assert_eq!(detect(&src, &metadata, &environment)?.metadata.label, "basic_1.0");
//! let built = build(&src, &metadata, &output, &environment)?;
//! assert_eq!(built.connection.summary(), "basic:9999 without TLS, dial timeout 3s");
//! release(&output, &released)?;
//! assert!(released.join("chaincode/server/connection.json").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The library opens no sockets and starts no processes. Packages are untrusted: files are read with
//! limits and never through links.
//!
//! For the peer's behavior see "External Builders and Launchers" and "Running Chaincode as an External
//! Service" in Fabric's documentation, and `core/container/externalbuilder` in its source.
//!
//! Cargo feature `package` (default): reading and writing packages, and the commands `explain`,
//! `inspect` and `package`.

mod address;
mod build;
#[cfg(feature = "package")]
pub mod commands;
pub mod config;
pub mod connection;
mod detect;
mod environment;
mod error;
mod exit;
mod explain;
mod finding;
pub mod indexes;
pub mod install;
mod json;
pub mod metadata;
mod overrides;
#[cfg(feature = "package")]
pub mod package;
pub mod program;
mod quote;
mod release;
pub mod report;
mod resolve;
mod run;
mod staging;
pub mod template;
pub mod tls;
mod tree;

pub use build::{Built, build};
pub use detect::{Detected, detect};
pub use environment::{Environment, TYPES_VARIABLE};
pub use error::BuilderError;
pub use exit::Exit;
pub use explain::{Explanation, explain};
pub use finding::{Finding, Severity};
pub use overrides::{Override, Overrides};
pub use release::{Released, release};
pub use resolve::{Resolved, resolve};
pub use run::{RunError, run};

/// Compiles the example in the README.
#[cfg(doctest)]
#[cfg(feature = "package")]
#[doc = include_str!("../README.md")]
struct Readme;
