//! One channel's ledger on one peer: state, history, private data, blocks. No sockets, no clock.
