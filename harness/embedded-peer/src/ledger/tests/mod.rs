//! Tests of the ledger as a whole: against what Fabric's own ledger did, against a model, and rule by rule.

mod fabric;
mod model;
mod rules;
mod support;
