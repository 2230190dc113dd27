//! Which samples belong to which client: the kinds known from flwr-datasets, all drawn from a seed.
//!
//! Streams, as `seed.derive(Partition, a, b)`: (0, 0) the order of all samples; (1 + c, 0) the order of class c;
//! (0, 1) a kind's draw over clients; (1 + c, 1) its draw for class c; (0, 2) repairs. Kinds that go through logarithms
//! (dirichlet, size-skewed) are as reproducible as the platform's `ln` and `exp`; the others are everywhere the same.
//!
//! Invariant: every client has at least one sample, and no sample has two clients.

mod assignment;
mod deal;
mod dirichlet;
mod error;
mod even;
mod file;
mod kind;
mod label;

pub use assignment::{Assignment, Description};
pub use error::PartitionError;
pub use kind::Partition;
