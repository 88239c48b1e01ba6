//! Uploads programs of this machine into a pod that waits for them, so that no image needs to be built.

use std::io;
use std::path::Path;
use std::time::Duration;

use fabric_network::render::operator::kubernetes::objects::{PROGRAM, RECEIVER, UPLOADED, Upload};
use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::space::Space;
use crate::console::error_text;
use crate::runtime::files::BUILDER_PROGRAMS;

/// How long one upload may take: some megabytes, perhaps to the other end of the world.
const BOUND: Duration = Duration::from_mins(2);

/// How many bytes of an upload are buffered.
const BUFFER: usize = 256 * 1024;

/// How many bytes of an error are read.
const ERROR: u64 = 4096;

/// `$0` is the archive's size, since not every cluster closes the input of a program; `$1` is the directory.
const SCRIPT: &str = r#"head -c "$0" | tar -x -f - -C "$1""#;

/// A `tar` archive to upload. The receiver waits for its last file.
#[derive(Debug, Clone)]
pub(super) struct Archive(Vec<u8>);

impl Archive {
    /// `bin/{detect,build,release,run}`: one program with four names.
    pub(super) fn of_builder(program: &Path) -> io::Result<Self> {
        let [first, others @ ..] = BUILDER_PROGRAMS;
        let first = format!("bin/{first}");
        Self::make(program, &first, |archive| {
            for other in others {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(tar::EntryType::Link);
                header.set_mode(0o755);
                header.set_size(0);
                archive.append_link(&mut header, format!("bin/{other}"), &first)?;
            }
            Ok(())
        })
    }

    /// The program of a chaincode server.
    pub(super) fn of_server(program: &Path) -> io::Result<Self> {
        Self::make(program, PROGRAM, |_| Ok(()))
    }

    fn make(
        program: &Path,
        name: &str,
        more: impl FnOnce(&mut tar::Builder<Vec<u8>>) -> io::Result<()>,
    ) -> io::Result<Self> {
        let bytes = std::fs::read(program)?;
        let mut archive = tar::Builder::new(Vec::with_capacity(bytes.len() + 8192));
        let add = |archive: &mut tar::Builder<Vec<u8>>, name: &str, mode, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_mode(mode);
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, name, bytes)
        };
        add(&mut archive, name, 0o755, &bytes)?;
        more(&mut archive)?;
        add(&mut archive, UPLOADED, 0o644, &[])?;
        archive.into_inner().map(Self)
    }

    /// Uploads it into a pod whose receiver runs. The error is why that failed, or was not confirmed.
    pub(super) async fn upload(&self, space: &Space, pod: &str, to: Upload) -> Result<(), String> {
        let late = || Err(format!("timed out after {} s", BOUND.as_secs()));
        timeout(BOUND, self.send(space, pod, to)).await.unwrap_or_else(|_| late())
    }

    async fn send(&self, space: &Space, pod: &str, to: Upload) -> Result<(), String> {
        let size = self.0.len().to_string();
        let command = ["sh", "-c", SCRIPT, &size, to.directory];
        let streams = AttachParams::default().container(RECEIVER).stdin(true).stdout(false).stderr(true);
        let streams = streams.max_stdin_buf_size(BUFFER);
        let pods = space.all::<Pod>();
        let started = space.ask("run a command in a pod", pods.exec(pod, command, &streams)).await;
        let mut process = started.map_err(|error| error_text(&error))?;
        let (Some(mut input), Some(errors), Some(status)) = (process.stdin(), process.stderr(), process.take_status())
        else {
            return Err("the cluster does not open the command's input".to_owned());
        };
        let send = async {
            input.write_all(&self.0).await?;
            input.shutdown().await
        };
        let mut printed = String::new();
        let mut errors = errors.take(ERROR);
        let (all_of_it, _, status) = tokio::join!(send, errors.read_to_string(&mut printed), status);
        match status {
            Some(status) if status.status.as_deref() == Some("Success") => Ok(()),
            status => {
                let end = status.and_then(|status| status.message).unwrap_or_default();
                let cut = all_of_it.err().map(|error| error.to_string()).unwrap_or_default();
                Err([printed.trim(), &end, &cut]
                    .map(str::to_owned)
                    .into_iter()
                    .filter(|text| !text.is_empty())
                    .collect::<Vec<_>>()
                    .join("; "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_file_of_an_archive_is_the_one_that_the_receiver_waits_for() {
        let scratch = tempfile::tempdir().unwrap();
        let program = scratch.path().join("program");
        std::fs::write(&program, "content").unwrap();
        for (archive, names) in [
            (Archive::of_builder(&program).unwrap(), &["bin/detect", "bin/build", "bin/release", "bin/run"][..]),
            (Archive::of_server(&program).unwrap(), &[PROGRAM]),
        ] {
            let target = tempfile::tempdir().unwrap();
            let mut read = tar::Archive::new(archive.0.as_slice());
            let entries = read.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
            let entries: Vec<String> = entries.collect();
            assert_eq!(entries.last().map(String::as_str), Some(UPLOADED));
            tar::Archive::new(archive.0.as_slice()).unpack(target.path()).unwrap();
            for name in names {
                assert_eq!(std::fs::read_to_string(target.path().join(name)).unwrap(), "content", "{name}");
            }
        }
    }
}
