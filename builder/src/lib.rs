//! External builder for Hyperledger Fabric chaincode that runs as a service (`CCaaS`).
//!
//! A peer runs the programs `detect`, `build` and `release` of an external builder, one after
//! another, for each chaincode package that is installed on it, and `run` when a build left no
//! connection.json. The functions of the same names here are those programs over paths; the
//! program `ccaas-builder` only reads its command line, calls them, and reports what they say.
//!
//! ```text
//! detect  SRC METADATA          is this package ours?                       detect.rs
//! build   SRC METADATA BLD      read, fill in, check, write connection.json build.rs
//! release BLD RELEASE           hand it to the peer, with CouchDB indexes   release.rs
//! run     BLD RUN_METADATA      never needed: says why it was called        run.rs
//! explain DIR                   all of this, told and not done             explain.rs
//! ```
//!
//! Nothing here opens a socket or starts a process, and nothing but [`commands`], which are for people,
//! reads an environment variable by itself: what a peer sets for its builder comes in as an
//! [`Environment`]. Whatever a package contains
//! is untrusted: it is read with limits, never followed through links, and never panics.
//!
//! The behavior of the peer that this relies on is described in Fabric's documentation
//! ("External Builders and Launchers", "Running Chaincode as an External Service") and in
//! `core/container/externalbuilder` of its source.

pub mod address;
mod build;
#[cfg(feature = "package")]
pub mod commands;
pub mod config;
pub mod connection;
mod detect;
mod environment;
mod error;
mod exit;
pub mod explain;
mod finding;
pub mod indexes;
pub mod install;
mod json;
pub mod metadata;
mod overrides;
#[cfg(feature = "package")]
pub mod package;
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
pub use finding::{Finding, Severity};
pub use overrides::{Override, Overrides};
pub use release::{Released, release};
pub use resolve::{Resolved, resolve};
pub use run::{Refusal, run};
