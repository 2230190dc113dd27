//! Whether bytes come fast enough. Pure: the times are passed in.

use std::time::Duration;

use tokio::time::Instant;

use super::Rate;

/// Fewer bytes than the least rate asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} bytes came in {window:?}; at least {expected} must, or the link is too slow for this coordinator")]
pub struct TooSlow {
    /// Bytes that came in the window.
    pub found: u64,
    /// Bytes that should have.
    pub expected: u64,
    /// The window.
    pub window: Duration,
}

/// Watches one transfer. A window ends when its least bytes are in; the next begins then.
///
/// [`super::serve`] watches every request's body with one, by the bytes of its connection's socket: a message of 64 KiB
/// may take minutes over a good but slow link, so pieces of a transfer say too little.
#[derive(Clone, Debug)]
pub struct Pace {
    rate: Rate,
    began: Instant,
    bytes: u64,
}

impl Pace {
    /// The first window begins now.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, began: now, bytes: 0 }
    }

    /// `bytes` more have come by `now`.
    ///
    /// # Errors
    /// If the window is over and does not have its bytes.
    pub fn advance(&mut self, bytes: u64, now: Instant) -> Result<(), TooSlow> {
        let Rate { min_bytes, window } = self.rate;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= min_bytes {
            *self = Self::new(self.rate, now);
        } else if now >= self.deadline() {
            return Err(TooSlow { found: self.bytes, expected: min_bytes, window });
        }
        Ok(())
    }

    /// Nobody waited for bytes for so long, through no fault of the peer's.
    pub fn pause(&mut self, span: Duration) {
        self.began += span;
    }

    /// When the window is over.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.began + self.rate.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds (second, bytes) to a pace of 100 bytes in 10 seconds; the second and bytes at which it is too slow.
    #[track_caller]
    fn check(events: &[(u64, u64)], expect: Option<(u64, u64)>) {
        let start = Instant::now();
        let mut pace = Pace::new(Rate { min_bytes: 100, window: Duration::from_secs(10) }, start);
        let found = events.iter().find_map(|(second, bytes)| {
            let slow = pace.advance(*bytes, start + Duration::from_secs(*second)).err()?;
            assert_eq!((slow.expected, slow.window), (100, Duration::from_secs(10)));
            Some((*second, slow.found))
        });
        assert_eq!(found, expect, "{events:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_begins_when_the_last_is_full() {
        check(&[], None);
        check(&[(9, 0)], None);
        check(&[(10, 0)], Some((10, 0)));
        check(&[(9, 99)], None);
        check(&[(9, 99), (10, 0)], Some((10, 99)));
        check(&[(9, 99), (10, 1)], None);
        check(&[(9, 100), (18, 99), (19, 0)], Some((19, 99)));
        check(&[(9, 100), (18, 100), (27, 100), (36, 100)], None);
        check(&[(1, u64::MAX), (10, 50), (11, 0)], Some((11, 50)));
        check(&[(1, 60), (2, u64::MAX), (12, 0)], Some((12, 0)));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_do_not_count() {
        let start = Instant::now();
        let mut pace = Pace::new(Rate { min_bytes: 100, window: Duration::from_secs(10) }, start);
        pace.pause(Duration::from_secs(60));
        assert_eq!(pace.deadline(), start + Duration::from_secs(70));
        assert!(pace.advance(0, start + Duration::from_secs(69)).is_ok());
        assert!(pace.advance(0, start + Duration::from_secs(70)).is_err());
    }
}
