//! Tests of the harness from outside: as a library, and as a program.

#![allow(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

mod broken;
mod builder;
mod bundle;
mod compose;
mod conformance;
mod couchdb;
mod daemon;
mod docker;
mod doctor;
mod e2e;
mod embedded;
mod endings;
mod engine_proxy;
mod engines;
mod fake;
mod hostile;
mod interop;
mod killed;
mod kubernetes;
mod messages;
mod network;
mod options;
mod own;
mod own_package;
mod per_peer;
mod process;
mod progress;
mod restart;
mod self_contained;
