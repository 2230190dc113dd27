//! The client as a process: it does what a coordinator says, one instruction at a time, and survives what happens between.
//!
//! ```text
//!            +--> Wait: sleep ------------------------------------------------------------+
//!            |--> Assignment: fetch the model, train, encode, keep as pending, send ------|
//! check in --+--> SendPending: send what is kept -----------------------------------------+--> check in again
//!            |--> Receipt: move the residual, keep it ------------------------------------|
//!            +--> Finished: end                       any failure: back off --------------+
//! ```
//!
//! While an update is pending, every check-in names it, and nothing is trained. An update is on disk before its first byte
//! is sent, and a residual moves only on a receipt for exactly the update that is pending. So a kill at any instant is
//! harmless: before the update is on disk, the same assignment gives the same bytes again; after it, the update is offered
//! until its receipt comes; the receipt's effect is on disk before the next check-in stops asking for it.
//!
//! Absent on purpose: decisions about rounds, and retries of single calls: every failure leads back to a check-in, which
//! says whether what failed is still wanted. What was transferred by then is not transferred again.

mod backoff;
mod error;
mod order;
mod prepared;
mod purse;
mod run;
mod spending;
mod trainers;
mod workbench;

pub use backoff::{Backoff, jitter_from_system};
pub use error::AgentError;
pub use purse::Purse;
pub use run::{Agent, AgentConfig, Ended};
pub use trainers::{BoxError, TrainerSource};
pub use workbench::Training;
