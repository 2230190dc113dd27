//! FedAdagrad (`adaptive.rs`): v <- v + update^2, so that all squares are remembered for ever.
//!
//! Absent on purpose: forgetting.

use super::{Adaptive, Algorithm, Step};

/// Steps that become shorter where updates were long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FedAdagrad(pub Adaptive);

impl Algorithm for FedAdagrad {
    fn memories(&self) -> usize {
        Adaptive::MEMORIES
    }

    fn apply(&self, step: &Step<'_>, global: &mut [f32], memories: &mut [&mut [f32]]) {
        self.0.apply(step, global, memories, |v, square| v + square);
    }
}
