//! The end of a log, fit for an error message: few lines, bounded, without colors.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// How many lines an error shows.
pub(super) const LINES: usize = 20;

/// How much of a log is read for them.
const BYTES: u64 = 64 * 1024;

/// The longest line that is shown whole.
const LINE_LENGTH: usize = 500;

/// The last lines of a file; empty when it can't be read.
pub(super) fn tail(path: &Path) -> String {
    read_end(path).map(|bytes| last_lines(&String::from_utf8_lossy(&bytes))).unwrap_or_default()
}

fn read_end(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The last lines of a text. A stack trace is cut after its first line, which names the cause: what
/// stands before it says more than where it is.
pub(super) fn last_lines(text: &str) -> String {
    let plain = without_escapes(text);
    let lines: Vec<&str> = plain.lines().filter(|line| !line.trim().is_empty()).collect();
    let trace = lines.iter().position(|line| line.starts_with("goroutine "));
    let lines = &lines[..trace.unwrap_or(lines.len())];
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
    fn only_the_end_of_a_large_file_is_read_and_a_long_line_is_cut() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "x".repeat(200_000) + "\nend").unwrap();
        let lines = tail(file.path());
        assert_eq!(lines.lines().last(), Some("end"));
        assert!(lines.len() < 600, "{}", lines.len());
        assert_eq!(tail(Path::new("/does/not/exist")), "");
    }
}
