//! FedNova (Wang, Liu, Liang, Joshi, Poor: "Tackling the objective inconsistency problem in heterogeneous federated
//! optimization", NeurIPS 2020): FedAvg of updates that are weighed by the steps they took, as `aggregation/fednova.rs` says.
//!
//! Absent on purpose: the paper's momentum on the server.

use super::{Algorithm, FedAvg, Step};
use crate::aggregation::{MeanPerStep, Rule};

/// FedAvg without the advantage of those who took more steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FedNova {
    /// The server's part.
    pub server: FedAvg,
    /// Momentum of the clients' SGD.
    pub momentum: f64,
}

impl Algorithm for FedNova {
    fn rule(&self) -> Option<Rule> {
        Some(Rule::FedNova(MeanPerStep { momentum: self.momentum }))
    }

    fn apply(&self, step: &Step<'_>, global: &mut [f32], memories: &mut [&mut [f32]]) {
        self.server.apply(step, global, memories);
    }
}
