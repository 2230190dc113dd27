//! The simulator: many virtual clients on one machine, in virtual time, over the coordinator's and the client's own
//! cores; and the comparison of compression levels that it exists for.

mod after;
pub mod attacks;
mod budgets;
mod classes;
pub mod clock;
pub mod codec_eval;
pub mod codec_plan;
pub mod compare;
mod deployed;
pub mod engine;
pub mod error;
pub mod experiment;
pub mod export;
pub mod federation;
pub mod files;
pub mod links;
pub mod machine;
pub mod model_file;
pub mod reference;
pub mod report;
pub mod results;
