//! What a round leaves behind: who was selected, what became of each, and why it ended.

use std::{collections::BTreeMap, fmt, time::Duration};

use nibble_seed::{ClientId, RoundId};

/// What became of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It counted.
    Accepted,
    /// It cannot be used.
    Rejected(RejectReason),
    /// It was good, but does not count.
    Discarded(DiscardReason),
}

/// Why an update cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// The client is not of this round's cohort.
    NotSelected,
    /// The client already sent a different update; the first one stands.
    Conflict,
    /// It says it was trained on no samples.
    NoSamples,
    /// Its payload failed its checks; the text says which.
    Malformed(String),
    /// There is no such run or round.
    UnknownRound,
}

/// Why a good update does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiscardReason {
    /// The round had closed.
    Late,
    /// The round was abandoned.
    Abandoned,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSelected => f.write_str("not of the round's cohort"),
            Self::Conflict => f.write_str("another update of this client came first"),
            Self::NoSamples => f.write_str("trained on no samples"),
            Self::Malformed(problem) => f.write_str(problem),
            Self::UnknownRound => f.write_str("no such run or round"),
        }
    }
}

impl fmt::Display for DiscardReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Late => "the round had closed",
            Self::Abandoned => "the round was abandoned",
        })
    }
}

/// Why a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// As many updates as wanted came in.
    CohortComplete,
    /// At least the quorum came in, and nobody was left to wait for.
    AllReported,
    /// The deadline passed with at least the quorum.
    Deadline,
    /// Abandoned: fewer clients than the quorum were available.
    TooFewClients,
    /// Abandoned: fewer updates than the quorum came in, or still could.
    QuorumMissed,
}

impl Closed {
    /// Whether the round made a new model.
    #[must_use]
    pub fn is_committed(self) -> bool {
        matches!(self, Self::CohortComplete | Self::AllReported | Self::Deadline)
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CohortComplete => "cohort complete",
            Self::AllReported => "all reported",
            Self::Deadline => "deadline",
            Self::TooFewClients => "abandoned: too few clients",
            Self::QuorumMissed => "abandoned: quorum missed",
        })
    }
}

/// An ended round.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The round.
    pub round: RoundId,
    /// Clients that were assigned, in the order they were drawn.
    pub selected: Vec<ClientId>,
    /// What became of every client that sent something before the round closed.
    pub outcomes: BTreeMap<ClientId, Outcome>,
    /// Of those that were assigned in earlier rounds: in which.
    pub earlier: BTreeMap<ClientId, RoundId>,
    /// Clients that were assigned and had sent nothing usable when the round closed.
    pub missing: Vec<ClientId>,
    /// Why it ended.
    pub closed: Closed,
    /// When it was opened.
    pub opened: Duration,
    /// When its counted set was fixed, or it was abandoned.
    pub ended: Duration,
}

impl Record {
    /// What became of every update, with the round that it was assigned in.
    pub fn updates(&self) -> impl Iterator<Item = (RoundId, ClientId, &Outcome)> {
        let round = |client| self.earlier.get(client).copied().unwrap_or(self.round);
        self.outcomes.iter().map(move |(client, outcome)| (round(client), *client, outcome))
    }
}

impl Closed {
    /// The reason for which a round that made a model was closed, by how it is displayed.
    #[must_use]
    pub fn of(displayed: &str) -> Option<Self> {
        [Self::CohortComplete, Self::AllReported, Self::Deadline].into_iter().find(|it| it.to_string() == displayed)
    }
}
