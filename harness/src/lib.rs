//! Makes a Hyperledger Fabric network run, deploys a chaincode to it, checks it, and stops it.
//!
//! [`network::Network`] is what a test of one's own starts and calls; [`run::run`] is the whole way of
//! `e2e` on one screen. What a network is made of comes from
//! [`fabric_network`]; where it runs is known to [`runtime`] alone.

pub mod bundle;
pub mod check;
pub mod cleanup;
pub mod client;
pub mod console;
pub mod couchdb;
pub mod deploy;
pub mod doctor;
pub mod evidence;
pub mod explain;
pub mod interrupt;
pub mod journal;
pub mod network;
pub mod options;
pub mod packaging;
pub mod plan;
mod probe;
pub mod program;
pub mod report;
pub mod run;
pub mod runtime;
pub mod server;
pub mod stay;
pub mod tap;
pub mod wait;
