//! What a run is to do: fixed before its first round, and for good.

use std::time::Duration;

use nibble_codec::Layout;
use nibble_learning::Quantization;
use nibble_seed::Seed;

use crate::{
    aggregation::Aggregation,
    broadcast::Downlink,
    learning_rate::{Decay, LearningRate},
    policy::Policy,
    round::RoundConfig,
    strategy::Strategy,
};

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
    /// Most bytes on the socket that the updates of a cohort take together.
    pub cohort_uplink_bytes: Option<u64>,
    /// How updates become one.
    pub aggregation: Aggregation,
    /// What the combined update does to the model, and what pulls at clients.
    pub strategy: Strategy,
    /// How the global model's changes travel to the clients; without it, it goes out whole.
    pub downlink: Option<Downlink>,
    /// Seed of the first model, if a built-in architecture makes it from one.
    pub initial_seed: Option<Seed>,
    /// Tensors that are each client's own, and in no layout; made from the run's seed at first.
    pub personal: Vec<String>,
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
    /// Steps instead.
    pub steps: Option<u32>,
    /// Samples of a step.
    pub batch: u32,
    /// Learning rate, round by round.
    pub lr: LearningRate,
    /// Momentum.
    pub momentum: f32,
    /// L2 weight decay.
    pub weight_decay: f32,
    /// Greatest norm of a step's gradient.
    pub clip_norm: Option<f32>,
    /// Widths of the quantised model that is trained for.
    pub qat: Option<Quantization>,
    /// Pull towards the global model.
    pub proximal: f32,
}

impl Default for Training {
    fn default() -> Self {
        let lr = LearningRate { base: 0.1, decay: Decay::Constant, warmup_rounds: 0 };
        Self {
            epochs: 1,
            steps: None,
            batch: 32,
            lr,
            momentum: 0.0,
            weight_decay: 0.0,
            clip_norm: None,
            qat: None,
            proximal: 0.0,
        }
    }
}

impl Training {
    /// Steps that a client with this many samples takes.
    #[must_use]
    pub fn steps(&self, samples: u64) -> u64 {
        let pass = samples.div_ceil(u64::from(self.batch.max(1)));
        self.steps.map_or(pass.saturating_mul(self.epochs.into()), u64::from)
    }
}
