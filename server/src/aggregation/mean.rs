//! The weighted mean (McMahan, Moore, Ramage, Hampson, Agüera y Arcas: "Communication-efficient learning of deep networks
//! from decentralized data", AISTATS 2017, algorithm 1): Σ (n_k / n) delta_k.
//!
//! One attacker moves it anywhere, as far as norm bounding lets it; and samples are what clients say they are.

use super::{Columns, Combination, Combine, Facts, Known, Weights};

/// The weighted mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// Of each update.
    pub weights: Weights,
}

impl Combine for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn weighs_samples(&self) -> bool {
        self.weights == Weights::Samples
    }

    fn combine(&self, known: &Known<'_>) -> Combination {
        Combination { shares: self.weights.shares(known.facts), columns: Columns::Sum }
    }
}

impl Weights {
    /// The weight of every update, of 1 in total.
    pub(super) fn shares(self, facts: &[Facts]) -> Vec<f64> {
        match self {
            Self::Samples => {
                let total: f64 = facts.iter().map(|facts| facts.samples as f64).sum();
                facts.iter().map(|facts| facts.samples as f64 / total).collect()
            }
            Self::Equal => vec![1.0 / facts.len() as f64; facts.len()],
        }
    }
}
