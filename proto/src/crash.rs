//! Places where a test may kill a coordinator or a client. Release builds have none of it.
//!
//! `NIBBLE_CRASH_AT=POINT:N` kills the process, with SIGKILL, the N-th time it comes by the durable point of that name.
//!
//! Absent on purpose: the points, which stand where something has become durable; and what a test does with them.

/// A durable point has been reached.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};

    static PASSED: AtomicU64 = AtomicU64::new(0);
    let Ok(wanted) = std::env::var("NIBBLE_CRASH_AT") else { return };
    let Some((point, count)) = wanted.split_once(':') else { return };
    if point != name || PASSED.fetch_add(1, Ordering::SeqCst) + 1 != count.parse().unwrap_or(1) {
        return;
    }
    // Not an exit: nothing may be flushed, dropped or said.
    let killed = std::process::Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
    unreachable!("the process survived its own kill -9: {killed:?}");
}

/// A durable point has been reached.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_: &str) {}
