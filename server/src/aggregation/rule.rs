//! The rules there are, and what each needs to know.

use super::{Columns, Combination, Facts, Products, bulyan, clipping, fednova, geometric_median, krum, mean, qfedavg};

/// How many votes an update has, where a rule asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// As many as samples it says it was trained on.
    Samples,
    /// As many as any other.
    Equal,
}

/// How updates become one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// The weighted mean.
    Mean {
        /// Of each update.
        weights: Weights,
    },
    /// The weighted mean, per step (`fednova`).
    FedNova {
        /// Of the clients' SGD.
        momentum: f64,
    },
    /// The mean in which the worse off count more (`qfedavg`).
    QFedAvg {
        /// How much more; 0: all alike.
        q: f64,
        /// The clients' learning rate.
        lr: f64,
    },
    /// The coordinate-wise median (Yin, Chen, Ramchandran, Bartlett: "Byzantine-robust distributed learning: towards optimal
    /// statistical rates", ICML 2018, definition 1).
    Median,
    /// The coordinate-wise trimmed mean (Yin et al. 2018, definition 2): the mean without the ⌊cut n⌋ lowest and as many
    /// highest values.
    TrimmedMean {
        /// Fraction that is cut at either end, above 0 and below 1/2.
        cut: f64,
    },
    /// The update with the closest neighbours (`krum.rs`).
    Krum {
        /// Attackers it withstands.
        attackers: usize,
    },
    /// The mean of those with the closest neighbours (`krum.rs`).
    MultiKrum {
        /// Attackers it withstands.
        attackers: usize,
        /// How many; as many as withstand them, if nothing is said.
        keep: Option<usize>,
    },
    /// The point with the least sum of distances (`geometric_median.rs`).
    GeometricMedian {
        /// Of each update.
        weights: Weights,
    },
    /// The mean of what is clipped around a centre (`clipping.rs`).
    CenteredClipping {
        /// Farthest from the centre; the median distance, if nothing is said.
        radius: Option<f64>,
        /// How often the centre moves.
        iterations: usize,
    },
    /// Krum, then a mean around the median (`bulyan.rs`).
    Bulyan {
        /// Attackers it withstands.
        attackers: usize,
    },
}

impl Rule {
    /// As in configurations.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mean { .. } => "mean",
            Self::FedNova { .. } => "fednova",
            Self::QFedAvg { .. } => "qfedavg",
            Self::Median => "median",
            Self::TrimmedMean { .. } => "trimmed-mean",
            Self::Krum { .. } => "krum",
            Self::MultiKrum { .. } => "multi-krum",
            Self::GeometricMedian { .. } => "geometric-median",
            Self::CenteredClipping { .. } => "centered-clipping",
            Self::Bulyan { .. } => "bulyan",
        }
    }

    /// Whether updates of more samples count more.
    #[must_use]
    pub fn weighs_samples(&self) -> bool {
        match self {
            Self::Mean { weights } | Self::GeometricMedian { weights } => *weights == Weights::Samples,
            Self::FedNova { .. } => true,
            _ => false,
        }
    }

    /// Fewest updates it makes sense for.
    #[must_use]
    pub fn fewest(&self) -> usize {
        match *self {
            Self::Mean { .. } | Self::FedNova { .. } | Self::QFedAvg { .. } => 1,
            Self::Median | Self::GeometricMedian { .. } | Self::CenteredClipping { .. } => 1,
            Self::TrimmedMean { cut } => (1.0 / cut - 1e-9).ceil() as usize,
            Self::Krum { attackers } => attackers.saturating_mul(2).saturating_add(3),
            Self::MultiKrum { attackers, keep } => {
                let keep = keep.unwrap_or(1).saturating_add(attackers).saturating_add(2);
                keep.max(attackers.saturating_mul(2).saturating_add(3))
            }
            Self::Bulyan { attackers } => attackers.saturating_mul(4).saturating_add(3),
        }
    }

    /// Whether it looks at [`Facts::loss`].
    #[must_use]
    pub fn needs_loss(&self) -> bool {
        matches!(self, Self::QFedAvg { .. })
    }

    /// Whether it looks at inner products.
    pub(super) fn needs_products(&self) -> bool {
        match self {
            Self::Mean { .. } | Self::FedNova { .. } | Self::QFedAvg { .. } => false,
            Self::Median | Self::TrimmedMean { .. } => false,
            Self::Krum { .. } | Self::MultiKrum { .. } | Self::GeometricMedian { .. } => true,
            Self::CenteredClipping { .. } | Self::Bulyan { .. } => true,
        }
    }

    /// Whether it looks at norms.
    pub(super) fn needs_norms(&self) -> bool {
        matches!(self, Self::QFedAvg { .. })
    }

    /// What it does with these updates; `products` and `norms` are only looked at if they are needed.
    pub(super) fn combine(&self, facts: &[Facts], products: &Products, norms: &[f64]) -> Combination {
        let updates = facts.len();
        match *self {
            Self::Mean { weights } => mean::combine(facts, weights),
            Self::FedNova { momentum } => fednova::combine(facts, momentum),
            Self::QFedAvg { q, lr } => qfedavg::combine(facts, norms, q, lr),
            Self::Median => Combination::of_all(updates, Columns::Median),
            Self::TrimmedMean { cut } => {
                // A product that should be whole may come out a little lower.
                let cut = (cut * updates as f64 + 1e-9) as usize;
                Combination::of_all(updates, Columns::Trimmed { cut })
            }
            Self::Krum { attackers } => krum::combine(products, attackers, 1),
            Self::MultiKrum { attackers, keep } => {
                krum::combine(products, attackers, keep.unwrap_or(updates - attackers - 2))
            }
            Self::GeometricMedian { weights } => geometric_median::combine(products, &weights.shares(facts)),
            Self::CenteredClipping { radius, iterations } => clipping::combine(products, radius, iterations),
            Self::Bulyan { attackers } => bulyan::combine(products, attackers),
        }
    }
}
