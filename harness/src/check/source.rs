//! The text of a chaincode file: where its values are, and the mistakes in them.

use fabric_primitives::text::cut;
use std::collections::BTreeMap;
use std::fmt;
use toml::Spanned;
use toml::de::DeValue;

/// Line and column, from 1.
type Place = (usize, usize);

/// The most characters of a message, which may contain a value.
const LONGEST_MESSAGE: usize = 600;

/// The most mistakes that are shown.
const MOST_SHOWN: usize = 50;

/// The text of a file, with the byte offset of each value by its path, such as `case[0].identity`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Source {
    file: String,
    text: String,
    /// Where each line starts.
    lines: Vec<usize>,
    offsets: BTreeMap<String, usize>,
}

/// A mistake in a file, or in a definition that a program gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file's name; empty for the definition of a program.
    pub file: String,
    /// Line and column, from 1.
    pub place: Option<(usize, usize)>,
    /// The name of the case.
    pub case: Option<String>,
    /// What is wrong and what is expected.
    pub message: String,
}

/// Mistakes. Displays one per line.
#[derive(Clone, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

crate::console::debug_as_text!(Mistakes);

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if let Some(case) = &self.case {
            write!(formatter, ": case {:?}", cut(case, LONGEST_MESSAGE))?;
        }
        if let Some((line, column)) = self.place {
            write!(formatter, " at line {line}, column {column}")?;
        }
        let separator = if self.file.is_empty() { "" } else { ": " };
        write!(formatter, "{separator}{}", cut(&self.message, LONGEST_MESSAGE))
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.0.iter().take(MOST_SHOWN).map(Mistake::to_string).collect();
        formatter.write_str(&shown.join("\n"))?;
        match self.0.len().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => write!(formatter, "\n… and {more} more mistakes"),
        }
    }
}

impl std::error::Error for Mistakes {}

impl Source {
    pub(super) fn new(file: &str, text: &str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(end, _)| end + 1)).collect();
        Self { file: file.to_owned(), text: text.to_owned(), lines, offsets: BTreeMap::new() }
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Notes the offset of a value and of everything in it.
    pub(super) fn note(&mut self, path: String, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => {
                for (key, value) in table {
                    self.note(format!("{path}.{}", key.get_ref()), value);
                }
            }
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.note(format!("{path}[{index}]"), item);
                }
            }
            _ => {}
        }
        self.offsets.insert(path, value.span().start);
    }

    /// The byte offset of a path, or else of the nearest parent.
    pub(super) fn offset(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(offset) = self.offsets.get(path) {
                return Some(*offset);
            }
            path = path.rfind(['.', '[']).and_then(|end| path.get(..end))?;
        }
    }

    /// Line and column of a byte offset.
    pub(super) fn place_of(&self, byte: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= byte).max(1);
        let before = self.lines.get(line - 1).and_then(|start| self.text.get(*start..byte)).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// A mistake at a byte offset.
    pub(super) fn mistake_at(&self, byte: usize, message: impl Into<String>) -> Mistake {
        Mistake { file: self.file.clone(), place: Some(self.place_of(byte)), case: None, message: message.into() }
    }

    /// A mistake at a path.
    pub(super) fn mistake(&self, path: &str, message: impl Into<String>) -> Mistake {
        Mistake {
            file: self.file.clone(),
            place: self.offset(path).map(|byte| self.place_of(byte)),
            case: None,
            message: message.into(),
        }
    }

    /// What a reader of TOML found, in the value at `byte`.
    pub(super) fn mistake_of(&self, error: &toml::de::Error, byte: usize) -> Mistake {
        self.mistake_at(error.span().map_or(byte, |span| span.start), error.message())
    }
}

impl Mistake {
    /// The mistake of a case.
    pub(super) fn of_case(self, name: &str) -> Self {
        Self { case: Some(name.to_owned()), ..self }
    }
}
