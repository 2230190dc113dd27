//! Data sets: what a sample is, and where samples come from.

mod dataset;

pub use dataset::{Dataset, Features, Samples};
