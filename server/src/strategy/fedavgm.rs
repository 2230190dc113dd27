//! FedAvgM (Hsu, Qi, Brown: "Measuring the effects of non-identical data distribution for federated visual classification",
//! 2019, section 4.3):
//!
//! ```text
//! v <- momentum v + update      x <- x + lr v
//! ```
//!
//! Absent on purpose: momentum of the clients (`[local]`).

use super::{Algorithm, Step};

/// A step along the update, and along those before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FedAvgM {
    /// Server learning rate.
    pub lr: f64,
    /// What is left of the last direction.
    pub momentum: f64,
}

impl Algorithm for FedAvgM {
    fn memories(&self) -> usize {
        1
    }

    fn apply(&self, step: &Step<'_>, global: &mut [f32], memories: &mut [&mut [f32]]) {
        for ((global, update), v) in global.iter_mut().zip(step.update).zip(&mut *memories[0]) {
            let direction = self.momentum * f64::from(*v) + update;
            *v = direction as f32;
            *global = (f64::from(*global) + self.lr * direction) as f32;
        }
    }
}
