//! FedNova (Wang, Liu, Liang, Joshi, Poor: "Tackling the objective inconsistency problem in heterogeneous federated
//! optimization", NeurIPS 2020, equation 6): who takes more steps does not count more for it. With p_i the share of the
//! samples and |a_i| what the steps of an update add up to,
//!
//! ```text
//! combined = tau_eff sum p_i delta_i / |a_i|      tau_eff = sum p_i |a_i|
//! |a| = tau, the number of steps; with momentum rho: (tau - rho (1 - rho^tau) / (1 - rho)) / (1 - rho)
//! ```

use super::{Columns, Combination, Combine, Known, Weights};

/// The weighted mean, per step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanPerStep {
    /// Of the clients' SGD.
    pub momentum: f64,
}

impl Combine for MeanPerStep {
    fn name(&self) -> &'static str {
        "fednova"
    }

    fn weighs_samples(&self) -> bool {
        true
    }

    fn combine(&self, known: &Known<'_>) -> Combination {
        let shares = Weights::Samples.shares(known.facts);
        let lengths: Vec<_> = known.facts.iter().map(|facts| length(facts.steps, self.momentum)).collect();
        let effective: f64 = shares.iter().zip(&lengths).map(|(share, length)| share * length).sum();
        let shares = shares.iter().zip(&lengths).map(|(share, length)| effective * share / length).collect();
        Combination { shares, columns: Columns::Sum }
    }
}

fn length(steps: u64, momentum: f64) -> f64 {
    let steps = steps.max(1) as f64;
    let lost = momentum * (1.0 - libm::pow(momentum, steps)) / (1.0 - momentum);
    (steps - lost) / (1.0 - momentum)
}
