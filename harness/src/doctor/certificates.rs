//! Certificates below a directory: whether they are valid, and for how long.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ccaas_builder::tls::{Certificate, Validity, certificates};

use super::Finding;

/// Certificates that expire within this time are reported.
const SOON: Duration = Duration::from_hours(30 * 24);

/// The most files that are looked at.
const MOST_FILES: usize = 10_000;

/// The most bytes of a file with certificates.
const LIMIT: u64 = 1024 * 1024;

/// The most bad ones that get a line each.
const MOST_LINES: usize = 10;

/// Those below the directory that was given, or else of the network that stays, if there is one.
pub(super) fn look(given: Option<&Path>, state: &Path) -> Vec<Finding> {
    match given {
        Some(directory) if directory.is_dir() => below(directory, SystemTime::now()),
        Some(other) => vec![Finding::problem("certificates", format!("{}: not a directory", other.display()))],
        None if state.is_dir() => below(state, SystemTime::now()),
        None => Vec::new(),
    }
}

fn below(directory: &Path, now: SystemTime) -> Vec<Finding> {
    let (mut count, mut ends, mut bad) = (0, None::<String>, Vec::new());
    let (files, all) = files(directory);
    for path in files {
        for certificate in read(&path) {
            count += 1;
            bad.extend(judge(&certificate, &path, now));
            let end = certificate.not_after();
            if ends.as_ref().is_none_or(|first| end < *first) {
                ends = Some(end);
            }
        }
    }
    let more = bad.len().saturating_sub(MOST_LINES);
    bad.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let level = bad.first().map(|finding| finding.level);
    bad.truncate(MOST_LINES);
    if let (Some(level), 1..) = (level, more) {
        bad.push(Finding { level, what: "certificates", text: format!("and {more} more of these") });
    }
    if !all {
        let text = format!("only the first {MOST_FILES} files in {} were looked at", directory.display());
        bad.push(Finding::warning("certificates", text));
    }
    if bad.is_empty() {
        let place = directory.display();
        bad.push(match ends {
            Some(ends) => Finding::ok("certificates", format!("{count} in {place}, the first ends {ends}")),
            None => Finding::warning("certificates", format!("none in {place}")),
        });
    }
    bad
}

fn judge(certificate: &Certificate, path: &Path, now: SystemTime) -> Option<Finding> {
    let place = path.display();
    match (certificate.validity(now), certificate.validity(now + SOON)) {
        (Validity::Expired(end), _) => {
            Some(Finding::problem("certificates", format!("{place}: expired {end}; issue a new one")))
        }
        (Validity::NotYet(begin), _) => {
            Some(Finding::problem("certificates", format!("{place}: not valid before {begin}; set the clock")))
        }
        (Validity::Valid, Validity::Expired(end)) => {
            Some(Finding::warning("certificates", format!("{place}: expires {end}; issue a new one in time")))
        }
        _ => None,
    }
}

fn read(path: &Path) -> Vec<Certificate> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LIMIT).read_to_end(&mut bytes));
    if read.is_err() || !bytes.windows(16).any(|window| window == b"BEGIN CERTIFICAT") {
        return Vec::new();
    }
    certificates(&String::from_utf8_lossy(&bytes)).unwrap_or_default()
}

/// The files that may have certificates, no link followed, and whether these are all.
fn files(directory: &Path) -> (Vec<PathBuf>, bool) {
    let (mut found, mut seen, mut directories) = (Vec::new(), 0, vec![directory.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MOST_FILES {
                return (found, false);
            }
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            let is_named =
                path.extension().is_some_and(|end| ["crt", "pem", "cer", "cert"].iter().any(|it| end == *it));
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() && is_named {
                found.push(path);
            }
        }
    }
    (found, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn what_has_ended_and_what_ends_soon_is_reported() {
        let scratch = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let at = |days: i64| time::OffsetDateTime::from(now) + time::Duration::days(days);
        let mut parameters = rcgen::CertificateParams::new(vec!["peer0".to_owned()]).unwrap();
        (parameters.not_before, parameters.not_after) = (at(-10), at(100));
        let pem = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
        std::fs::create_dir(scratch.path().join("deep")).unwrap();
        std::fs::write(scratch.path().join("deep/peer.crt"), pem).unwrap();
        std::fs::write(scratch.path().join("junk.pem"), b"-----BEGIN CERTIFICATE-----\n\xff").unwrap();

        let day = Duration::from_hours(24);
        for (after, level, text) in [
            (Duration::ZERO, Level::Ok, "1 in "),
            (80 * day, Level::Warning, "peer.crt: expires "),
            (101 * day, Level::Problem, "peer.crt: expired "),
        ] {
            let found = below(scratch.path(), now + after);
            assert_eq!((found.len(), found[0].level), (1, level), "{found:?}");
            assert!(found[0].text.contains(text), "{found:?}");
        }
        assert_eq!(below(scratch.path(), now - 11 * day)[0].level, Level::Problem);
        assert_eq!(look(Some(Path::new("/does/not/exist")), scratch.path())[0].level, Level::Problem);
        assert_eq!(look(None, Path::new("/does/not/exist")), Vec::new());
    }
}
