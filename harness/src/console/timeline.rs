//! The steps of a run and their times: shown while they run, printed when they end.

use super::{print, progress};
use crate::journal::Journal;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A finished step.
#[derive(Debug, Clone)]
pub struct Step {
    /// What was done.
    pub name: &'static str,
    /// When it began, relative to the start of the run.
    pub begin: Duration,
    /// How long it took.
    pub time: Duration,
    /// Whether it failed.
    pub failed: bool,
}

/// Collects the steps of a run. Steps may overlap.
#[derive(Debug)]
pub struct Timeline {
    begin: Instant,
    journal: Journal,
    steps: Mutex<Vec<Step>>,
    quiet: bool,
}

impl Timeline {
    /// Starts a timeline. A quiet one prints nothing.
    pub fn begin(quiet: bool) -> Self {
        Self { begin: Instant::now(), journal: Journal::begin(), steps: Mutex::default(), quiet }
    }

    /// Runs a step, then records and prints its time.
    ///
    /// # Errors
    ///
    /// The error of `work`.
    pub fn step<T, E>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, E>> {
        // Boxed, because the run's future would otherwise contain the futures of all steps.
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
            print(format_args!("{mark} {:>6} ms  {name}", time.as_millis()));
        }
        result
    }

    /// Prints a line between the steps.
    pub fn print(&self, text: &str) {
        if !self.quiet {
            print(format_args!("  {text}"));
        }
    }

    /// The journal of messages, with the same start.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// When the last step of this name ended, relative to the start of the run; zero if none has ended.
    pub fn end_of(&self, name: &str) -> Duration {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.iter().rfind(|step| step.name == name).map(|step| step.begin + step.time).unwrap_or_default()
    }

    /// The finished steps, in the order in which they ended.
    pub fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A table of several runs: the median, minimum and maximum time of each step.
pub fn table(runs: &[Vec<Step>], to_first_query: &[Duration]) -> String {
    let mut text = String::from("  median    min    max  ms\n");
    let mut line = |name: &str, mut times: Vec<Duration>| {
        times.sort_unstable();
        let milliseconds = |time: Option<&Duration>| time.map_or(0, Duration::as_millis);
        let median = milliseconds(times.get(times.len() / 2));
        let (min, max) = (milliseconds(times.first()), milliseconds(times.last()));
        // Writing to a string cannot fail.
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
