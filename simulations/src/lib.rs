//! The simulator.
pub mod report;
pub mod results;
