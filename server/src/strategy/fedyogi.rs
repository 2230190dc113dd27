//! FedYogi (`adaptive.rs`): v <- v - (1 - beta2) update^2 sign(v - update^2), so that v moves by no more than the newest square.
//!
//! Absent on purpose: bias correction, as in the paper.

use super::{Adaptive, Algorithm, Step};

/// Steps whose length changes slowly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FedYogi {
    /// What it shares with the others.
    pub adaptive: Adaptive,
    /// 1 less what of a square v moves by.
    pub beta2: f64,
}

impl Algorithm for FedYogi {
    fn memories(&self) -> usize {
        Adaptive::MEMORIES
    }

    fn apply(&self, step: &Step<'_>, global: &mut [f32], memories: &mut [&mut [f32]]) {
        let moves = 1.0 - self.beta2;
        self.adaptive.apply(step, global, memories, |v, square| match v.total_cmp(&square) {
            std::cmp::Ordering::Greater => v - moves * square,
            std::cmp::Ordering::Less => v + moves * square,
            std::cmp::Ordering::Equal => v,
        });
    }
}
