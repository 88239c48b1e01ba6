//! Tests of the chaincode side of a peer over real sockets, with shell scripts as builders and
//! scripted chaincode servers.

mod builders;
mod certificates;
mod connections;
mod faults;
mod messages;
mod packages;
mod peer;
mod queries;
mod recorded;
mod running;
mod server;
