//! The edge client: train, compensate, compress; then wait for the outcome and keep what was left out.
//!
//! [`Participant`] is the core, pure like the coordinator's: no sockets, clocks, disks or ambient randomness. The
//! simulator runs this very code for every virtual client. The feature `network` puts a process around it: [`agent`]
//! follows a coordinator's instructions over a [`link`], and [`state`] keeps on disk what must survive a crash.
//!
//! Absent on purpose: more than one run at a time, and any decision about rounds; those are the coordinator's.

pub mod budget;
mod control;
mod error;
mod participant;
mod sensitivity;

#[cfg(feature = "network")]
pub mod agent;
#[cfg(feature = "network")]
pub mod config;
#[cfg(feature = "network")]
pub mod data;
#[cfg(feature = "network")]
pub mod identity;
#[cfg(feature = "network")]
pub mod link;
#[cfg(feature = "network")]
pub mod state;
#[cfg(feature = "network")]
mod transfer;

pub use control::{Control, Gain};
pub use error::ClientError;
pub use participant::{Assignment, Participant, Update};
