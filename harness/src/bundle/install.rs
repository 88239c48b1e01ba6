//! `install DIR`: puts this program into a directory, for containers that have no shell to do it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// The name under which it is then there.
const PROGRAM: &str = "fabric-harness";

/// The options of `install`.
#[derive(Debug, Clone, clap::Args)]
pub struct InstallOptions {
    /// Directory that receives the program, as `fabric-harness`.
    pub directory: PathBuf,
}

/// The program can't be put there.
#[derive(Debug, thiserror::Error)]
#[error("can't install {}", path.display())]
pub(super) struct InstallError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Copies the program; what had the name before keeps running, whole.
pub(super) fn install(options: &InstallOptions) -> Result<PathBuf, InstallError> {
    let path = options.directory.join(PROGRAM);
    let copy = || {
        let program = std::env::current_exe()?;
        fs::create_dir_all(&options.directory)?;
        let mut staged = tempfile::Builder::new().prefix(".fabric-harness-").tempfile_in(&options.directory)?;
        io::copy(&mut fs::File::open(program)?, &mut staged)?;
        // A node may run as another user than what installs.
        staged.as_file().set_permissions(fs::Permissions::from_mode(0o755))?;
        staged.persist(&path).map_err(|failed| failed.error).map(drop)
    };
    copy().map_err(|source| InstallError { path: path.clone(), source })?;
    Ok(path)
}
