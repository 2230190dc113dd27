//! Waiting longer after each failure, with full jitter (Brooker: "Exponential backoff and jitter", AWS, 2015), so that
//! clients that lost one coordinator do not come back as one.

use std::time::Duration;

use nibble_seed::{Seed, Stream};
use ring::{
    error::Unspecified,
    rand::{SecureRandom, SystemRandom},
};

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// The pauses after failures in a row.
#[derive(Clone, Debug)]
pub struct Backoff {
    jitter: Stream,
    failures: u32,
}

impl Backoff {
    /// Pauses drawn from the stream of `jitter`, which should be another one for each client.
    #[must_use]
    pub fn new(jitter: Seed) -> Self {
        Self { jitter: jitter.stream(), failures: 0 }
    }

    /// How long to pause after one more failure: uniform up to 0.5 s, then up to twice as long each time, at most 60 s.
    pub fn pause(&mut self) -> Duration {
        let limit = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        limit.mul_f64(self.jitter.next_unit())
    }

    /// Something succeeded: the next pause is a short one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A seed from the operating system, for the jitter of a real client.
///
/// # Errors
/// If the system has no randomness to give.
pub fn jitter_from_system() -> Result<Seed, Unspecified> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(Seed(u64::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_start_again() {
        let mut backoff = Backoff::new(Seed(1));
        let mut longest = Duration::ZERO;
        for failure in 0..40 {
            let pause = backoff.pause();
            assert!(pause <= (FIRST * (1 << failure.min(10))).min(LONGEST));
            longest = longest.max(pause);
        }
        // 33 pauses are uniform up to 60 s: none of them is above 30 s once in 2^33 seeds, and this is one seed.
        assert!(longest > LONGEST / 2);
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}
