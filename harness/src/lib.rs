//! Makes a Hyperledger Fabric network run, deploys a chaincode to it, checks it, and stops it.
//!
//! [`network::Network`] is what a test of one's own starts and calls; [`run::run`] is the whole way of
//! `e2e` on one screen. What a network is made of comes from
//! [`fabric_network`]; where it runs is known to [`runtime`] alone.
//!
//! The modules are listed in layers, the lowest first: a module uses those of its own and of lower
//! layers, and a test of the repository (`xtask/tests/it/layers.rs`) checks it.

// The terminal and what is recorded of a run.
pub mod console;
pub mod evidence;
pub mod interrupt;
pub mod journal;
pub mod wait;

// What a runtime is made of.
pub mod cleanup;
pub mod client;
pub mod server;
pub mod tap;

pub mod runtime;

// What is done with a network that runs.
pub mod check;
pub mod couchdb;
pub mod deploy;
pub mod explain;

// What is asked for.
pub mod options;
pub mod plan;

pub mod network;

// The commands.
pub mod bundle;
pub mod daemon;
pub mod doctor;
pub mod packaging;
mod probe;
pub mod run;

pub mod report;

pub mod program;
