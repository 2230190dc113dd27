//! What ends a command early, and with which exit code.

use std::{io, path::PathBuf};

use nibble_client::ClientError;
use nibble_codec::{DecodeError, EncodeError};
use nibble_learning::{LearningError, data::DataError, partition::PartitionError};
use nibble_seed::{ClientId, RoundId};

use crate::experiment::ExperimentError;

/// Errors of a simulation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The experiment cannot be run.
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    /// The data cannot be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data cannot be dealt out.
    #[error("data.partition: {0}")]
    Partition(#[from] PartitionError),
    /// The model cannot be made for this data.
    #[error("model.name: {0}")]
    Model(LearningError),
    /// A scheme does not fit the budget of a cohort.
    #[error(
        "cohort.uplink_bytes: {clients} updates under {scheme} take {needed} bytes at least, the budget is {budget}\n  help: raise \
         it, lower cohort.size, or choose {}", if scheme.starts_with("fit") { "a smaller model" } else { "fit, which shares it" }
    )]
    CohortBudget {
        /// The scheme.
        scheme: String,
        /// Clients selected.
        clients: usize,
        /// Bytes of their updates.
        needed: u64,
        /// The budget.
        budget: u64,
    },
    /// A scheme asks for fewer bytes than there are payloads of.
    #[error(
        "compression.uplink: {scheme} asks for fewer bytes than an update of this model takes\n  help: name {least} bytes or more"
    )]
    TooFewBytes {
        /// The scheme.
        scheme: String,
        /// The least that can be asked for.
        least: u64,
    },
    /// A scheme does not fit the budget.
    #[error(
        "compression.uplink_budget_bytes: an update under {scheme} takes {needed} bytes, the budget is {budget}\n  help: \
         {mend}"
    )]
    Budget {
        /// The scheme.
        scheme: String,
        /// Bytes of its payloads.
        needed: u64,
        /// The budget.
        budget: u64,
        /// What would fit.
        mend: String,
    },
    /// A client failed in a round.
    #[error("round {round}, client {client}: {error}")]
    Client {
        /// The round.
        round: RoundId,
        /// The client.
        client: ClientId,
        /// What failed.
        error: ClientError,
    },
    /// The global model cannot be evaluated.
    #[error("the global model cannot be evaluated: {0}")]
    Evaluation(LearningError),
    /// The global model cannot be sent.
    #[error("round {round}: the global model cannot be encoded: {error}")]
    Downlink {
        /// The round.
        round: RoundId,
        /// Why not.
        error: EncodeError,
    },
    /// A payload contradicts its layout.
    #[error("a payload cannot be decoded: {0}")]
    Payload(#[from] DecodeError),
    /// The report cannot be written.
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{}: {problem}\n  help: {mend}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// How to mend it.
        mend: String,
    },
    /// A program of a deployed run failed.
    #[error("{what} failed: {status}\n{said}")]
    Process {
        /// Which.
        what: String,
        /// How it ended.
        status: String,
        /// Its last words.
        said: String,
    },
    /// What was asked for makes no sense.
    #[error("{problem}\n  help: {mend}")]
    Usage {
        /// What is wrong.
        problem: String,
        /// How to mend it.
        mend: String,
    },
    /// The reference workload went another way than PyTorch.
    #[error("{problem}")]
    Reference {
        /// By how much.
        problem: String,
    },
    /// The user interrupted; what was done is kept.
    #[error("interrupted{0}")]
    Interrupted(String),
}

impl SimError {
    /// Ties an I/O error to its path.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }

    /// The process's exit code: 2 for what the user can mend in the experiment or the command, 130 for an
    /// interruption, 1 for the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Experiment(_)
            | Self::Data(_)
            | Self::Partition(_)
            | Self::Model(_)
            | Self::Budget { .. }
            | Self::CohortBudget { .. }
            | Self::TooFewBytes { .. }
            | Self::Usage { .. } => 2,
            Self::Interrupted(_) => 130,
            _ => 1,
        }
    }
}
