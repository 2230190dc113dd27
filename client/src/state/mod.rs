//! What a client must not lose, on disk: its residual, and the update whose outcome it does not know yet.
//!
//! Two slots, `client.0` and `client.1`, each a whole record; a write goes to the slot that does not hold the newest one,
//! and is synced before it counts. The newest slot that passes its checks is the state. So a crash at any instant leaves
//! the state before the write or the state after it, and a slot that is torn or damaged falls back to the other. All
//! numbers are little-endian:
//!
//! ```text
//!   0   8  "NIBLSTAT"                        72  32  SHA-256 of the payload
//!   8   4  version, 2                       104   4  bytes of the run's name
//!  12   4  kind: 1 settled, 2 pending       108   4  bytes of the layout
//!  16   8  sequence number, from 1          112   8  floats of the vector
//!  24   8  hash of the layout               120   8  bytes of the payload
//!  32   8  round                            128   8  mean loss before training, f64; NaN if it was not measured
//!  40   8  samples                          136      run's name, UTF-8; layout, per tensor: u32 and name, u32 and u64 dimensions
//!  48   8  mean training loss, f64                   vector, f32
//!  56   8  NMSE of the payload, f64                  payload
//!  64   8  what the vector is: 0, 1          end  4  CRC-32C of everything before
//! ```
//!
//! The vector is (0) the residual or, while an update is pending, its intent; or (1) the client's control variate, and, while an
//! update is pending, after it what that will be if the update is accepted. It is of the layout's length, or empty if it is 0.
//! Fields from `round` to `NMSE` and the SHA-256 are 0 in a settled record, and the loss before training is NaN. The layout is
//! kept so that an outcome can be applied after a restart, before anything says which model the run trains. Files are private
//! to their owner: a residual tells of the data.
//!
//! A third file, `model`, saves bytes and promises nothing: the global model that came last. `own.rs` keeps the tensors that are the
//! client's own, where a run has such.
//!
//! Absent on purpose: histories, several runs at a time, and vectors in memory; they are read when they are needed.

mod error;
mod header;
mod lock;
mod model;
mod own;
mod read;
mod store;
mod write;

pub use error::StateError;
pub use header::{Keeps, PendingUpdate, Summary};
pub(crate) use model::in_bytes;
pub use store::Store;
pub(crate) use write::replace;

#[cfg(test)]
mod tests;
