//! The steps of a run, shown while they run and printed as they end, and their times.

use super::{progress, say};
use crate::journal::Journal;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A step that ended.
#[derive(Debug, Clone)]
pub struct Step {
    /// What was done.
    pub name: &'static str,
    /// When it began, since the run began.
    pub begin: Duration,
    /// How long it took.
    pub time: Duration,
    /// Whether it failed.
    pub failed: bool,
}

/// Collects the steps of one run. Steps may overlap.
#[derive(Debug)]
pub struct Timeline {
    begin: Instant,
    journal: Journal,
    steps: Mutex<Vec<Step>>,
    quiet: bool,
}

impl Timeline {
    /// Begins a run; a quiet one prints nothing.
    pub fn begin(quiet: bool) -> Self {
        Self { begin: Instant::now(), journal: Journal::begin(), steps: Mutex::default(), quiet }
    }

    /// Runs a step to its end, and notes and prints its time.
    ///
    /// # Errors
    ///
    /// The step's own.
    pub fn step<T, E>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, E>> {
        // On the heap, or the futures of all steps would add up to that of the run.
        self.run(name, Box::pin(work))
    }

    async fn run<T, E>(&self, name: &'static str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let begin = self.begin.elapsed();
        let shown = (!self.quiet).then(|| progress::step(name));
        let result = work.await;
        drop(shown);
        let time = self.begin.elapsed().saturating_sub(begin);
        let failed = result.is_err();
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(Step { name, begin, time, failed });
        if !self.quiet {
            let mark = if failed { '!' } else { ' ' };
            say(format_args!("{mark} {:>6} ms  {name}", time.as_millis()));
        }
        result
    }

    /// Prints a line of its own among the steps.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            say(format_args!("  {text}"));
        }
    }

    /// What passes between client, peers and chaincode, on the same clock.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// When the last step of this name ended, since the run began; zero if none has.
    pub fn end_of(&self, name: &str) -> Duration {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.iter().rfind(|step| step.name == name).map(|step| step.begin + step.time).unwrap_or_default()
    }

    /// The steps that ended, in the order of their ends.
    pub fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A table of several runs: for each step the median, the fastest and the slowest time.
pub fn table(runs: &[Vec<Step>], to_first_query: &[Duration]) -> String {
    let mut text = String::from("  median    min    max  ms\n");
    let mut line = |name: &str, mut times: Vec<Duration>| {
        times.sort_unstable();
        let milliseconds = |time: Option<&Duration>| time.map_or(0, Duration::as_millis);
        let median = milliseconds(times.get(times.len() / 2));
        let (min, max) = (milliseconds(times.first()), milliseconds(times.last()));
        // Writing to a string can't fail.
        let _ = writeln!(text, "  {median:>6} {min:>6} {max:>6}  {name}");
    };
    for step in runs.first().into_iter().flatten() {
        let times = runs.iter().flatten().filter(|other| other.name == step.name).map(|other| other.time);
        line(step.name, times.collect());
    }
    line("from the first step to the first query's answer", to_first_query.to_vec());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_the_median_of_each_step() {
        let run = |milliseconds| {
            let (name, begin, time) = ("start", Duration::ZERO, Duration::from_millis(milliseconds));
            vec![Step { name, begin, time, failed: false }]
        };
        let table = table(&[run(30), run(10), run(20)], &[Duration::from_millis(7)]);
        let start = table.lines().find(|line| line.ends_with("start")).unwrap();
        assert_eq!(start.split_whitespace().collect::<Vec<_>>(), ["20", "10", "30", "start"]);
        assert!(table.lines().last().unwrap().starts_with("       7"), "{table}");
    }
}
