//! The labels of what a run makes outside of this machine's processes and files, such as containers: by them
//! it is found again, and known to be of a run whose harness has exited.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::path::Path;

use super::record::Owner;
use super::workspace::{self, Workspace};

/// Label with the run's ID, on everything that a run makes in an engine or cluster.
pub const RUN_LABEL: &str = "fabric-harness.run";
const DIRECTORY_LABEL: &str = "fabric-harness.directory";
const PLACE_LABEL: &str = "fabric-harness.place";
const PROCESS_LABEL: &str = "fabric-harness.process";
const STARTED_LABEL: &str = "fabric-harness.started";

/// The label of everything of a run, `NAME=VALUE`.
pub fn run_label(id: &str) -> String {
    format!("{RUN_LABEL}={id}")
}

pub(super) fn labels(workspace: &Workspace, owner: &Owner) -> Vec<(String, String)> {
    [
        (RUN_LABEL, workspace.id().to_owned()),
        (DIRECTORY_LABEL, workspace.directory().display().to_string()),
        (PLACE_LABEL, owner.place.clone()),
        (PROCESS_LABEL, owner.process.to_string()),
        (STARTED_LABEL, owner.started.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Whether the harness is known to have exited that made what has these labels. Nothing is known of one on
/// another machine, or in another process namespace.
pub fn is_dead<S: BuildHasher>(labels: &HashMap<String, String, S>) -> bool {
    let label = |name: &str| labels.get(name).map(String::as_str).unwrap_or_default();
    let owner = Owner {
        place: label(PLACE_LABEL).to_owned(),
        process: label(PROCESS_LABEL).parse().unwrap_or_default(),
        started: label(STARTED_LABEL).parse().unwrap_or_default(),
    };
    owner.is_known_dead() && !workspace::lives(Path::new(label(DIRECTORY_LABEL)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleanup::made_in;

    #[test]
    fn a_container_of_another_place_or_a_living_harness_is_not_dead() {
        let parent = tempfile::tempdir().unwrap();
        let workspace = made_in(parent.path());
        let this = Owner::this();
        let dead = Owner { started: this.started + 1, ..this.clone() };
        let elsewhere = Owner { place: "elsewhere".to_owned(), ..dead.clone() };
        let [this, dead, elsewhere] =
            [this, dead, elsewhere].map(|owner| labels(&workspace, &owner).into_iter().collect::<HashMap<_, _>>());
        assert!(!is_dead(&dead), "the lock of its directory is held");
        drop(workspace);
        assert!(is_dead(&dead));
        assert!(!is_dead(&this), "the process lives");
        assert!(!is_dead(&elsewhere));
    }
}
