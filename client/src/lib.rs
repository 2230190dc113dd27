//! The edge client's core: train, compensate, compress; then wait for the outcome and keep what was left out.
//!
//! Pure like the coordinator's: no sockets, clocks, disks or ambient randomness. The simulator runs this very code for
//! every virtual client.

mod error;
mod participant;

pub use error::ClientError;
pub use participant::{Assignment, Participant, Update};
