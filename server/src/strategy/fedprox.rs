//! FedProx (Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith: "Federated optimization in heterogeneous networks", MLSys 2020,
//! algorithm 2):
//!
//! ```text
//! client  y <- y - lr_l (g(y) + mu (y - x))      from x, in every step
//! server  as FedAvg
//! ```
//!
//! Absent on purpose: the paper's clients that stop early: every client takes the steps it is told.

use super::{Algorithm, FedAvg, Step};

/// FedAvg of clients that are held to the global model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FedProx {
    /// The server's part.
    pub server: FedAvg,
    /// How strongly clients are held.
    pub mu: f32,
}

impl Algorithm for FedProx {
    fn proximal(&self) -> f32 {
        self.mu
    }

    fn apply(&self, step: &Step<'_>, global: &mut [f32], memories: &mut [&mut [f32]]) {
        self.server.apply(step, global, memories);
    }
}
