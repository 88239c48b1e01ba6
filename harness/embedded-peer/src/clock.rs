//! The nodes' clock, which a test can set. Timeouts do not use it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The clock of a network's nodes. Clones share the time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug)]
enum State {
    System,
    /// The system's time plus or minus a duration.
    Ahead(Duration),
    Behind(Duration),
    Stopped(SystemTime),
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// A clock with the system's time.
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(State::System)))
    }

    /// A stopped clock, which changes only when it is set or advanced.
    pub fn stopped(at: SystemTime) -> Self {
        Self(Arc::new(Mutex::new(State::Stopped(at))))
    }

    /// The current time.
    pub fn now(&self) -> SystemTime {
        self.state().now()
    }

    /// Sets the time. A stopped clock stays stopped; a running one continues from there.
    pub fn set(&self, time: SystemTime) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = match *state {
            State::Stopped(_) => State::Stopped(time),
            _ => match time.duration_since(SystemTime::now()) {
                Ok(ahead) => State::Ahead(ahead),
                Err(behind) => State::Behind(behind.duration()),
            },
        };
    }

    /// Advances the time by `span`.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().checked_add(span).unwrap_or_else(|| self.now()));
    }

    /// Returns to the system's time.
    pub fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::System;
    }

    fn state(&self) -> State {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn now(self) -> SystemTime {
        let now = SystemTime::now();
        match self {
            Self::System => now,
            Self::Ahead(span) => now.checked_add(span).unwrap_or(now),
            Self::Behind(span) => now.checked_sub(span).unwrap_or(now),
            Self::Stopped(time) => time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_set_clock_continues_and_can_be_reset() {
        let clock = Clock::system();
        let other = clock.clone();
        other.set(SystemTime::now() - HOUR);
        let behind = SystemTime::now().duration_since(clock.now()).unwrap();
        assert!(behind.abs_diff(HOUR) < Duration::from_secs(5), "{behind:?}");
        other.advance(2 * HOUR);
        assert!(clock.now() > SystemTime::now() + HOUR - Duration::from_secs(5));
        other.reset();
        assert!(clock.now() <= SystemTime::now());
    }

    #[test]
    fn a_stopped_clock_changes_only_when_advanced() {
        let clock = Clock::stopped(SystemTime::UNIX_EPOCH);
        assert_eq!(clock.now(), SystemTime::UNIX_EPOCH);
        clock.advance(HOUR);
        assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + HOUR);
    }
}
