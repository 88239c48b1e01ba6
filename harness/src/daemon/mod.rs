//! Persistent networks: `up` starts one, `down` stops it, and other commands query and change it.
//!
//! Embedded nodes need a process to run in, and all runtimes need one that cleans up. So `up` starts this
//! program again in the background, as the network's [daemon](run). The state directory contains the
//! files that tools need to use the network, and the socket that connects the other commands to the
//! daemon. When the daemon ends for any reason, its reaper stops the network and removes the directory.

mod commands;
mod control;
mod description;
mod directory;
mod files;
mod managed_network;
pub(crate) mod options;
mod process;
mod up;

pub(crate) use commands::{control, down, logs, restore, snapshot, status};
pub(crate) use directory::{is_dead, remove_dead};
pub(crate) use process::run;
pub(crate) use up::up;
