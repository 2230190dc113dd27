//! Strategies: what a round's update does to the global model, and what pulls at clients while they train. One file for each
//! family of algorithms, to be read with its paper beside it.
//!
//! ```text
//! clients   train, pulled back to the global model (FedProx: Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, MLSys 2020)
//! updates   are combined into one (crate::aggregation, where FedNova and q-FedAvg weigh them)
//! global    is changed by that, chunk by chunk, by an Optimizer with what it remembers of earlier rounds
//! ```
//!
//! Invariant: nothing is remembered outside the memories, which are stored with the model.

mod adaptive;
mod keys;
mod momentum;
mod tile;

pub use adaptive::{Adaptive, Second};
pub use keys::{Around, Keys};
pub use momentum::Momentum;
pub use tile::Tile;

/// An algorithm, by what it does where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strategy {
    /// How the combined update changes the model.
    pub optimizer: Optimizer,
    /// Times how far a client is from the global model, what it adds to the gradient of every step. 0 turns it off.
    pub proximal: f32,
}

/// How the combined update of a round changes the global model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Along it, and along those before it.
    Momentum(Momentum),
    /// Along it, coordinate by coordinate as far as earlier ones say.
    Adaptive(Adaptive),
}

impl Optimizer {
    /// Vectors of the model's length that it remembers from round to round. They are 0 before the first.
    #[must_use]
    pub fn memories(&self) -> usize {
        match self {
            Self::Momentum(momentum) => usize::from(momentum.beta != 0.0),
            Self::Adaptive(_) => 2,
        }
    }

    /// Changes `global`, one chunk of the parameters, by `update`. `memories` are those of the chunk, as many as
    /// [`Optimizer::memories`] says.
    ///
    /// # Panics
    /// If they are more or fewer.
    pub fn apply(&self, update: &[f64], global: &mut [f32], memories: &mut [&mut [f32]]) {
        match (self, memories) {
            (Self::Momentum(momentum), []) => momentum.step(update, global),
            (Self::Momentum(momentum), [velocity]) => momentum.apply(update, global, velocity),
            (Self::Adaptive(adaptive), [first, second]) => adaptive.apply(update, global, first, second),
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
