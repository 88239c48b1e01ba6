//! A peer's chaincode side against builders of a few lines of shell and servers that do what a test
//! tells them, over real sockets.

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
