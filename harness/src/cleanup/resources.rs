//! What a run has besides its processes and files, such as containers or a namespace.
//!
//! A runtime that makes such resources implements [`Resources`] for the place where they are, and describes
//! how that is read again from a run's record by a [`ResourceKind`]. Which kinds there are is not known here.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::{Aftermath, Leftover};

/// Where a run's resources are, such as a Docker engine.
#[async_trait]
pub trait Resources: fmt::Debug + Send + Sync {
    /// Its kind.
    fn kind(&self) -> &'static ResourceKind;

    /// What a run's record holds of it, for [`ResourceKind::read`].
    fn to_record(&self) -> Value;

    /// Whether a run of a dead harness may be swept from here although this place is not known to be the
    /// right one: it refuses immediately when it is not there.
    fn is_local(&self) -> bool;

    /// Removes everything of the run with this ID, and waits until it is gone. Blocks; may be called
    /// anywhere, also by several processes at the same time.
    ///
    /// It waits for what may still come of the run, and removes that too.
    ///
    /// # Errors
    ///
    /// What could not be removed.
    fn remove(&self, id: &str, aftermath: &Aftermath) -> Result<(), Leftover>;

    /// How a shell removes everything of the run with this ID.
    fn shell_removal(&self, id: &str) -> ShellRemoval;

    /// How many resources there are of runs whose harness is known to have exited, directory or not. `None`
    /// if that cannot be found out.
    async fn count_dead(&self) -> Option<usize> {
        None
    }

    /// Removes them. Returns how many.
    ///
    /// # Errors
    ///
    /// What could not be removed.
    async fn remove_dead(&self) -> Result<usize, Leftover> {
        Ok(0)
    }
}

/// A shell script that removes a run's resources: it fails when some are left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellRemoval {
    /// The script, whose arguments are `$1` and so on.
    pub script: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(&'static str, OsString)>,
}

/// A kind of resources.
#[derive(Debug, Clone, Copy)]
pub struct ResourceKind {
    /// Its member in a run's record.
    pub key: &'static str,
    /// Makes it from the value of that member.
    pub read: fn(&Value) -> Option<Arc<dyn Resources>>,
    /// The place that a run of this user would use now, as far as that is known without asking anybody.
    pub current: fn() -> Option<Arc<dyn Resources>>,
}

/// Whether these are the same place.
pub(super) fn is_same(one: &dyn Resources, other: &dyn Resources) -> bool {
    one.kind().key == other.kind().key && one.to_record() == other.to_record()
}
