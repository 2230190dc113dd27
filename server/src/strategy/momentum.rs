//! FedAvg (McMahan, Moore, Ramage, Hampson, Agüera y Arcas: "Communication-efficient learning of deep networks from
//! decentralized data", AISTATS 2017, algorithm 1) and FedAvgM (Hsu, Qi, Brown: "Measuring the effects of non-identical data
//! distribution for federated visual classification", 2019, section 4.3):
//!
//! ```text
//! v <- beta v + update      x <- x + lr v      (FedAvg: beta = 0, lr = 1)
//! ```

/// A step along the update, and along those before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// Server learning rate.
    pub lr: f64,
    /// What is left of the last direction. 0 turns it off.
    pub beta: f64,
}

impl Momentum {
    pub(super) fn step(&self, update: &[f64], global: &mut [f32]) {
        for (global, update) in global.iter_mut().zip(update) {
            *global = (f64::from(*global) + self.lr * update) as f32;
        }
    }

    pub(super) fn apply(&self, update: &[f64], global: &mut [f32], velocity: &mut [f32]) {
        for ((global, update), v) in global.iter_mut().zip(update).zip(velocity) {
            let direction = self.beta * f64::from(*v) + update;
            *v = direction as f32;
            *global = (f64::from(*global) + self.lr * direction) as f32;
        }
    }
}
