//! The heap of this process, peers included, while a row is played.
//!
//! Tests take turns ([`alone`]), so that what is measured is one row's.
//!
//! Absent on purpose: resident memory, which the allocator keeps beyond what is in use.

use peak_alloc::PeakAlloc;
use tokio::sync::{Mutex, MutexGuard};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

static TURN: Mutex<()> = Mutex::const_new(());

/// Most that a row may need at a time, both ends together: sixteen downloads that nobody reads are the most of all.
const MOST: usize = 8 << 20;
/// Most that a row may leave: reports, connections that are still being closed.
const LEFT: usize = 512 << 10;

/// Waits until no other test runs, and keeps others from running.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// Bytes in use at some time.
pub(crate) struct Mark(usize);

#[expect(clippy::print_stdout, reason = "whoever looks at a row sees what it took")]
impl Mark {
    pub(crate) fn now() -> Self {
        HEAP.reset_peak_usage();
        Self(HEAP.current_usage())
    }

    /// Asserts that since the mark no more was needed, and no more is left, than a row may.
    pub(crate) fn check(&self, name: &str) {
        let most = HEAP.peak_usage().saturating_sub(self.0);
        println!("{name}: {} KiB at most", most >> 10);
        assert!(most <= MOST, "{name}: {most} bytes were needed");
        self.check_left(name, LEFT);
    }

    /// Asserts that what is left since the mark is no more than that.
    pub(crate) fn check_left(&self, name: &str, most: usize) {
        let left = HEAP.current_usage().saturating_sub(self.0);
        println!("{name}: {} KiB left", left >> 10);
        assert!(left <= most, "{name}: {left} bytes are left");
    }
}
