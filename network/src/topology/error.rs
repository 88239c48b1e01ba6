//! What can be wrong with a topology, and how it is told: every mistake at once, each with its
//! path. It finds no mistakes itself.

use std::fmt;

/// Where a value stands in the YAML text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The line, counted from 1.
    pub line: u64,
    /// The column in characters, counted from 1.
    pub column: u64,
}

/// One thing to be corrected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The path of the value, such as `organizations[1].peers[0].name`; empty for the whole text.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
    /// Where it stands, when the topology was read from text.
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

/// A topology that can't be used. Shows every mistake, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyError {
    mistakes: Vec<Mistake>,
}

impl TopologyError {
    /// `Ok` without mistakes, otherwise an error that holds them all.
    pub(super) fn check(mistakes: Vec<Mistake>) -> Result<(), Self> {
        if mistakes.is_empty() { Ok(()) } else { Err(Self { mistakes }) }
    }

    pub(super) fn one(mistake: Mistake) -> Self {
        Self { mistakes: vec![mistake] }
    }

    /// Everything that is wrong, in the order of the text that the topology was read from. Never
    /// empty.
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
