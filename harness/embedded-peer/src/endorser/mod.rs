//! Simulates and endorses proposals.
