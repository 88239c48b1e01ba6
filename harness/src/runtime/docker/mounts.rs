//! Files of this machine as read-only mounts in containers, and whether an engine sees them.
//!
//! An engine may be on another machine or in a container, and a container's user may be another one: so the idle
//! container of a run looks for a file that only the run's user may read.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::{Mount, MountType};
use bollard::query_parameters::LogsOptionsBuilder;
use futures::StreamExt as _;

use super::DockerRuntime;
use crate::cleanup::Workspace;
use crate::runtime::RuntimeError;

/// How long the container may take to report what it sees.
const BOUND: Duration = Duration::from_secs(3);

/// The directory of what the idle container looks for.
const PLACE: &str = "/fabric-harness";

/// Prints a file, if every other argument is a program, and then is idle. `$0` is the file.
const SCRIPT: &str = r#"
seen=$(cat "$0")
for program in "$@"; do
    [ -x "$program" ] || seen=
done
echo "$seen"
exec sleep 2147483647
"#;

/// A mount for each file in the tree of a container's directory. The directories are made by the engine, so each
/// user may enter them; the working directory can be written to, and nothing in the image is hidden.
pub(super) fn of_tree(tree: &Path, directory: &Path) -> io::Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        let (path, target) = (entry.path(), directory.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            mounts.extend(of_tree(&path, &target)?);
        } else {
            // A link to a program leads elsewhere in the container.
            mounts.push(bind(&path.canonicalize()?, &target));
        }
    }
    Ok(mounts)
}

/// The engine refuses a source that it does not see, unlike in the short form, where it creates a directory.
fn bind(source: &Path, target: &Path) -> Mount {
    Mount {
        source: Some(source.display().to_string()),
        target: Some(target.display().to_string()),
        typ: Some(MountType::BIND),
        read_only: Some(true),
        ..Mount::default()
    }
}

/// What the idle container looks for.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) mounts: Vec<Mount>,
    pub(super) command: Vec<String>,
    contents: String,
}

impl Probe {
    /// A new file in the run's directory, whose name is random, and the programs that containers run.
    pub(super) fn prepare(workspace: &Workspace, programs: &[PathBuf]) -> Result<Self, RuntimeError> {
        let path = workspace.directory().join("seen-by-containers");
        let contents = workspace.id().to_owned();
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(contents.as_bytes()))
            .map_err(|source| RuntimeError::File { path: path.clone(), source })?;
        // A program that does not exist is reported when its tree is written.
        let programs = programs.iter().filter_map(|program| program.canonicalize().ok());
        let sources: Vec<PathBuf> = std::iter::once(path).chain(programs).collect();
        let target = |number: usize| Path::new(PLACE).join(number.to_string());
        let mounts = sources.iter().enumerate().map(|(number, source)| bind(source, &target(number))).collect();
        let targets = (0..sources.len()).map(|number| target(number).display().to_string());
        let command = ["sh", "-c", SCRIPT].map(str::to_owned).into_iter().chain(targets).collect();
        Ok(Self { mounts, command, contents })
    }

    /// Whether the container that was started with these mounts reports that it sees them.
    pub(super) async fn is_seen(&self, runtime: &DockerRuntime, container: &str) -> bool {
        let options = LogsOptionsBuilder::new().stdout(true).follow(true).build();
        let mut stream = runtime.docker.logs(container, Some(options));
        let line = async {
            let mut text = String::new();
            while let Some(Ok(part)) = stream.next().await {
                text.push_str(&part.to_string());
                if text.contains('\n') {
                    break;
                }
            }
            text
        };
        tokio::time::timeout(BOUND, line).await.is_ok_and(|line| line.trim_end() == self.contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_file_of_a_tree_is_mounted_and_a_link_is_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().canonicalize().unwrap();
        let tree = root.join("tree");
        fs::create_dir_all(tree.join("msp/keystore")).unwrap();
        fs::write(tree.join("core.yaml"), "").unwrap();
        fs::write(tree.join("msp/keystore/key"), "").unwrap();
        fs::write(root.join("program"), "").unwrap();
        symlink("../program", tree.join("detect")).unwrap();
        let mounts = of_tree(&tree, Path::new("/etc/node")).unwrap();
        assert!(mounts.iter().all(|mount| mount.read_only == Some(true)));
        let mut places: Vec<_> =
            mounts.into_iter().map(|mount| (mount.target.unwrap(), mount.source.unwrap())).collect();
        places.sort();
        let source = |path: &str| root.join(path).display().to_string();
        let expected = [
            ("/etc/node/core.yaml".to_owned(), source("tree/core.yaml")),
            ("/etc/node/detect".to_owned(), source("program")),
            ("/etc/node/msp/keystore/key".to_owned(), source("tree/msp/keystore/key")),
        ];
        assert_eq!(places, expected);
    }
}
