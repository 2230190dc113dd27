//! The coordinate-wise trimmed mean (Yin, Chen, Ramchandran, Bartlett: "Byzantine-robust distributed learning: towards optimal
//! statistical rates", ICML 2018, definition 2): the mean without the ⌊cut n⌋ lowest and as many highest values. Samples are
//! not looked at.
//!
//! Absent on purpose: sorting (`columns`).

use super::{Columns, Combination, Combine, Known};

/// The mean of what is left of every coordinate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrimmedMean {
    /// Fraction that is cut at either end, above 0 and below 1/2.
    pub cut: f64,
}

impl Combine for TrimmedMean {
    fn name(&self) -> &'static str {
        "trimmed-mean"
    }

    fn fewest(&self) -> usize {
        (1.0 / self.cut - 1e-9).ceil() as usize
    }

    fn combine(&self, known: &Known<'_>) -> Combination {
        let updates = known.facts.len();
        // A product that should be whole may come out a little lower.
        let cut = (self.cut * updates as f64 + 1e-9) as usize;
        Combination::of_all(updates, Columns::Trimmed { cut })
    }
}
