//! What clients are told, and what they say, in the coordinator's own terms.

use std::{sync::Arc, time::Duration};

use nibble_codec::Scheme;
use nibble_seed::{ClientId, RoundId, Seed};

use super::Plan;
use crate::{
    models::ModelName,
    round::{Digest, Outcome},
    spool::Place,
    store::Metrics,
};

/// Names one update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateRef {
    /// The run.
    pub run: String,
    /// The round.
    pub round: RoundId,
    /// SHA-256 of the payload.
    pub digest: Digest,
}

/// A global model as it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelRef {
    /// SHA-256 of its parameters.
    pub name: ModelName,
    /// Bytes of its frame.
    pub frame_bytes: u64,
}

/// Delta frames that lead to a global model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaPath {
    /// The model they start from.
    pub base: ModelName,
    /// Seed that a built-in architecture makes that model from, if it is the run's first.
    pub initial_seed: Option<Seed>,
    /// Bytes of that model's own frame, if the client has to fetch it first; else 0.
    pub base_bytes: u64,
    /// Bytes of each, in order.
    pub frame_bytes: Vec<u64>,
    /// How many of them lead to the model that the client is to keep, for later frames to start from.
    pub anchor_frames: u32,
}

/// What a client does next.
#[derive(Clone, Debug)]
pub enum Instruction {
    /// Check in again after this time.
    Wait(Duration),
    /// Train and send.
    Assign(Assignment),
    /// Send the pending update.
    SendPending,
    /// The pending update was decided on.
    Receipt(UpdateRef, Outcome),
    /// The run of this name is over.
    Finished(String),
}

/// A client's part in a round.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The run it is of.
    pub plan: Arc<Plan>,
    /// The round.
    pub round: RoundId,
    /// Seed of the rounding.
    pub rounding: Seed,
    /// Seed of the batch order.
    pub order: Seed,
    /// How the update is coded.
    pub scheme: Scheme,
    /// The model to start from.
    pub model: ModelRef,
    /// A shorter way to it.
    pub path: Option<DeltaPath>,
    /// The server's control variate, if there is one that is not 0.
    pub control: Option<ModelRef>,
    /// Time until the round closes without the client.
    pub deadline: Option<Duration>,
}

/// Whether an update may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may, if it is coded so, with this seed in its header.
    Send {
        /// Its scheme.
        scheme: Scheme,
        /// Seed of the rounding.
        rounding: Seed,
    },
    /// It is here already and not yet decided on.
    Stored,
    /// It was decided on.
    Decided(Outcome),
}

/// An update whose payload lies in the spool, whole, checked and durable.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Where it lies.
    pub place: Place,
    /// The run.
    pub run: String,
    /// Number of samples it was trained on.
    pub samples: u64,
    /// What the client says of it.
    pub metrics: Metrics,
}

impl Sent {
    /// Who sent it.
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.place.client
    }

    /// Its name.
    #[must_use]
    pub fn update(&self) -> UpdateRef {
        UpdateRef { run: self.run.clone(), round: self.place.round, digest: self.place.digest }
    }
}
