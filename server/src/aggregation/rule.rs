//! The rules there are, and what each needs to know.

use std::{fmt, ops::Deref};

use super::{
    Bulyan, CenteredClipping, Combination, Facts, FairMean, GeometricMedian, Krum, Mean, MeanPerStep, Median,
    MultiKrum, Products, TrimmedMean,
};

/// How many votes an update has, where a rule asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// As many as samples it says it was trained on.
    Samples,
    /// As many as any other.
    Equal,
}

/// How updates become one, by what must be known of them.
pub trait Combine: fmt::Debug + Send + Sync {
    /// As in configurations.
    fn name(&self) -> &'static str;

    /// Fewest updates it makes sense for.
    fn fewest(&self) -> usize {
        1
    }

    /// Whether updates of more samples count more.
    fn weighs_samples(&self) -> bool {
        false
    }

    /// Whether it looks at [`Facts::loss`].
    fn needs_loss(&self) -> bool {
        false
    }

    /// Whether it looks at [`Known::norms`].
    fn needs_norms(&self) -> bool {
        false
    }

    /// Whether it looks at [`Known::products`].
    fn needs_products(&self) -> bool {
        false
    }

    /// What it does with these updates, at least [`Combine::fewest`].
    fn combine(&self, known: &Known<'_>) -> Combination;
}

/// What is known of the updates, in ClientId order.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What came with each of them.
    pub facts: &'a [Facts],
    /// Their inner products, if the rule needs them.
    pub products: &'a Products,
    /// Their norms, if it needs those.
    pub norms: &'a [f64],
}

/// The rules there are. It can be used as what it [combines](Combine) by.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "each says what it is")]
pub enum Rule {
    Mean(Mean),
    FedNova(MeanPerStep),
    QFedAvg(FairMean),
    Median(Median),
    TrimmedMean(TrimmedMean),
    Krum(Krum),
    MultiKrum(MultiKrum),
    GeometricMedian(GeometricMedian),
    CenteredClipping(CenteredClipping),
    Bulyan(Bulyan),
}

impl Deref for Rule {
    type Target = dyn Combine;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Mean(it) => it,
            Self::FedNova(it) => it,
            Self::QFedAvg(it) => it,
            Self::Median(it) => it,
            Self::TrimmedMean(it) => it,
            Self::Krum(it) => it,
            Self::MultiKrum(it) => it,
            Self::GeometricMedian(it) => it,
            Self::CenteredClipping(it) => it,
            Self::Bulyan(it) => it,
        }
    }
}
