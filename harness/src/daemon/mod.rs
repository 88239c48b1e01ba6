//! A network that stays: `up` brings it up and goes, `down` ends it, and in between it can be asked and
//! changed.
//!
//! Nodes of this very program need a process to be in, and so does the clean-up of all others. So `up`
//! starts this program once more, in the background, as the network's [daemon](run). Its state
//! directory holds what tools need to use the network, and the socket by which the other commands reach
//! the daemon. When the daemon ends, by whatever, its reaper ends the network and removes the directory.

mod commands;
mod control;
mod description;
mod directory;
mod files;
mod managed_network;
pub(crate) mod options;
mod process;
mod up;

pub(crate) use commands::{down, logs, restart, restore, snapshot, status};
pub(crate) use directory::{is_dead, remove_dead};
pub(crate) use process::run;
pub(crate) use up::up;
