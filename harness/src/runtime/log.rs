//! Logs in files: a log, up to a limit, or its last lines for an error message. Both without colors. A log that grows
//! beyond the limit loses its middle on disk too.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};

/// How many lines an error shows.
pub(super) const LINES: usize = 20;

/// How many bytes of a log are read for them.
const BYTES: u64 = 64 * 1024;

/// How many bytes of a whole log are read, and about how many are kept on disk.
pub(super) const LIMIT: usize = 16 * 1024 * 1024;

/// How many of them are the start of a longer log.
const START: u64 = 1024 * 1024;

/// How often a log is checked for its size.
const INTERVAL: Duration = Duration::from_millis(200);

const EXTENSION: &str = ".log";

/// The longest line that is not cut, in characters.
const LINE_LENGTH: usize = 500;

/// The last lines of a file; empty if it cannot be read.
pub(super) fn tail(path: &Path) -> String {
    read_end(path, BYTES).map(|(_, bytes)| last_lines(&String::from_utf8_lossy(&bytes))).unwrap_or_default()
}

/// The name of the log file of a node or server.
pub(super) fn file_name(name: &str) -> String {
    format!("{name}{EXTENSION}")
}

/// The logs in a directory, by the names of nodes and servers.
pub(super) fn all_in(directory: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeMap::new() };
    let logs = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().to_str()?.strip_suffix(EXTENSION)?.to_owned();
        Some((name, whole(&entry.path())))
    });
    logs.collect()
}

/// A log; of one that is longer than [`LIMIT`], its start and its end, and a line between them that says so. A log that
/// cannot be read holds the reason.
pub(super) fn whole(path: &Path) -> String {
    both_ends(path, START, LIMIT as u64 - START)
}

fn both_ends(path: &Path, start: u64, end: u64) -> String {
    let read = || {
        let (skipped, last) = read_end(path, end)?;
        let mut first = Vec::new();
        File::open(path)?.take(start.min(skipped)).read_to_end(&mut first)?;
        io::Result::Ok((skipped - first.len() as u64, first, last))
    };
    match read() {
        Ok((omitted, first, last)) => joined(&first, omitted, &last),
        Err(error) => format!("cannot read the log: {error}\n"),
    }
}

/// The start and the end of a log, and how many bytes between them are omitted.
fn joined(first: &[u8], omitted: u64, last: &[u8]) -> String {
    let plain = |bytes: &[u8]| without_escapes(&String::from_utf8_lossy(bytes));
    if omitted == 0 {
        return plain(&[first, last].concat());
    }
    format!("{}\n({omitted} bytes of the log are omitted)\n{}", plain(first), plain(last))
}

/// A log that is received in parts, of which the middle is dropped beyond a limit.
#[cfg(any(feature = "docker", feature = "kubernetes"))]
#[derive(Debug)]
pub(super) struct Received {
    first: Vec<u8>,
    last: Vec<u8>,
    omitted: u64,
    /// The most bytes of the two ends.
    ends: (usize, usize),
}

#[cfg(any(feature = "docker", feature = "kubernetes"))]
impl Default for Received {
    /// With the limit of [`whole`].
    fn default() -> Self {
        let start = usize::try_from(START).unwrap_or(LIMIT);
        Self::with_ends(start, LIMIT - start)
    }
}

#[cfg(any(feature = "docker", feature = "kubernetes"))]
impl Received {
    fn with_ends(start: usize, end: usize) -> Self {
        Self { first: Vec::new(), last: Vec::new(), omitted: 0, ends: (start, end) }
    }

    /// Adds the next part.
    pub(super) fn add(&mut self, part: &[u8]) {
        let (start, end) = self.ends;
        let (first, rest) = part.split_at(part.len().min(start - self.first.len()));
        self.first.extend_from_slice(first);
        self.last.extend_from_slice(rest);
        // Rarely, because each time moves all of it.
        if self.last.len() > 2 * end {
            self.trim();
        }
    }

    fn trim(&mut self) {
        let excess = self.last.len().saturating_sub(self.ends.1);
        self.last.drain(..excess);
        self.omitted += excess as u64;
    }

    /// The log as [`whole`] returns it.
    pub(super) fn text(mut self) -> String {
        self.trim();
        joined(&self.first, self.omitted, &self.last)
    }
}

/// Keeps the size of a log on disk near [`LIMIT`] while a program appends to it. Never returns, unless the file system
/// cannot free a part of a file.
pub(super) async fn bound(log: File) {
    while free_middle(&log, START, LIMIT as u64 - START).is_ok() {
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Frees the space of what is between the start and the end of a log, whose length stays.
fn free_middle(log: &File, start: u64, end: u64) -> io::Result<()> {
    let middle = log.metadata()?.len().saturating_sub(start + end);
    if middle > 0 {
        fallocate(log, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, start, middle)?;
    }
    Ok(())
}

/// The last bytes, at most `limit`, and the number of bytes before them.
fn read_end(path: &Path, limit: u64) -> io::Result<(u64, Vec<u8>)> {
    let mut file = File::open(path)?;
    let skipped = file.metadata()?.len().saturating_sub(limit);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok((skipped, bytes))
}

/// The last lines of a text. The stack trace of a panic is cut, since the lines before it name the cause. A stack
/// trace that the program survived is not cut, since the cause of the exit comes after it.
pub(crate) fn last_lines(text: &str) -> String {
    let plain = without_escapes(text);
    let lines: Vec<&str> = plain.lines().filter(|line| !line.trim().is_empty()).collect();
    let is_fatal = |line: &&str| line.starts_with("panic: ") || line.starts_with("fatal error: ");
    let end = lines.iter().rposition(is_fatal).and_then(|panic| {
        let trace = lines[panic..].iter().position(|line| line.starts_with("goroutine "))?;
        Some(panic + trace)
    });
    let lines = &lines[..end.unwrap_or(lines.len())];
    let shown = &lines[lines.len().saturating_sub(LINES)..];
    shown.iter().map(|line| shortened(line)).collect::<Vec<_>>().join("\n")
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(LINE_LENGTH) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line.to_owned(),
    }
}

/// Removes the terminal's escape sequences (colors) and other control characters.
pub(super) fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                // CSI sequences end with a letter; others are one character long.
                if characters.next() == Some('[') {
                    characters.by_ref().find(|c| ('\u{40}'..='\u{7e}').contains(c));
                }
            }
            '\n' | '\t' => plain.push(character),
            character if character.is_control() => {}
            character => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_without_colors_and_blank_lines() {
        let text: Vec<String> = (1..=30).map(|n| format!("\u{1b}[34;1mline\u{1b}[0m {n}\r\n\n")).collect();
        let lines = last_lines(&text.concat());
        assert_eq!(lines.lines().count(), LINES);
        assert!(lines.starts_with("line 11\n") && lines.ends_with("line 30"), "{lines}");
    }

    #[test]
    fn a_stack_trace_does_not_push_the_cause_out() {
        let trace = "main.f()\n".repeat(100);
        let lines = last_lines(&format!("panic: no MSP\n\ngoroutine 1 [running]:\n{trace}"));
        assert_eq!(lines, "panic: no MSP");
    }

    #[test]
    fn a_stack_trace_that_was_survived_does_not_hide_what_came_after() {
        let survived = "recovered from: boom\ngoroutine 7 [running]:\nmain.f()\n";
        let lines = last_lines(&format!("{survived}no space left on device\n"));
        assert!(lines.ends_with("main.f()\nno space left on device"), "{lines}");
        let lines = last_lines(&format!("{survived}panic: no MSP\n[signal]\n\ngoroutine 1 [running]:\nmain.g()\n"));
        assert!(lines.ends_with("main.f()\npanic: no MSP\n[signal]"), "{lines}");
    }

    #[test]
    fn a_log_longer_than_the_limit_is_its_start_and_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(file_name("peer0.org1"));
        fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(both_ends(&path, 2, 4), "on\n(2 bytes of the log are omitted)\ntwo\n");
        for (start, end) in [(4, 4), (0, 8), (8, 2), (100, 0)] {
            assert_eq!(both_ends(&path, start, end), "one\ntwo\n");
        }
        fs::write(directory.path().join("stray"), "").unwrap();
        assert_eq!(all_in(directory.path()), [("peer0.org1".to_owned(), "one\ntwo\n".to_owned())].into());
        assert!(whole(Path::new("/does/not/exist")).starts_with("cannot read the log: No such file"));
    }

    #[test]
    fn a_received_log_has_both_ends() {
        let received = |parts: &[&str]| {
            let mut log = Received::with_ends(2, 3);
            for part in parts {
                log.add(part.as_bytes());
            }
            log.text()
        };
        assert_eq!(received(&["a", "bcde"]), "abcde");
        for parts in [&["abcdefgh"][..], &["abcd", "efg", "h"], &["a", "b", "c", "d", "e", "f", "g", "h"]] {
            assert_eq!(received(parts), "ab\n(3 bytes of the log are omitted)\nfgh");
        }
    }

    #[test]
    fn the_middle_of_a_long_log_takes_no_space() {
        use std::os::unix::fs::MetadataExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peer.log");
        let (start, middle, end) = ("a".repeat(8192), "b".repeat(1 << 20), "c".repeat(8192));
        fs::write(&path, [start.as_str(), &middle, &end].concat()).unwrap();
        let log = fs::OpenOptions::new().append(true).open(&path).unwrap();
        free_middle(&log, 8192, 8192).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), 2 * 8192 + (1 << 20));
        assert!(metadata.blocks() * 512 < 1 << 19, "{} bytes are kept", metadata.blocks() * 512);
        let omitted = format!("\n({} bytes of the log are omitted)\n", middle.len());
        assert_eq!(both_ends(&path, 8192, 8192), [start, omitted, end].concat());
    }

    #[test]
    fn only_the_end_of_a_large_file_is_read_and_a_long_line_is_cut() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "x".repeat(200_000) + "\nend").unwrap();
        let lines = tail(file.path());
        assert_eq!(lines.lines().last(), Some("end"));
        assert!(lines.len() < 600, "{}", lines.len());
        assert_eq!(tail(Path::new("/does/not/exist")), "");
    }
}
