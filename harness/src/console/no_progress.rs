//! No live list: without the feature `cli`, printed lines are all that there is.

/// Shows nothing.
#[derive(Debug)]
pub(super) struct Shown;

/// Adds no step to a list.
pub(super) fn step(_name: &'static str) -> Shown {
    Shown
}

/// Writes to the terminal.
pub(super) fn above_list<T>(write: impl FnOnce() -> T) -> T {
    write()
}
