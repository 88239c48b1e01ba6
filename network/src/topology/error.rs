//! The mistakes in a topology: all of them in one error, each with its path. They are found elsewhere.

use std::fmt;

/// The position of a value in the YAML text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The line, counted from 1.
    pub line: u64,
    /// The column in characters, counted from 1.
    pub column: u64,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The path of the value, such as `organizations[1].peers[0].name`; empty for the whole text.
    pub path: String,
    /// What is wrong and what is expected.
    pub message: String,
    /// Its position, when the topology was read from text.
    pub location: Option<Location>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(formatter, "{}: ", self.path)?;
        }
        formatter.write_str(&self.message)?;
        if let Some(Location { line, column }) = self.location {
            write!(formatter, " (line {line}, column {column})")?;
        }
        Ok(())
    }
}

/// An invalid topology. Displays every mistake, one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyError {
    mistakes: Vec<Mistake>,
}

impl TopologyError {
    /// `Ok` without mistakes, otherwise an error with all of them.
    pub(super) fn check(mistakes: Vec<Mistake>) -> Result<(), Self> {
        if mistakes.is_empty() { Ok(()) } else { Err(Self { mistakes }) }
    }

    pub(super) fn one(mistake: Mistake) -> Self {
        Self { mistakes: vec![mistake] }
    }

    /// Every mistake, in the order of the text that the topology was read from. Never empty.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes
    }
}

impl fmt::Display for TopologyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for TopologyError {}
