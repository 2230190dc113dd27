//! What time it is, passed in: the coordinator's times survive a restart, so they count from 1970.

use std::time::Duration;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Time since 1970.
    fn now(&self) -> Duration;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the clock comes in")]
    fn now(&self) -> Duration {
        // A clock before 1970 is broken; deadlines then end as soon as it is set right.
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
    }
}
