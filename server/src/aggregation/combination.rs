//! What a rule decides about a set of updates.

/// How updates become one.
#[derive(Clone, Debug, PartialEq)]
pub struct Combination {
    /// A share for every update, in ClientId order; one with 0 is left out.
    pub shares: Vec<f64>,
    /// What is done with the values of a coordinate.
    pub columns: Columns,
}

/// What is done with the values that the updates with a share have at one coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Each times its share, added up.
    Sum,
    /// Their median; of an even number the mean of the middle two.
    Median,
    /// The mean of what is left without the `cut` lowest and the `cut` highest.
    Trimmed {
        /// How many; less than half of the values.
        cut: usize,
    },
    /// The mean of the `keep` values closest to the median.
    AroundMedian {
        /// How many; at least one.
        keep: usize,
    },
}

impl Combination {
    /// These columns over all of `updates` updates.
    #[must_use]
    pub fn of_all(updates: usize, columns: Columns) -> Self {
        Self { shares: vec![1.0; updates], columns }
    }

    /// The mean of the updates `chosen`, by index, of `updates`.
    #[must_use]
    pub fn mean_of(updates: usize, chosen: &[usize]) -> Self {
        let mut shares = vec![0.0; updates];
        chosen.iter().for_each(|&index| shares[index] = 1.0 / chosen.len() as f64);
        Self { shares, columns: Columns::Sum }
    }
}
