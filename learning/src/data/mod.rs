//! Data sets: what a sample is, and where samples come from.

mod dataset;
mod embedded;
mod error;
mod idx;

pub use dataset::{Dataset, Features, Samples};
pub use error::{DataError, IdxProblem};
