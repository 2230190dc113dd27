//! The simulator: many virtual clients on one machine, in virtual time, over the coordinator's and the client's own
//! cores; and the comparison of compression levels that it exists for.

pub mod experiment;
pub mod report;
pub mod results;
