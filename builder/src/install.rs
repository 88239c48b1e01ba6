//! `install DIR`: copies this program under the names that a peer calls, for init containers and
//! images without a shell.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::BuilderError;

/// The programs of an external builder, in the order of a peer's calls.
pub const PROGRAMS: [&str; 4] = ["detect", "build", "release", "run"];

/// Copies `program` to `DIR/bin/` as one file with the names [`PROGRAMS`], replacing existing files.
/// Use `DIR` as the `path` of an external builder in core.yaml.
///
/// # Errors
/// [`BuilderError`] if a file cannot be read or written. Each name then is the old file or the complete
/// new one.
pub fn install(program: &Path, directory: &Path) -> Result<PathBuf, BuilderError> {
    let bin = directory.join("bin");
    fs::create_dir_all(&bin).map_err(BuilderError::write(&bin))?;
    let staged = bin.join(".ccaas-builder.partial");
    let installed =
        copy(program, &staged).and_then(|()| PROGRAMS.iter().try_for_each(|name| link(&staged, &bin.join(name))));
    let _ = fs::remove_file(&staged);
    installed.map(|()| bin)
}

fn copy(program: &Path, staged: &Path) -> Result<(), BuilderError> {
    let mut from = fs::File::open(program).map_err(BuilderError::read(program))?;
    let _ = fs::remove_file(staged);
    let options = OpenOptions::new().write(true).create_new(true).mode(0o755).open(staged);
    let mut to = options.map_err(BuilderError::write(staged))?;
    io::copy(&mut from, &mut to).map_err(BuilderError::write(staged))?;
    // Not subject to the umask: the peer may run as another user than the init container.
    to.set_permissions(Permissions::from_mode(0o755)).map_err(BuilderError::write(staged))
}

/// Links the staged file as `target`, replacing it atomically.
fn link(staged: &Path, target: &Path) -> Result<(), BuilderError> {
    let named = target.with_extension("partial");
    let _ = fs::remove_file(&named);
    fs::hard_link(staged, &named)
        .or_else(|_| fs::copy(staged, &named).map(|_| ()))
        .and_then(|()| fs::rename(&named, target))
        .map_err(BuilderError::write(target))
}
