//! The scales of a vector's rows and columns, and what classes they give at a step.
//!
//! Absent on purpose: passes over memory (`survey`), the shape of what scales leave (`shape`), and how many bytes that takes (`sample`).

use alloc::vec::Vec;

use super::{
    Source,
    logarithm::log2,
    model::{Codes, LEAST, MOST_CODE, Matrix, Model, ZEROS, matrices},
    sample::Drawn,
    survey::{Crew, Means},
    tables::NARROWEST,
};
use crate::{block::MOST_MAGNITUDE, layout::Layout};

/// Bits that a code costs, about.
const CODE_BITS: f64 = 2.5;
/// Coordinates that tell the shape, and what a step will take: of long vectors one in so many, up to a number.
const ENOUGH: usize = 1 << 13;
const ONE_IN: usize = 32;
const AMPLE: usize = 1 << 17;
/// How many of those tell where to begin.
const FEW: usize = 1 << 12;
/// Half octaves that classes are above their scales where many coordinates are sampled. Shapes follow, so that it changes
/// nothing but how many of those are asked; on four real updates, errors at a bit or less fell by 0.1 to 1.4 %.
const ABOVE: f64 = 0.75;
/// What share of the coordinates is many.
const MANY: f64 = 0.1;
/// Bits of a coordinate of every scale from [`SAMPLED`] on, as most updates have it, and half octaves below which it is
/// sampled: where to begin.
const SAMPLED: f64 = -5.0;
const BITS: [f64; 11] = [0.64, 0.84, 1.15, 1.54, 1.97, 2.44, 2.92, 3.41, 3.91, 4.41, 4.91];
/// Scales that are counted, in half octaves from the least.
const COUNTED: usize = 1024;

/// At which steps rows get another class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// At the one that suits each best: rows of one scale all at once.
    Together,
    /// Of rows of one scale the last sooner, by up to half an octave of the step, so that sizes do not jump.
    RowByRow,
}

/// Scales of one tensor, in half octaves; the scale of a coordinate is the sum. Minus infinity stands for zeros.
#[derive(Clone, Debug, Default)]
struct Scales {
    base: f64,
    rows: Vec<f64>,
    columns: Vec<f64>,
}

/// What is known of a vector before the step is. Holds memory from one vector to the next.
#[derive(Debug, Default)]
pub(super) struct Fit {
    means: Means,
    scales: Vec<Scales>,
    /// Some of the coordinates of every tensor.
    pub(super) drawn: Drawn,
    /// How many coordinates have a scale, of those that are counted.
    counts: Vec<u32>,
    /// The largest magnitude.
    pub(super) largest: f32,
    /// Half octaves that classes are above their scales.
    above: f64,
}

/// 2 log2.
fn halves(x: f64) -> f64 {
    2.0 * log2(x)
}

/// Every how many coordinates are looked at to know what all are like.
fn stride(len: usize) -> usize {
    (len / ENOUGH).clamp(1, ONE_IN).max(len / AMPLE)
}

/// To the nearest integer, of half octaves.
fn nearest(scale: f64) -> i32 {
    libm::floor(scale + 0.5) as i32
}

impl Fit {
    /// Fits scales to a vector, for rates of about `rate` bits a coordinate. Whether all values are finite, and none beyond
    /// what any coding takes.
    pub(super) fn update(&mut self, crew: Crew, source: Source<'_>, rate: f64) -> bool {
        let Source { layout, x, .. } = source;
        let stride = stride(x.len());
        self.drawn.clear();
        self.scales.resize_with(layout.tensors().len(), Scales::default);
        let mut largest = 0;
        for (matrix, scales) in matrices(layout).zip(&mut self.scales) {
            let x = &x[matrix.start..][..matrix.len];
            largest = self.means.survey(crew, matrix, x, stride, &mut self.drawn).max(largest);
            scales.fit(crew, matrix, x, &mut self.means, rate);
        }
        self.largest = f32::from_bits(largest);
        self.count();
        largest <= MOST_MAGNITUDE.to_bits()
    }

    /// Counts the scales of a few coordinates.
    fn count(&mut self) {
        self.counts.clear();
        self.counts.resize(COUNTED, 0);
        let Drawn { rows, columns, tensors, .. } = &self.drawn;
        let (every, mut at) = (self.every(), 0);
        for (scales, &(end, _)) in self.scales.iter().zip(tensors) {
            while at < end {
                let part = |scales: &[f64], at: u32| scales.get(at as usize).copied().unwrap_or_default();
                let scale = scales.base + part(&scales.rows, rows[at]) + part(&scales.columns, columns[at]);
                let bin = (scale + (COUNTED / 2) as f64).clamp(0.0, (COUNTED - 1) as f64) as usize;
                self.counts[bin] += u32::from(scale != f64::NEG_INFINITY);
                at += every;
            }
        }
    }

    /// One in so many coordinates is counted.
    fn every(&self) -> usize {
        (self.drawn.x.len() / FEW).max(1)
    }

    /// The largest magnitude, in half octaves; of nothing but zeros, the least that there is.
    pub(super) fn largest_halves(&self) -> f64 {
        halves(f64::from(self.largest)).max(-150.0)
    }

    /// Bits of a coordinate at a step of `step` half octaves, very roughly.
    pub(super) fn rough_bits(&self, step: f64) -> f64 {
        let middle = |bin: usize| bin as f64 + 0.5 - (COUNTED / 2) as f64;
        let counted = self.counts.iter().enumerate().filter(|&(_, &count)| count != 0);
        let bits: f64 = counted.map(|(bin, &count)| f64::from(count) * bits_of_class(middle(bin) - step)).sum();
        bits / self.drawn.x.len().div_ceil(self.every()).max(1) as f64
    }

    /// Prepares for steps of about `step` half octaves.
    pub(super) fn prepare(&mut self, step: f64) {
        let narrow = (step + f64::from(NARROWEST) + (COUNTED / 2) as f64).clamp(0.0, COUNTED as f64) as usize;
        let [sampled, all] = [&self.counts[..narrow], &self.counts].map(|counts| counts.iter().sum::<u32>());
        self.above = if f64::from(sampled) > MANY * f64::from(all) { ABOVE } else { 0.0 };
    }

    /// Bytes of a model, very roughly.
    pub(super) fn rough_side_bytes(&self) -> f64 {
        let codes: usize = self.scales.iter().map(|scales| scales.rows.len() + scales.columns.len()).sum();
        CODE_BITS / 8.0 * codes as f64
    }

    /// Makes the model for a step, but for its shape.
    pub(super) fn classify(&self, layout: &Layout, step: f32, change: Change, model: &mut Model) {
        let step_halves = halves(f64::from(step)) - self.above;
        model.step = step;
        model.codes.resize_with(self.scales.len(), Codes::default);
        for ((matrix, scales), codes) in matrices(layout).zip(&self.scales).zip(&mut model.codes) {
            scales.classify(matrix, step_halves, change, codes);
        }
    }
}

/// Bits of a coordinate of a class, as most updates have it.
fn bits_of_class(class: f64) -> f64 {
    let at = class - SAMPLED;
    if at <= 0.0 {
        return BITS[0] * libm::exp2(at / 2.0);
    }
    let last = BITS.len() - 1;
    match BITS.get(at as usize..).and_then(<[f64]>::first_chunk) {
        Some([this, next]) => this + (next - this) * (at - libm::floor(at)),
        None => BITS[last] + (at - last as f64) / 2.0,
    }
}

impl Scales {
    /// Fits scales to a tensor whose means are known.
    fn fit(&mut self, crew: Crew, matrix: Matrix, x: &[f32], means: &mut Means, rate: f64) {
        self.rows.clear();
        self.columns.clear();
        self.base = f64::NEG_INFINITY;
        let lens = means.rows.iter().zip(x.chunks(matrix.columns.max(1)));
        let total: f64 = lens.map(|(mean, row)| mean * row.len() as f64).sum();
        if total == 0.0 {
            return;
        }
        self.base = halves(total / matrix.len as f64);
        if matrix.rows == 1 {
            return;
        }
        // Bits of all coordinates but for a constant: half the mean of their scales in half octaves, where zeros cost nothing.
        let weight = rate.min(1.0) * matrix.len as f64 / 2.0;
        let cost = |scale: f64, share: f64, codes: usize| weight * share * scale + CODE_BITS * codes as f64;
        let (by_rows, by_columns) = (Logs::of(&means.rows), Logs::of(&means.plain));
        let both = |rows: &Logs, columns: &Logs| {
            cost(rows.mean + columns.mean, rows.share * columns.share, matrix.rows + matrix.columns)
        };
        let flat = cost(self.base, 1.0, 0);
        let only_rows = cost(by_rows.mean, by_rows.share, matrix.rows);
        let only_columns = cost(by_columns.mean, by_columns.share, matrix.columns);
        let one = flat.min(only_rows).min(only_columns);
        if both(&by_rows, &Logs::of(&means.balanced)) < one {
            // Each again, now that the other is known.
            means.refine(crew, matrix, x);
            let Means { again: rows, balanced: columns, .. } = &*means;
            let (by_rows, by_columns) = (Logs::of(rows), Logs::of(columns));
            if both(&by_rows, &by_columns) < one {
                self.base = by_rows.centre(rows, &mut self.rows) + by_columns.centre(columns, &mut self.columns);
                return;
            }
        }
        if only_rows == one && only_rows < flat {
            self.base = by_rows.centre(&means.rows, &mut self.rows);
        } else if only_columns == one && only_columns < flat {
            self.base = by_columns.centre(&means.plain, &mut self.columns);
        }
    }

    /// The codes at a step.
    fn classify(&self, matrix: Matrix, step: f64, change: Change, codes: &mut Codes) {
        codes.rows.clear();
        codes.columns.clear();
        codes.base = ZEROS;
        if self.base == f64::NEG_INFINITY {
            return;
        }
        let code = |scale: f64| if scale == f64::NEG_INFINITY { ZEROS } else { nearest(scale.clamp(-300.0, 300.0)) };
        let base = code(self.base - step);
        codes.base = base;
        // Rounding errors of the base go to the rows.
        let from_base = |row: f64| match code(row + self.base - step) {
            ZEROS => ZEROS,
            row => (row - base).clamp(-MOST_CODE, MOST_CODE),
        };
        if change == Change::Together {
            codes.rows.extend(self.rows.iter().map(|&row| from_base(row)));
        } else if matrix.rows > 1 {
            let later = |row: usize| (row as f64 + 0.5) / matrix.rows as f64;
            codes.rows.extend((0..matrix.rows).map(|at| from_base(self.rows.get(at).unwrap_or(&0.0) + later(at))));
        }
        codes.columns.extend(self.columns.iter().map(|&column| code(column)));
        let constant = |list: &[i32]| list.iter().all(|&code| code == 0);
        // What is all one class needs no codes.
        let least = codes.widest() == LEAST;
        if least || constant(&codes.rows) {
            codes.rows.clear();
        }
        if least || constant(&codes.columns) {
            codes.columns.clear();
        }
    }
}

/// What the logarithms of means are like, of those that are not zero.
struct Logs {
    mean: f64,
    /// How many are not zero.
    share: f64,
}

impl Logs {
    fn of(means: &[f64]) -> Self {
        let logs = means.iter().map(|&mean| halves(mean)).filter(|log| log.is_finite());
        let (sum, count) = logs.fold((0.0, 0), |(sum, count), log| (sum + log, count + 1));
        Self { mean: sum / f64::from(count.max(1)), share: f64::from(count) / means.len() as f64 }
    }

    /// Puts the scales of `means` into `out`, around zero; returns what they are around.
    fn centre(&self, means: &[f64], out: &mut Vec<f64>) -> f64 {
        let centre = libm::round(self.mean);
        out.extend(means.iter().map(|&mean| halves(mean) - centre));
        centre
    }
}
