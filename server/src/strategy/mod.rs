//! Strategies: what a round's update does to the global model, and what pulls at clients while they train. One trait
//! ([`Algorithm`]) and one file for each, to be read with its paper beside it.
//!
//! ```text
//! clients   train, pulled back to the global model (`proximal`) and corrected by a vector of their own (`control`)
//! updates   are combined into one (crate::aggregation, by the algorithm's `rule` if it has one)
//! global    is changed by that, chunk by chunk (`apply`), with what is remembered of earlier rounds (`memories`)
//! ```
//!
//! A new one is a file, a variant of [`Strategy`] and its name in [`Keys`].
//!
//! Invariant: the server remembers nothing outside the memories, which are stored with the model.

mod adaptive;
mod control;
mod fedadagrad;
mod fedadam;
mod fedavg;
mod fedavgm;
mod feddyn;
mod fednova;
mod fedprox;
mod fedyogi;
mod keys;
mod qfedavg;
mod scaffold;
mod tile;

use std::{fmt, ops::Deref};

pub use adaptive::Adaptive;
pub use control::{Control, Gain, Published};
pub use fedadagrad::FedAdagrad;
pub use fedadam::FedAdam;
pub use fedavg::FedAvg;
pub use fedavgm::FedAvgM;
pub use feddyn::FedDyn;
pub use fednova::FedNova;
pub use fedprox::FedProx;
pub use fedyogi::FedYogi;
pub use keys::{Around, Keys};
pub use qfedavg::QFedAvg;
pub use scaffold::Scaffold;
pub use tile::{Folding, Tile, tiles};

use crate::aggregation::Rule;

/// What an algorithm does, by where it does it; what it leaves out it does as FedAvg.
pub trait Algorithm: fmt::Debug + Send + Sync {
    /// How updates are combined, if that is not up to `[aggregation]`.
    fn rule(&self) -> Option<Rule> {
        None
    }

    /// Times how far a client is from the global model, what it adds to the gradient of every step.
    fn proximal(&self) -> f32 {
        0.0
    }

    /// What clients' control variates do, if they have any.
    fn control(&self) -> Option<Control> {
        None
    }

    /// Vectors of the model's length that it remembers from round to round. They are 0 before the first.
    fn memories(&self) -> usize {
        0
    }

    /// Whether it looks at [`Step::slope`].
    fn needs_slope(&self) -> bool {
        false
    }

    /// Changes `global`, one chunk of the parameters or a few, by what a round brought. `memories` are those of the chunk, as many as
    /// [`Algorithm::memories`] says.
    fn apply(&self, step: &Step<'_>, global: &mut [f32], memories: &mut [&mut [f32]]);
}

/// The algorithms there are. It can be used as the [`Algorithm`] that it is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "each says what it is")]
pub enum Strategy {
    FedAvg(FedAvg),
    FedAvgM(FedAvgM),
    FedAdagrad(FedAdagrad),
    FedAdam(FedAdam),
    FedYogi(FedYogi),
    FedProx(FedProx),
    FedNova(FedNova),
    QFedAvg(QFedAvg),
    Scaffold(Scaffold),
    FedDyn(FedDyn),
}

impl Deref for Strategy {
    type Target = dyn Algorithm;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::FedAvg(it) => it,
            Self::FedAvgM(it) => it,
            Self::FedAdagrad(it) => it,
            Self::FedAdam(it) => it,
            Self::FedYogi(it) => it,
            Self::FedProx(it) => it,
            Self::FedNova(it) => it,
            Self::QFedAvg(it) => it,
            Self::Scaffold(it) => it,
            Self::FedDyn(it) => it,
        }
    }
}

impl Default for Strategy {
    /// The paper's FedAvg.
    fn default() -> Self {
        Self::FedAvg(FedAvg { lr: 1.0 })
    }
}

/// What a round brought, as far as some chunks of the parameters go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step<'a> {
    /// The combined update.
    pub update: &'a [f64],
    /// Updates that it combines.
    pub counted: usize,
    /// The mean of the updates, each per step of its training and unit of learning rate; empty where nobody
    /// [needs](Algorithm::needs_slope) it.
    pub slope: &'a [f64],
    /// The server's control variate as clients had it; empty if that was 0.
    pub sent: &'a [f32],
}

#[cfg(test)]
mod tests;
