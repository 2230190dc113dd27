//! What FedAdagrad, FedAdam and FedYogi share (Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan: "Adaptive
//! federated optimization", ICLR 2021, algorithm 2):
//!
//! ```text
//! m <- beta1 m + (1 - beta1) update
//! v <- as each of them says
//! x <- x + lr m / (sqrt(v) + tau)
//! ```
//!
//! v begins at tau^2, the least that the paper allows; what is kept is v - tau^2, so that memory begins at 0 here, too. No
//! bias correction, as in the paper.
//!
//! Absent on purpose: what v is made of, in which the three differ.

use super::Step;

/// A step whose length follows, coordinate by coordinate, the size of those before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adaptive {
    /// Server learning rate.
    pub lr: f64,
    /// Decay of the direction.
    pub beta1: f64,
    /// Adaptivity: the smaller, the more even the steps of all coordinates.
    pub tau: f64,
}

impl Adaptive {
    /// Direction and squares.
    pub(super) const MEMORIES: usize = 2;

    /// Changes a chunk; `remember` makes v of what it was and of the square of the update.
    pub(super) fn apply(
        &self,
        step: &Step<'_>,
        global: &mut [f32],
        memories: &mut [&mut [f32]],
        remember: impl Fn(f64, f64) -> f64,
    ) {
        let [first, second] = memories else { panic!("a direction and squares, not {} memories", memories.len()) };
        let floor = self.tau * self.tau;
        for (((global, update), m), v) in global.iter_mut().zip(step.update).zip(&mut **first).zip(&mut **second) {
            let direction = self.beta1 * f64::from(*m) + (1.0 - self.beta1) * update;
            let squares = remember(f64::from(*v) + floor, update * update);
            (*m, *v) = (direction as f32, (squares - floor) as f32);
            // What was rounded away may leave v a little below 0.
            *global = (f64::from(*global) + self.lr * direction / (squares.max(0.0).sqrt() + self.tau)) as f32;
        }
    }
}
