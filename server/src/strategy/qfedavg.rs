//! q-FedAvg (Li, Sanjabi, Beirami, Smith: "Fair resource allocation in federated learning", ICLR 2020, algorithm 2): FedAvg of
//! updates that count by the losses they come from, as `aggregation/qfedavg.rs` says.
//!
//! Absent on purpose: schedules of the learning rate: L is that of `local.lr`.

use super::{Algorithm, FedAvg, Step};
use crate::aggregation::{FairMean, Rule};

/// FedAvg in which those who are worse off count more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QFedAvg {
    /// How much more; 0: all alike.
    pub q: f64,
    /// Learning rate of the clients.
    pub lr: f64,
}

impl Algorithm for QFedAvg {
    fn rule(&self) -> Option<Rule> {
        Some(Rule::QFedAvg(FairMean { q: self.q, lr: self.lr }))
    }

    fn apply(&self, step: &Step<'_>, global: &mut [f32], memories: &mut [&mut [f32]]) {
        FedAvg { lr: 1.0 }.apply(step, global, memories);
    }
}
