//! System chaincodes: cscc, qscc and the way to `_lifecycle`.
