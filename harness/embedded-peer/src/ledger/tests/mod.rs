//! Tests of the complete ledger: against recorded runs of Fabric, against a model, and by rule.

mod fabric;
mod model;
mod rules;
mod support;
