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
