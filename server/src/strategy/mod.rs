//! Strategies: what a round's update does to the global model, and what pulls at clients while they train. One file for each
//! family of algorithms, to be read with its paper beside it.
//!
//! ```text
//! clients   train, pulled back to the global model (FedProx: Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, MLSys 2020) and
//!           corrected by a vector of their own (control.rs)
//! updates   are combined into one (crate::aggregation, where FedNova and q-FedAvg weigh them)
//! global    is changed by that, chunk by chunk, by an Optimizer with what it remembers of earlier rounds
//! ```
//!
//! Invariant: the server remembers nothing outside the memories, which are stored with the model.

mod adaptive;
mod control;
mod feddyn;
mod keys;
mod momentum;
mod scaffold;
mod tile;

pub use adaptive::{Adaptive, Second};
pub use control::{Control, Gain, Published};
pub use feddyn::FedDyn;
pub use keys::{Around, Keys};
pub use momentum::Momentum;
pub use scaffold::Scaffold;
pub use tile::{Folding, Tile};

/// An algorithm, by what it does where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strategy {
    /// How the combined update changes the model.
    pub optimizer: Optimizer,
    /// Times how far a client is from the global model, what it adds to the gradient of every step. 0 turns it off.
    pub proximal: f32,
    /// What clients' control variates do, if they have any.
    pub control: Option<Control>,
}

/// How the combined update of a round changes the global model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Along it, and along those before it.
    Momentum(Momentum),
    /// Along it, coordinate by coordinate as far as earlier ones say.
    Adaptive(Adaptive),
    /// Along it, with clients corrected by what all of them did.
    Scaffold(Scaffold),
    /// Along it and what all clients pulled at.
    FedDyn(FedDyn),
}

/// What a round brought, as far as one chunk of the parameters goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step<'a> {
    /// The combined update.
    pub update: &'a [f64],
    /// Updates that it combines.
    pub counted: usize,
    /// The mean of the updates, each per step of its training and unit of learning rate; empty where nobody
    /// [needs](Optimizer::needs_slope) it.
    pub slope: &'a [f64],
    /// The server's control variate as clients had it; empty if that was 0.
    pub sent: &'a [f32],
}

impl Optimizer {
    /// Vectors of the model's length that it remembers from round to round. They are 0 before the first.
    #[must_use]
    pub fn memories(&self) -> usize {
        match self {
            Self::Momentum(momentum) => usize::from(momentum.beta != 0.0),
            Self::Adaptive(_) => 2,
            Self::Scaffold(_) | Self::FedDyn(_) => 1,
        }
    }

    /// Whether it looks at [`Step::slope`].
    #[must_use]
    pub fn needs_slope(&self) -> bool {
        matches!(self, Self::Scaffold(_))
    }

    /// Changes `global`, one chunk of the parameters, by what a round brought. `memories` are those of the chunk, as many as
    /// [`Optimizer::memories`] says.
    ///
    /// # Panics
    /// If they are more or fewer.
    pub fn apply(&self, step: &Step<'_>, global: &mut [f32], memories: &mut [&mut [f32]]) {
        match (self, memories) {
            (Self::Momentum(momentum), []) => momentum.step(step.update, global),
            (Self::Momentum(momentum), [velocity]) => momentum.apply(step.update, global, velocity),
            (Self::Adaptive(adaptive), [first, second]) => adaptive.apply(step.update, global, first, second),
            (Self::Scaffold(scaffold), [control]) => scaffold.apply(step, global, control),
            (Self::FedDyn(dynamic), [pulls]) => dynamic.apply(step, global, pulls),
            (_, memories) => panic!("{self:?} has no use for {} memories", memories.len()),
        }
    }
}

impl Default for Optimizer {
    /// FedAvg's.
    fn default() -> Self {
        Self::Momentum(Momentum { lr: 1.0, beta: 0.0 })
    }
}

#[cfg(test)]
mod tests;
