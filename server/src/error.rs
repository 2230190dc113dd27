//! What can be wrong with a round's configuration or with the updates given to an aggregate.

use nibble_seed::ClientId;

use crate::selection::SelectionError;

/// A round configuration that cannot work.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RoundConfigError {
    /// No updates wanted.
    #[error("the cohort is 0 clients; a round needs at least 1")]
    NoCohort,
    /// A quorum outside 1..=cohort.
    #[error("the quorum is {quorum}, but it must be from 1 to the cohort size {cohort}")]
    Quorum {
        /// The quorum.
        quorum: usize,
        /// The cohort's size.
        cohort: usize,
    },
    /// An over-selection that is negative, not a number, or absurd.
    #[error("over-selection is {found}, but it must be from 0 (none) to 10 (eleven times the cohort)")]
    OverSelect {
        /// The factor.
        found: f64,
    },
    /// A deadline of no time.
    #[error("the deadline is 0 seconds; leave it out for none")]
    Deadline,
    /// A rule of selection that cannot work.
    #[error(transparent)]
    Selection(#[from] SelectionError),
}

/// Updates that cannot be aggregated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AggregateError {
    /// Two updates of one client.
    #[error("client {client} contributes twice")]
    Duplicate {
        /// The client.
        client: ClientId,
    },
    /// Nothing to weigh.
    #[error("the {updates} updates weigh nothing together")]
    NoWeight {
        /// Updates given.
        updates: usize,
    },
    /// Fewer updates than the rule withstands attackers with.
    #[error("{rule} takes {needed} updates, there are {found}; raise the quorum, or withstand fewer attackers")]
    TooFew {
        /// The rule's name.
        rule: &'static str,
        /// Updates it takes.
        needed: usize,
        /// Updates there are.
        found: usize,
    },
}

/// Updates that cannot be folded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError<E> {
    /// The updates make no aggregate.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// A chunk cannot be had.
    #[error("the update of client {client} cannot be folded: {error}")]
    Chunk {
        /// Whose it is.
        client: ClientId,
        /// Why not.
        error: E,
    },
}
