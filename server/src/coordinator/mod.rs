//! The coordinator of one run: the pure round core, driven by commands and time, on a store that survives a crash.
//!
//! One task owns the round, the store and the global model; everything that changes them goes through its queue.
//!
//! ```text
//! services --Command--> queue --> [ begin; step the round; write; commit ] --> replies
//!                                   counted set fixed: commit, fold from the spool, store the model, commit, publish
//! ```
//!
//! Durable points, each before what follows it: the run's configuration before anything is served; round, model, cohort
//! before the first assignment; payload (spool) and report before `Stored`; the counted set before its receipts and the
//! fold; the model's file, then the round's commit, before the model is named to anyone.
//!
//! Absent on purpose: sockets and messages (`service`), models as anything but vectors, any retry: a store that fails
//! stops the coordinator, and a restart goes on from the last durable point.

mod actor;
mod calls;
mod closing;
mod counters;
mod handle;
mod instruction;
mod ledger;
mod plan;
mod planning;
mod publishing;
mod recovery;
mod reports;
#[cfg(test)]
mod tests;

pub use actor::{Coordinator, Parts};
pub use counters::describe_metrics;
pub use handle::{Asks, Command, Handle, Stopped};
pub use instruction::{Admission, Assignment, DeltaPath, Instruction, ModelRef, Sent, UpdateRef};
pub use ledger::Ledger;
pub use plan::{Plan, Training};

use crate::{AggregateError, models::ModelError, spool::SpoolError, store::StoreError};

/// What stops a coordinator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoordinatorError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Uploads cannot be kept.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Models cannot be kept.
    #[error(transparent)]
    Models(#[from] ModelError),
    /// An update that was checked on arrival cannot be folded any more.
    #[error("the update of client {client} in round {round} cannot be folded: {error}")]
    Fold {
        /// The round.
        round: nibble_seed::RoundId,
        /// The client.
        client: nibble_seed::ClientId,
        /// Why not.
        error: SpoolError,
    },
    /// The counted updates make no aggregate.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// The store and the round core do not agree on what happened.
    #[error("round {round} cannot be resumed: {problem}; the store was damaged or changed by hand")]
    Resume {
        /// The round.
        round: nibble_seed::RoundId,
        /// What does not agree.
        problem: String,
    },
}
