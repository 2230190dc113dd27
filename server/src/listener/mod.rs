//! The coordinator's own accept loop: who may connect, how many, how long they may say nothing, and what they moved.
//!
//! tonic closes neither idle nor half-open connections and cannot count the bytes below TLS; here every phase of a
//! connection has a deadline, every kind of connection a number, and every byte an owner. The caller owns the bound
//! socket and the stop signal.
//!
//! Absent on purpose: detached tasks, HTTP/1, and what a client may do once it is known; the services decide that.

mod accept;
mod body;
mod connection;
mod limits;
mod meters;
mod pace;
mod places;
mod requests;
mod serve;
mod socket;
mod streams;
mod taken;

pub use accept::Accept;
pub use limits::{Limits, Rate};
pub use meters::{Connections, Meters, Traffic};
pub use pace::{Pace, TooSlow};
pub use serve::{Listener, Security, serve};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks what no panic leaves half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
