//! The names that Fabric accepts, and the limits of a file system on them.
//!
//! The `is_…` functions are Fabric's own rules, the same in 2.5 and 3.1. The functions that return [`InvalidName`] add
//! the reserved names, and the lengths at which a peer or the files of a run fail.

use std::fmt;

use crate::text::shorten;

/// Names of Fabric's system chaincodes, which a definition cannot have (`core/chaincode/lifecycle/scc.go`).
/// `_lifecycle` is not a valid name anyway.
pub const RESERVED_CHAINCODES: [&str; 5] = ["cscc", "escc", "lscc", "qscc", "vscc"];

/// The longest name of a channel, in bytes (`common/configtx/validator.go`).
pub const LONGEST_CHANNEL: usize = 249;

/// The longest label. Before it builds a package, a peer makes the directory `fabric-LABEL-HASH` with up to ten digits
/// more; a file name has at most 255 bytes. Seen on 3.1.5 and 2.5.16: 173 is accepted, 174 is not.
pub const LONGEST_LABEL: usize = 173;

/// The longest name of a chaincode. Fabric has no limit, but files of a run have the name in theirs.
pub const LONGEST_CHAINCODE: usize = 240;

/// A name that Fabric rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    /// What it is a name of, such as `chaincode name`.
    pub what: &'static str,
    /// The name, shortened for a message.
    pub name: String,
    /// What is expected.
    pub rule: String,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name, rule } = self;
        write!(formatter, "invalid {what} `{name}`: {rule}")
    }
}

impl std::error::Error for InvalidName {}

fn check(fits: bool, what: &'static str, name: &str, rule: &str) -> Result<(), InvalidName> {
    if fits { Ok(()) } else { Err(InvalidName { what, name: shorten(name), rule: rule.to_owned() }) }
}

fn at_most(length: usize, what: &'static str, name: &str) -> Result<(), InvalidName> {
    let rule = format!("it has {} characters, at most {length} are possible", name.len());
    check(name.len() <= length, what, name, &rule)
}

/// Checks the name of a chaincode in a definition.
///
/// ```
/// use fabric_primitives::names::chaincode;
///
/// assert!(chaincode("asset-transfer_2").is_ok());
/// let error = chaincode("my.cc").unwrap_err().to_string();
/// assert_eq!(error, "invalid chaincode name `my.cc`: use letters and digits, with single `-` and `_` between them");
/// ```
///
/// # Errors
///
/// Peers reject it, or it is too long.
pub fn chaincode(name: &str) -> Result<(), InvalidName> {
    const WHAT: &str = "chaincode name";
    check(is_chaincode(name), WHAT, name, "use letters and digits, with single `-` and `_` between them")?;
    let rule = "it is reserved for a system chaincode; use another name";
    check(!RESERVED_CHAINCODES.contains(&name), WHAT, name, rule)?;
    at_most(LONGEST_CHAINCODE, WHAT, name)
}

/// Checks the version in a definition.
///
/// # Errors
///
/// Peers reject it.
pub fn version(version: &str) -> Result<(), InvalidName> {
    check(is_version(version), "chaincode version", version, "use letters, digits and `_.+-`")
}

/// Checks the label of a package.
///
/// # Errors
///
/// Peers reject it, or cannot build a package that has it.
pub fn label(label: &str) -> Result<(), InvalidName> {
    const WHAT: &str = "package label";
    check(is_label(label), WHAT, label, "use letters, digits and `_.+-`, starting with a letter or digit")?;
    at_most(LONGEST_LABEL, WHAT, label)
}

/// Checks the name of a private data collection.
///
/// # Errors
///
/// Peers reject it.
pub fn collection(name: &str) -> Result<(), InvalidName> {
    check(is_collection(name), "collection name", name, "use letters, digits, `-` and `_`, not starting with `_`")
}

/// Checks the name of a channel.
///
/// # Errors
///
/// Orderers reject it.
pub fn channel(name: &str) -> Result<(), InvalidName> {
    const WHAT: &str = "channel name";
    check(is_channel(name), WHAT, name, "use lowercase letters, digits, `.` and `-`, starting with a letter")?;
    at_most(LONGEST_CHANNEL, WHAT, name)
}

/// Checks the reference of a container image, as far as characters go: `NAME`, `NAME:TAG` or `NAME@DIGEST`.
///
/// # Errors
///
/// No engine accepts it.
pub fn image(reference: &str) -> Result<(), InvalidName> {
    let plain = |character: char| character.is_ascii_alphanumeric() || "._-/:@".contains(character);
    let fits = reference.starts_with(|first: char| first.is_ascii_alphanumeric()) && reference.chars().all(plain);
    check(fits, "image", reference, "give NAME, NAME:TAG or NAME@DIGEST, such as my/chaincode:1.0")
}

/// Checks a DNS label: a part of a host name, or the name of a Kubernetes namespace (RFC 1123).
///
/// # Errors
///
/// It is not a DNS label in lowercase.
pub fn dns_label(label: &str) -> Result<(), InvalidName> {
    check(is_dns_label(label), "DNS label", label, "use 1 to 63 lowercase letters, digits and inner `-`")
}

/// Checks a DNS domain of lowercase labels. The last label needs a letter: `127.0.0.1` is an address.
///
/// # Errors
///
/// It is not a domain.
pub fn domain(domain: &str) -> Result<(), InvalidName> {
    const WHAT: &str = "domain";
    let rule = "use labels of lowercase letters, digits and inner `-`, separated by dots";
    check(domain.split('.').all(is_dns_label), WHAT, domain, rule)?;
    let last = domain.rsplit('.').next().unwrap_or_default();
    let rule = "the last label needs a letter, as in `org1.example.com`; otherwise it is read as an IP address";
    check(!last.bytes().all(|byte| byte.is_ascii_digit()), WHAT, domain, rule)
}

/// Whether a name fits `^[a-zA-Z0-9]+([-_][a-zA-Z0-9]+)*$` (`core/chaincode/lifecycle/scc.go`).
pub fn is_chaincode(name: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    name.split(['-', '_']).all(is_word)
}

/// Whether a version fits `^[A-Za-z0-9_.+-]+$` (`core/chaincode/lifecycle/scc.go`).
pub fn is_version(version: &str) -> bool {
    !version.is_empty() && version.bytes().all(is_part)
}

/// Whether a label fits `^[[:alnum:]][[:alnum:]_.+-]*$` (`core/chaincode/persistence/chaincode_package.go`).
pub fn is_label(label: &str) -> bool {
    label.starts_with(|first: char| first.is_ascii_alphanumeric()) && label.bytes().all(is_part)
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte)
}

/// Whether a name fits `^[A-Za-z0-9-]+([A-Za-z0-9_-]+)*$` (`core/chaincode/lifecycle/scc.go`).
pub fn is_collection(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Whether a name fits `^[a-z][a-z0-9.-]*$` (`common/configtx/validator.go`). [`LONGEST_CHANNEL`] is not checked.
pub fn is_channel(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'))
}

/// Whether a text is a DNS label in lowercase (RFC 1123).
pub fn is_dns_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&str) -> Result<(), InvalidName>;

    #[test]
    fn each_rule_ends_where_fabrics_does() {
        let x = |count: usize| "x".repeat(count);
        let (longest_chaincode, longest_label, longest_channel) = (x(240), x(173), x(249));
        let all: [(Check, &[&str], &[&str]); 8] = [
            (
                chaincode,
                &["a", "0", "a-b_C9", "lscc2", &longest_chaincode],
                &["", "-a", "a-", "a--b", "a-_b", "a.b", "a b", "é", "a\n", "_lifecycle", "lscc", "vscc", &x(241)],
            ),
            (version, &["1", "_.+-", "1.0", &x(500)], &["", " ", "1/0", "é", "1\n"]),
            (label, &["a", "basic_1.0", "0+x-y", &longest_label], &["", "_a", ".a", "a b", "a/b", "é", "a\n", &x(174)]),
            (collection, &["a", "-", "a_", "a-_b", &x(500)], &["", "_", "_a", "a.b", "a b", "é", "a\n"]),
            (
                channel,
                &["a", "my-channel.0", "a.", &longest_channel],
                &["", "A", "0a", "-a", ".a", "a_b", "é", "a\n", &x(250)],
            ),
            (image, &["a", "localhost:1/my/cc:1.0", "a@sha256:00"], &["", "-a", "a b", "a\nb: c", "${A}", "é"]),
            (dns_label, &["a", "0", "a-0", &x(63)], &["", "-a", "a-", "A", "a.b", "a_b", "é", &x(64)]),
            (
                domain,
                &["a", "org1.example.com", "1.2.c3"],
                &["", ".", "a.", "a..b", "A.b", "-a.b", "127.0.0.1", "org1.2024", "7"],
            ),
        ];
        for (check, good, bad) in all {
            for name in good {
                assert_eq!(check(name), Ok(()), "{name}");
            }
            for name in bad {
                assert!(check(name).is_err(), "{name:?}");
            }
        }
    }

    #[test]
    fn an_error_has_the_name_and_the_rule_in_a_short_line() {
        for (error, expected) in [
            (chaincode("qscc").unwrap_err(), "invalid chaincode name `qscc`: it is reserved"),
            (label("a b\n").unwrap_err(), "invalid package label `a b\u{fffd}`: use letters, digits and `_.+-`"),
            (label(&"x".repeat(60_000)).unwrap_err(), "it has 60000 characters, at most 173 are possible"),
            (version("").unwrap_err(), "invalid chaincode version ``: use letters"),
            (domain("127.0.0.1").unwrap_err(), "invalid domain `127.0.0.1`: the last label needs a letter"),
        ] {
            let error = error.to_string();
            assert!(error.contains(expected) && error.len() < 200, "{error}");
        }
    }
}
