//! FedAdagrad, FedAdam and FedYogi (Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan: "Adaptive federated
//! optimization", ICLR 2021, algorithm 2):
//!
//! ```text
//! m <- beta1 m + (1 - beta1) update
//! v <- v + update^2                                        FedAdagrad
//!      beta2 v + (1 - beta2) update^2                      FedAdam
//!      v - (1 - beta2) update^2 sign(v - update^2)          FedYogi
//! x <- x + lr m / (sqrt(v) + tau)
//! ```
//!
//! v begins at tau^2, the least that the paper allows; what is kept is v - tau^2, so that memory begins at 0 here, too. No
//! bias correction, as in the paper.

/// A step whose length follows, coordinate by coordinate, the size of those before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adaptive {
    /// Server learning rate.
    pub lr: f64,
    /// Decay of the direction.
    pub beta1: f64,
    /// Decay of its square; without meaning for FedAdagrad.
    pub beta2: f64,
    /// Adaptivity: the smaller, the more even the steps of all coordinates.
    pub tau: f64,
    /// How squares are remembered.
    pub second: Second,
}

/// How squares are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Second {
    /// All, for ever.
    Adagrad,
    /// As a moving average.
    Adam,
    /// By steps of the newest one's size.
    Yogi,
}

impl Adaptive {
    pub(super) fn apply(&self, update: &[f64], global: &mut [f32], first: &mut [f32], second: &mut [f32]) {
        let floor = self.tau * self.tau;
        for (((global, update), m), v) in global.iter_mut().zip(update).zip(first).zip(second) {
            let square = update * update;
            let direction = self.beta1 * f64::from(*m) + (1.0 - self.beta1) * update;
            let before = f64::from(*v) + floor;
            let after = match self.second {
                Second::Adagrad => before + square,
                Second::Adam => self.beta2 * before + (1.0 - self.beta2) * square,
                Second::Yogi if before > square => before - (1.0 - self.beta2) * square,
                Second::Yogi if before < square => before + (1.0 - self.beta2) * square,
                Second::Yogi => before,
            };
            (*m, *v) = (direction as f32, (after - floor) as f32);
            // What was rounded away may leave v a little below 0.
            *global = (f64::from(*global) + self.lr * direction / (after.max(0.0).sqrt() + self.tau)) as f32;
        }
    }
}
