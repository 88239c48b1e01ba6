//! Tests of the complete ledger: against recorded runs of Fabric, against a model, and by rule.

mod fabric;
#[cfg(target_os = "linux")]
mod memory;
mod model;
mod rules;
mod support;
