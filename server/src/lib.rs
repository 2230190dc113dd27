//! The coordinator: a pure core, and the process around it.
//!
//! The core (rounds, selection, aggregation, strategies) has no sockets, clocks, disks or ambient randomness. Whoever
//! owns those feeds events to a [`Round`] and carries out its effects: the simulator in virtual time, and, behind the
//! feature `network`, the process here over gRPC, with a store that survives it. So what is simulated is what is
//! deployed. The server sees vectors and layouts, never a model.

pub mod aggregation;
pub mod broadcast;
#[cfg(feature = "network")]
pub mod budget;
#[cfg(feature = "network")]
pub mod clock;
#[cfg(feature = "network")]
pub mod coordinator;
mod error;
#[cfg(feature = "network")]
pub mod evaluation;
#[cfg(feature = "network")]
pub mod identity;
pub mod learning_rate;
#[cfg(feature = "network")]
pub mod listener;
pub mod local;
#[cfg(feature = "network")]
pub mod models;
#[cfg(feature = "network")]
pub mod peer;
pub mod policy;
#[cfg(feature = "network")]
pub mod process;
pub mod round;
pub mod selection;
#[cfg(feature = "network")]
pub mod service;
#[cfg(feature = "network")]
pub mod settings;
#[cfg(feature = "network")]
pub mod spool;
#[cfg(feature = "network")]
pub mod store;
pub mod strategy;
pub mod wire;

pub use aggregation::{Aggregate, Chunks, Contribution, Facts, Scratch};
pub use error::{AggregateError, FoldError, RoundConfigError};
pub use round::Round;
