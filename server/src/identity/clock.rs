//! Where the time of day comes from: the binary passes the system's in, tests their own.

use std::{fmt, sync::Arc, time::Duration};

use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

/// Seconds since 1970, by whatever it was made from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// A clock that asks `now_unix`.
    pub fn new(now_unix: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_unix))
    }

    /// Now, in seconds since 1970.
    #[must_use]
    pub fn now_unix(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.now_unix())))
    }
}
