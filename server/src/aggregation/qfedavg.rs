//! q-FedAvg (Li, Sanjabi, Beirami, Smith: "Fair resource allocation in federated learning", ICLR 2020, algorithm 2): the
//! worse off a client, the more it counts. With F_k its loss and L = 1 / learning rate,
//!
//! ```text
//! combined = sum F_k^q L delta_k / sum (q F_k^(q-1) |L delta_k|^2 + L F_k^q)
//! ```
//!
//! F_k is the loss of the global model, which clients measure before they train: the loss of training itself falls within a
//! pass, the faster the fewer classes a client has, and says little of who is worse off. It is what the client says: whoever
//! lies about it counts more, as far as norm bounding lets it. The learning rate is `local.lr`, also where a schedule changes it
//! from round to round.

use super::{Columns, Combination, Combine, Facts, Known};

/// The mean in which the worse off count more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FairMean {
    /// How much more; 0: all alike.
    pub q: f64,
    /// The clients' learning rate.
    pub lr: f64,
}

impl Combine for FairMean {
    fn name(&self) -> &'static str {
        "qfedavg"
    }

    fn needs_loss(&self) -> bool {
        true
    }

    fn needs_norms(&self) -> bool {
        true
    }

    fn combine(&self, known: &Known<'_>) -> Combination {
        let Self { q, lr } = *self;
        // A loss of 0 has no q - 1st power; one that is not told counts as 1.
        let loss = |facts: &Facts| facts.loss.unwrap_or(1.0).clamp(1e-10, 1e10);
        let steepness = |facts: &Facts| libm::pow(loss(facts), q) / lr;
        let curvature = |(facts, norm): (&Facts, &f64)| {
            q * libm::pow(loss(facts), q - 1.0) * (norm / lr) * (norm / lr) + steepness(facts)
        };
        let total: f64 = known.facts.iter().zip(known.norms).map(curvature).sum();
        Combination {
            shares: known.facts.iter().map(|facts| steepness(facts) / total).collect(),
            columns: Columns::Sum,
        }
    }
}
