//! The simulator.
pub mod results;
