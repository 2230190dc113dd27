//! What a run is to do: fixed before its first round, and for good.

use std::time::Duration;

use nibble_codec::{Layout, Scheme};
use nibble_seed::Seed;

use crate::{aggregation::Aggregation, policy::Policy, round::RoundConfig};

/// A validated run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name: a file name.
    pub name: String,
    /// Its configuration as TOML, every key spelled out; a run cannot be resumed under another one.
    pub config: String,
    /// Seed of selection, rounding and batch order.
    pub seed: Seed,
    /// Rounds of the run, abandoned ones included.
    pub rounds: u64,
    /// When a round selects and closes.
    pub round: RoundConfig,
    /// How long a client that declined is not selected.
    pub decline_pause: Duration,
    /// Names and shapes of the parameters.
    pub layout: Layout,
    /// What the parameters mean, for clients that know several models.
    pub architecture: String,
    /// How updates are coded.
    pub policy: Policy,
    /// How updates become one.
    pub aggregation: Aggregation,
    /// Scheme of the global model's changes on their way to the clients; without one it goes out whole.
    pub downlink: Option<Scheme>,
    /// Seed of the first model, if a built-in architecture makes it from one.
    pub initial_seed: Option<Seed>,
    /// How clients train.
    pub training: Training,
    /// Most bytes a payload may have.
    pub max_payload_bytes: u64,
}

/// Local SGD, as told to clients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// Passes over a client's samples.
    pub epochs: u32,
    /// Samples of a step.
    pub batch: u32,
    /// Learning rate.
    pub lr: f32,
    /// Momentum.
    pub momentum: f32,
    /// L2 weight decay.
    pub weight_decay: f32,
}

impl Training {
    /// Steps that a client with this many samples takes.
    #[must_use]
    pub fn steps(&self, samples: u64) -> u64 {
        samples.div_ceil(u64::from(self.batch.max(1))).saturating_mul(u64::from(self.epochs))
    }
}
