//! A peer: its channels, its chaincodes, its services.
