//! The coordinate-wise median (Yin, Chen, Ramchandran, Bartlett: "Byzantine-robust distributed learning: towards optimal
//! statistical rates", ICML 2018, definition 1). Samples are not looked at.
//!
//! Absent on purpose: sorting (`columns`).

use super::{Columns, Combination, Combine, Known};

/// The median of every coordinate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Median;

impl Combine for Median {
    fn name(&self) -> &'static str {
        "median"
    }

    fn combine(&self, known: &Known<'_>) -> Combination {
        Combination::of_all(known.facts.len(), Columns::Median)
    }
}
