//! What a round is told, and what it wants done.

use std::time::Duration;

use nibble_seed::{ClientId, RoundId, Seed};

use super::record::{Outcome, Record, RejectReason};

/// SHA-256 of a payload: tells a repeated update from a different one.
pub type Digest = [u8; 32];

/// Something that happened outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client is available for this round.
    CheckIn(ClientId),
    /// A client is there and cannot afford this round.
    Unable(ClientId),
    /// A client's update arrived, was checked, and is safely kept.
    Update {
        /// Who sent it.
        client: ClientId,
        /// Number of samples it was trained on.
        samples: u64,
        /// SHA-256 of the payload.
        digest: Digest,
    },
    /// A client's update arrived and cannot be used.
    Refused {
        /// Who sent it.
        client: ClientId,
        /// Why not.
        reason: RejectReason,
    },
    /// A client is no longer available, or, of the cohort, will not send anything.
    Lost(ClientId),
    /// Time passed.
    Tick,
    /// The new model is stored: the effect [`Effect::Aggregate`] was carried out.
    Aggregated,
}

/// Something to be done outside, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Tell a client to train.
    Assign {
        /// The client.
        client: ClientId,
        /// Stream of its rounding noise: its alone in this round, and stratified with those of the cohort.
        rounding: Seed,
        /// Stream of its batch order.
        order: Seed,
    },
    /// Wake the round with a tick at this time.
    WakeAt(Duration),
    /// Make the counted set durable, aggregate it, store the new model, then say [`Event::Aggregated`].
    Aggregate(Vec<Counted>),
    /// Tell a client what became of its update.
    Receipt {
        /// The client.
        client: ClientId,
        /// What became of it.
        outcome: Outcome,
    },
    /// Wait for a client no longer.
    GiveUp {
        /// The client.
        client: ClientId,
        /// The round that it was assigned in.
        round: RoundId,
    },
    /// The round is over.
    End(Record),
}

/// An update that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Who sent it.
    pub client: ClientId,
    /// Its weight.
    pub samples: u64,
    /// The round that it was assigned in: that which counts it, or, where rounds do not wait, an earlier one.
    pub round: RoundId,
}

impl Counted {
    /// How many models were made, by the time of `round`, since that which it started from.
    #[must_use]
    pub fn age(&self, round: RoundId) -> u64 {
        round.0.saturating_sub(self.round.0)
    }
}
