//! FedAdam (`adaptive.rs`): v <- beta2 v + (1 - beta2) update^2, a moving average of the squares.
//!
//! Absent on purpose: bias correction, as in the paper.

use super::{Adaptive, Algorithm, Step};

/// Steps as long as the squares of late allow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FedAdam {
    /// What it shares with the others.
    pub adaptive: Adaptive,
    /// Decay of the squares.
    pub beta2: f64,
}

impl Algorithm for FedAdam {
    fn memories(&self) -> usize {
        Adaptive::MEMORIES
    }

    fn apply(&self, step: &Step<'_>, global: &mut [f32], memories: &mut [&mut [f32]]) {
        let beta2 = self.beta2;
        self.adaptive.apply(step, global, memories, |v, square| beta2 * v + (1.0 - beta2) * square);
    }
}
