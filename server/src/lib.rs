//! The coordinator's core: rounds, selection, aggregation and strategies.
//!
//! Everything here is pure: no sockets, clocks, disks or ambient randomness. Whoever owns those (the gRPC edge, the
//! simulator) feeds events to a [`Round`] and carries out its effects, so what is simulated is what is deployed.
//! The server sees vectors and layouts, never a model.

mod aggregate;
mod error;
pub mod round;
mod selection;
pub mod strategy;

pub use aggregate::{Aggregate, Contribution};
pub use error::{AggregateError, RoundConfigError};
pub use round::Round;
