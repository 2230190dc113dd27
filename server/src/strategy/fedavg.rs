//! FedAvg (McMahan, Moore, Ramage, Hampson, Agüera y Arcas: "Communication-efficient learning of deep networks from
//! decentralized data", AISTATS 2017, algorithm 1):
//!
//! ```text
//! x <- x + lr update      (in the paper lr = 1)
//! ```
//!
//! Absent on purpose: how updates become one (`aggregation`).

use super::{Algorithm, Step};

/// A step along the update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FedAvg {
    /// Server learning rate.
    pub lr: f64,
}

impl Algorithm for FedAvg {
    fn apply(&self, step: &Step<'_>, global: &mut [f32], _: &mut [&mut [f32]]) {
        for (global, update) in global.iter_mut().zip(step.update) {
            *global = (f64::from(*global) + self.lr * update) as f32;
        }
    }
}
