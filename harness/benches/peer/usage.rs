//! Processor time and memory of processes, as reported by Linux.

use std::time::Duration;

use crate::Result;

/// What processes have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// In user and system mode, of all threads.
    pub(crate) processor: Duration,
    /// Bytes in memory now.
    pub(crate) resident: u64,
}

impl Usage {
    pub(crate) fn of_this_process() -> Result<Self> {
        Self::of(std::process::id())
    }

    pub(crate) fn of(process: u32) -> Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name, in parentheses, may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no name in stat")?.1.split_whitespace().collect();
        let field = |number: usize| -> Result<u64> { Ok(fields.get(number).ok_or("too few fields in stat")?.parse()?) };
        let ticks = field(11)? + field(12)?;
        let per_second = rustix::param::clock_ticks_per_second();
        let resident = field(21)? * rustix::param::page_size() as u64;
        Ok(Self { processor: Duration::from_millis(ticks * 1000 / per_second), resident })
    }

    /// The processor time between two looks.
    pub(crate) fn processor_since(&self, before: &Self) -> Duration {
        self.processor.saturating_sub(before.processor)
    }

    /// Of all of them together.
    pub(crate) fn sum(processes: &[u32]) -> Result<Self> {
        let mut sum = Self::default();
        for process in processes {
            let one = Self::of(*process)?;
            sum.processor += one.processor;
            sum.resident += one.resident;
        }
        Ok(sum)
    }
}

/// The name and number of each process that this one has started.
pub(crate) fn children(parent: u32) -> Result<Vec<(String, u32)>> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may have ended meanwhile.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((name, rest)) = stat.rsplit_once(')') else { continue };
        let name = name.split_once('(').map_or("", |(_, name)| name);
        if rest.split_whitespace().nth(1).and_then(|parent| parent.parse().ok()) == Some(parent) {
            children.push((name.to_owned(), number));
        }
    }
    Ok(children)
}
