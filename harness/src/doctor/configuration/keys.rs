//! The keys that Fabric reads of a configuration file, and what an unknown one was probably meant to be.

use super::yaml::Node;

/// The known keys of a file.
#[derive(Debug)]
pub(super) struct Keys {
    /// Each key, and the only release line that reads it, if there is only one.
    known: Vec<(&'static str, Option<&'static str>)>,
}

/// A key that is not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) line: u64,
    pub(super) key: String,
    /// Why, or what was meant.
    pub(super) hint: String,
}

impl Keys {
    /// Reads a list: a key on each line, then a release line if only that one reads the key. A key that ends in `.*`
    /// has any members.
    pub(super) fn new(list: &'static str) -> Self {
        let lines = list.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let known = lines.map(|line| line.split_once(' ').map_or((line, None), |(key, only)| (key, Some(only))));
        Self { known: known.collect() }
    }

    /// The keys in a document that this release line does not read; without one, that no release reads.
    pub(super) fn unread(&self, document: &Node, release: Option<&str>) -> Vec<Unread> {
        let mut unread = Vec::new();
        self.walk(document, "", release, &mut unread);
        unread
    }

    fn walk(&self, node: &Node, parent: &str, release: Option<&str>, unread: &mut Vec<Unread>) {
        for entry in node.entries() {
            let key = if parent.is_empty() { entry.key.clone() } else { format!("{parent}.{}", entry.key) };
            let mut only = Vec::new();
            let mut is_open = false;
            for (known, release) in &self.known {
                match relation(&key, known) {
                    Relation::None => continue,
                    Relation::Any => is_open = true,
                    Relation::Same | Relation::Parent => {}
                }
                only.push(*release);
            }
            let hint = match (only.first(), release) {
                (None, _) => self.meant(parent, &entry.key),
                (Some(_), Some(release)) if only.iter().all(|only| only.is_some_and(|only| only != release)) => {
                    let other = only.iter().flatten().next().copied().unwrap_or_default();
                    format!("only Fabric {other} reads it, not {release}")
                }
                _ => {
                    if !is_open {
                        self.walk(&entry.value, &key, release, unread);
                    }
                    continue;
                }
            };
            unread.push(Unread { line: entry.line, key, hint });
        }
    }

    /// What an unknown key was probably meant to be: a key of the same parent with a similar name, or the only one
    /// with the same name elsewhere.
    fn meant(&self, parent: &str, name: &str) -> String {
        let all = self.all();
        let similar = all.iter().filter_map(|(other_parent, other)| {
            let distance = distance(&name.to_lowercase(), &other.to_lowercase());
            let is_similar = other_parent.eq_ignore_ascii_case(parent) && distance <= name.len().div_ceil(4).max(1);
            is_similar.then_some((distance, joined(other_parent, other)))
        });
        if let Some((_, key)) = similar.min() {
            return format!("did you mean `{key}`?");
        }
        let mut same = all.iter().filter(|(_, other)| other.eq_ignore_ascii_case(name));
        match (same.next(), same.next()) {
            (Some((other_parent, other)), None) => format!("it belongs at `{}`", joined(other_parent, other)),
            _ => "remove it".to_owned(),
        }
    }

    /// Every key and every parent of one, each as its parent and its own name.
    fn all(&self) -> Vec<(&'static str, &'static str)> {
        let mut all = Vec::new();
        for (key, _) in &self.known {
            let key = key.trim_end_matches(".*");
            let ends = key.match_indices('.').map(|(at, _)| at).chain([key.len()]);
            all.extend(ends.map(|end| key[..end].rsplit_once('.').unwrap_or(("", &key[..end]))));
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// What a key of a document is to a known one.
enum Relation {
    Same,
    /// The known one is a member of it.
    Parent,
    /// It is one whose members are free, or such a member.
    Any,
    None,
}

/// Fabric reads keys in any case.
fn relation(key: &str, known: &str) -> Relation {
    let begins = |text: &str, prefix: &str| {
        let start = text.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix)) && text[prefix.len()..].starts_with('.')
    };
    if let Some(open) = known.strip_suffix(".*")
        && (key.eq_ignore_ascii_case(open) || begins(key, open))
    {
        return Relation::Any;
    }
    if key.eq_ignore_ascii_case(known) {
        Relation::Same
    } else if begins(known, key) {
        Relation::Parent
    } else {
        Relation::None
    }
}

fn joined(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

/// The number of letters to insert, remove or replace to get from one word to the other.
pub(super) fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = index;
        row[0] = index + 1;
        for (at, second) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *second);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_counts_changes() {
        for (one, other, expected) in [("", "abc", 3), ("abc", "abc", 0), ("bootstap", "bootstrap", 1), ("ab", "ba", 2)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn unread_keys_are_found_with_what_was_meant() {
        let keys = Keys::new("# keys\na.bootstrap\na.tls.enabled\nb.builders\nb.open.*\nc.old 2.5\n");
        let document = Node::parse(
            "A:\n  Bootstrap: 1\n  bootstap: 2\n  builders: 3\n  tls:\n    enabled: true\n    enable: x\n\
             b:\n  open: { x: { y: 1 } }\nc:\n  old: 1\nother: 5\n",
        );
        let document = document.unwrap();
        let unread = |release| {
            let found = keys.unread(&document, release).into_iter();
            found.map(|unread| (unread.line, unread.key, unread.hint)).collect::<Vec<_>>()
        };
        let unknown = [
            (3, "A.bootstap", "did you mean `a.bootstrap`?"),
            (4, "A.builders", "it belongs at `b.builders`"),
            (7, "A.tls.enable", "did you mean `a.tls.enabled`?"),
            (12, "other", "remove it"),
        ]
        .map(|(line, key, hint)| (line, key.to_owned(), hint.to_owned()));
        assert_eq!(unread(None), unknown);
        assert_eq!(unread(Some("2.5")), unknown);
        let newer = unread(Some("3.1"));
        let old = (10, "c".to_owned(), "only Fabric 2.5 reads it, not 3.1".to_owned());
        assert!(newer.contains(&old) && newer.len() == 5, "{newer:?}");
    }
}
