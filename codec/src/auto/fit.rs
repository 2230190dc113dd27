//! The model of a vector: scales of rows and columns, and the shape of what they leave.

use alloc::{vec, vec::Vec};

use super::{
    Source, means,
    model::{Codes, LEAST, MOST_CODE, Matrix, Model, ZEROS, matrices},
    tables::{COMPONENTS, FIRST, NARROWEST, Shape, Tables, WEIGHTS, WIDEST_DITHERED, index, raw_bits},
};
use crate::{block::MOST_MAGNITUDE, layout::Layout, simd::Kernels};

/// Passes over rows and columns in turn.
const PASSES: usize = 2;
/// Passes of the fit of the shape.
const SHAPE_PASSES: usize = 40;
/// Bits that a code costs, about.
const CODE_BITS: f64 = 2.5;
/// Coordinates that are looked at while they are in the cache.
const TILE: usize = 1 << 14;
/// Bins of |x| over its scale that the shape is fitted to, four an octave.
const BINS: usize = 104;
/// The bin of a coordinate as large as its scale.
const UNIT: i32 = 72;

/// Scales of one tensor, in half octaves; the scale of a coordinate is the sum. Minus infinity stands for zeros.
#[derive(Clone, Debug, Default)]
struct Scales {
    base: f64,
    rows: Vec<f64>,
    columns: Vec<f64>,
}

/// A coordinate of those that tell what all are like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn {
    pub(super) row: u32,
    pub(super) column: u32,
    pub(super) x: f32,
}

/// Those of one tensor.
#[derive(Clone, Debug)]
pub(super) struct Sampled {
    pub(super) coordinates: Vec<Drawn>,
    /// For how many each stands.
    pub(super) of: f32,
}

/// At which steps rows get another class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// At the one that suits each best: rows of one scale all at once.
    Together,
    /// Of rows of one scale the last sooner, by up to half an octave of the step, so that sizes do not jump.
    RowByRow,
}

/// What is known of a vector before the step is.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    scales: Vec<Scales>,
    sample: Vec<Sampled>,
    /// Scales, in quarters of half octaves, and how many coordinates have them.
    counts: Vec<(f64, f64)>,
    /// Mean bits of every class from the narrowest to the first without tables for |u|, under this shape.
    bits: Vec<f64>,
    largest: f64,
}

/// 2 log2.
fn halves(x: f64) -> f64 {
    2.0 * libm::log2(x)
}

impl Fit {
    /// Fits the model to a vector, for rates of about `rate` bits a coordinate; none if a value is not finite, or
    /// beyond what any coding takes.
    pub(super) fn new(kernels: Kernels, source: Source<'_>, insides: &Insides, rate: f64) -> Option<Self> {
        let Source { layout, x, .. } = source;
        let stride = super::encode::stride(x.len());
        let mut largest = 0;
        let fit = |matrix: Matrix| {
            let x = &x[matrix.start..][..matrix.len];
            let Survey { means, largest: most, sampled } = Survey::of(kernels, matrix, x, stride);
            largest = most.max(largest);
            (Scales::fit(kernels, matrix, x, means, rate), sampled)
        };
        let (scales, sample): (Vec<_>, Vec<_>) = matrices(layout).map(fit).unzip();
        if largest > MOST_MAGNITUDE.to_bits() {
            return None;
        }
        let largest = f32::from_bits(largest);
        let mut sizes = Sizes::default();
        let mut counts = vec![0; 4 * 1024];
        for (sampled, scales) in sample.iter().zip(&scales) {
            scales.each(sampled, |scale, size| {
                counts[(4.0 * (scale + 512.0)).clamp(0.0, 4095.0) as usize] += sampled.of as usize;
                sizes.count(size, 0);
            });
        }
        let shape = sizes.shape(insides);
        let tables = Tables::new(&shape, WIDEST_DITHERED + 2);
        let mean = |class: i32| {
            let parts = if class <= WIDEST_DITHERED { super::tables::PARTS } else { 1 };
            let sum: f64 = (0..parts).map(|part| tables.entropy(index(class, part))).sum();
            sum / parts as f64 + f64::from(raw_bits(class))
        };
        let bits = (NARROWEST..=WIDEST_DITHERED + 2).map(mean).collect();
        let largest = if largest > 0.0 { halves(f64::from(largest)).max(-150.0) } else { -150.0 };
        let counts = (0..4096u16).zip(counts).filter(|&(_, count)| count != 0);
        let counts = counts.map(|(at, count)| (f64::from(at) / 4.0 - 511.875, count as f64)).collect();
        Some(Self { scales, sample, counts, bits, largest })
    }

    /// Some of the coordinates of every tensor.
    pub(super) fn drawn(&self) -> &[Sampled] {
        &self.sample
    }

    /// The largest magnitude, in half octaves; of nothing but zeros, the least that there is.
    pub(super) fn largest(&self) -> f64 {
        self.largest
    }

    /// Bits that the symbols take at a step of `step` half octaves, about.
    pub(super) fn symbol_bits(&self, step: f64) -> f64 {
        self.counts.iter().map(|&(scale, count)| count * self.class_bits(scale - step)).sum()
    }

    fn class_bits(&self, class: f64) -> f64 {
        let narrowest = f64::from(NARROWEST);
        if class <= narrowest {
            return self.bits[0] * libm::exp2((class - narrowest) / 2.0);
        }
        let at = class - narrowest;
        match self.bits.get(at as usize + 1) {
            Some(next) => {
                let (this, share) = (self.bits[at as usize], at - libm::floor(at));
                this + (next - this) * share
            }
            None => {
                let last = self.bits.len() - 1;
                self.bits[last] + (at - last as f64) / 2.0
            }
        }
    }

    /// The model for a step, but for its shape.
    pub(super) fn model(&self, layout: &Layout, step: f32, change: Change) -> Model {
        let step_halves = halves(f64::from(step));
        let code = |scale: f64| {
            if scale == f64::NEG_INFINITY { ZEROS } else { libm::round(scale).clamp(-300.0, 300.0) as i32 }
        };
        let codes = |(matrix, scales): (Matrix, &Scales)| {
            let later = |row: usize| match change {
                Change::Together => 0.0,
                Change::RowByRow => (row as f64 + 0.5) / matrix.rows as f64,
            };
            // The only row has no code of its own.
            let has_codes = change == Change::RowByRow && scales.rows.is_empty() && matrix.rows > 1;
            let flat = if has_codes { matrix.rows } else { 0 };
            let base = code(scales.base - step_halves);
            if base == ZEROS {
                return Codes { base, ..Codes::default() };
            }
            let mut codes = Codes {
                base,
                // Rounding errors of the base go to the rows.
                rows: scales
                    .rows
                    .iter()
                    .copied()
                    .chain(core::iter::repeat_n(0.0, flat))
                    .enumerate()
                    .map(|(at, row)| code(row + scales.base - step_halves + later(at)))
                    .map(|row| if row == ZEROS { ZEROS } else { (row - base).clamp(-MOST_CODE, MOST_CODE) })
                    .collect(),
                columns: scales.columns.iter().map(|&column| code(column)).collect(),
            };
            let constant = |list: &[i32]| list.iter().all(|&code| code == 0);
            // What is all one class needs no codes.
            let least = codes.widest() == LEAST;
            if least || constant(&codes.rows) {
                codes.rows.clear();
            }
            if least || constant(&codes.columns) {
                codes.columns.clear();
            }
            codes
        };
        Model { step, shape: Shape([0; COMPONENTS]), codes: matrices(layout).zip(&self.scales).map(codes).collect() }
    }
}

impl Scales {
    fn fit(kernels: Kernels, matrix: Matrix, x: &[f32], means: Means, rate: f64) -> Self {
        let log = |mean: f64| if mean > 0.0 { halves(mean) } else { f64::NEG_INFINITY };
        if x.is_empty() {
            return Self { base: f64::NEG_INFINITY, ..Self::default() };
        }
        let Means { mut rows, balanced: mut columns, plain } = means;
        let total: f64 = rows.iter().zip(x.chunks(matrix.columns)).map(|(mean, row)| mean * row.len() as f64).sum();
        let base = log(total / matrix.len as f64);
        let flat = Self { base, ..Self::default() };
        if matrix.rows == 1 || total == 0.0 {
            return flat;
        }
        let logs = |means: &[f64]| -> Vec<f64> { means.iter().map(|&mean| log(mean)).collect() };
        let mean_log = |logs: &[f64]| {
            let finite = logs.iter().filter(|log| log.is_finite());
            finite.clone().sum::<f64>() / finite.count().max(1) as f64
        };
        let (rows_only, columns_only) = (logs(&rows), logs(&plain));
        for _ in 1..PASSES {
            let weights: Vec<f32> = columns.iter().map(|&mean| means::inverse(mean)).collect();
            columns.fill(0.0);
            kernels.means(x, &weights, &mut rows, &mut columns, &mut []);
            columns.iter_mut().for_each(|sum| *sum /= matrix.rows as f64);
        }
        let (rows, columns) = (logs(&rows), logs(&columns));
        // Bits of all coordinates but for a constant: half the mean of their scales in half octaves, where zeros cost nothing.
        let len = matrix.len as f64;
        let weight = rate.min(1.0) * len / 2.0;
        let share = |logs: &[f64]| logs.iter().filter(|log| log.is_finite()).count() as f64 / logs.len() as f64;
        let cost = |scale: f64, share: f64, codes: usize| weight * share * scale + CODE_BITS * codes as f64;
        let candidates = [
            cost(base, 1.0, 0),
            cost(mean_log(&rows_only), share(&rows_only), matrix.rows),
            cost(mean_log(&columns_only), share(&columns_only), matrix.columns),
            cost(mean_log(&rows) + mean_log(&columns), share(&rows) * share(&columns), matrix.rows + matrix.columns),
        ];
        let best = (0..4).min_by(|&a, &b| candidates[a].total_cmp(&candidates[b])).unwrap_or_default();
        let centred = |logs: Vec<f64>| {
            let mean = libm::round(mean_log(&logs));
            (mean, logs.into_iter().map(|log| log - mean).collect::<Vec<f64>>())
        };
        match best {
            1 => {
                let (base, rows) = centred(rows_only);
                Self { base, rows, columns: Vec::new() }
            }
            2 => {
                let (base, columns) = centred(columns_only);
                Self { base, rows: Vec::new(), columns }
            }
            3 => {
                let ((row_mean, rows), (column_mean, columns)) = (centred(rows), centred(columns));
                Self { base: row_mean + column_mean, rows, columns }
            }
            _ => flat,
        }
    }

    /// Calls `f` with the scales of the coordinates that have one, and with how many times as large they are.
    fn each(&self, sampled: &Sampled, mut f: impl FnMut(f64, f32)) {
        if self.base == f64::NEG_INFINITY {
            return;
        }
        // x / 2^(scale/2), with what rows and columns contribute.
        let factors = |scales: &[f64]| -> Vec<f64> { scales.iter().map(|scale| libm::exp2(-scale / 2.0)).collect() };
        let (base, rows, columns) = (libm::exp2(-self.base / 2.0), factors(&self.rows), factors(&self.columns));
        for &Drawn { row, column, x } in &sampled.coordinates {
            let part = |scales: &[f64], at: u32, none: f64| scales.get(at as usize).copied().unwrap_or(none);
            let scale = self.base + part(&self.rows, row, 0.0) + part(&self.columns, column, 0.0);
            if scale != f64::NEG_INFINITY {
                f(scale, (f64::from(x) * base * part(&rows, row, 1.0) * part(&columns, column, 1.0)) as f32);
            }
        }
    }
}

/// Means of |x| by row and by column, and by column of |x| over its row's.
struct Means {
    rows: Vec<f64>,
    plain: Vec<f64>,
    balanced: Vec<f64>,
}

/// What the first pass over a tensor's memory tells.
struct Survey {
    means: Means,
    /// The largest magnitude as the bits of a float.
    largest: u32,
    sampled: Sampled,
}

impl Survey {
    fn of(kernels: Kernels, matrix: Matrix, x: &[f32], stride: usize) -> Self {
        let ones = vec![1.0; matrix.columns];
        let (mut rows, mut plain, mut balanced) =
            (vec![0.0; matrix.rows], vec![0.0; matrix.columns], vec![0.0; matrix.columns]);
        let (of, every) = matrix.every(stride);
        let mut every = every.peekable();
        let mut coordinates = Vec::with_capacity(x.len() / of + 1);
        let mut largest = 0;
        // Rows at a time that stay in the cache while some of their coordinates are drawn.
        let tile = (TILE / matrix.columns.max(1)).max(1);
        let tiles = x.chunks((tile * matrix.columns).max(1)).zip(rows.chunks_mut(tile));
        for (start, (x, rows)) in (0..).step_by((tile * matrix.columns).max(1)).zip(tiles) {
            largest = kernels.means(x, &ones, rows, &mut balanced, &mut plain).max(largest);
            while let Some((at, row, column)) = every.next_if(|&(at, ..)| at < start + x.len()) {
                coordinates.push(Drawn { row: row as u32, column: column as u32, x: x[at - start] });
            }
        }
        for sum in plain.iter_mut().chain(&mut balanced) {
            *sum /= matrix.rows as f64;
        }
        let sampled = Sampled { coordinates, of: of as f32 };
        Self { means: Means { rows, plain, balanced }, largest, sampled }
    }
}

/// How likely a normal of each deviation that a shape has is inside each bin.
#[derive(Clone, Debug)]
pub(super) struct Insides(Vec<[f64; COMPONENTS]>);

impl Default for Insides {
    fn default() -> Self {
        let edge = |bin: i32| {
            let quarters = bin - UNIT;
            (1.0 + f64::from(quarters & 3) / 4.0) * libm::exp2(f64::from(quarters >> 2))
        };
        let inside = |bin: i32, j: i32| {
            let deviation = libm::exp2(f64::from(j + FIRST) / 2.0) * core::f64::consts::SQRT_2;
            libm::erfc(edge(bin) / deviation) - libm::erfc(edge(bin + 1) / deviation) + 1e-30
        };
        Self((0..BINS as i32).map(|bin| core::array::from_fn(|j| inside(bin, j as i32))).collect())
    }
}

/// How often |x| over the scale of its class is how large, in quarters of an octave's range.
#[derive(Clone, Debug)]
pub(super) struct Sizes([u32; BINS]);

impl Default for Sizes {
    fn default() -> Self {
        Self([0; BINS])
    }
}

impl Sizes {
    /// Counts a value of class `class`: of scale 2^(class/2).
    #[inline(always)]
    pub(super) fn count(&mut self, x: f32, class: i32) {
        let size = x.abs() * if class & 1 == 0 { 1.0 } else { core::f32::consts::FRAC_1_SQRT_2 };
        // The exponent and two bits of the mantissa.
        let bin = (size.to_bits() >> 21) as i32 - 4 * (127 + (class >> 1)) + UNIT;
        if x != 0.0 {
            self.0[bin.clamp(0, BINS as i32 - 1) as usize] += 1;
        }
    }

    /// The mixture of normals that fits best (EM, Dempster, Laird, Rubin 1977).
    pub(super) fn shape(&self, inside: &Insides) -> Shape {
        let counted: Vec<_> =
            (0..BINS).filter(|&bin| self.0[bin] != 0).map(|bin| (f64::from(self.0[bin]), &inside.0[bin])).collect();
        let mut weights = [1.0 / COMPONENTS as f64; COMPONENTS];
        for _ in 0..if counted.is_empty() { 0 } else { SHAPE_PASSES } {
            let mut next = [0.0; COMPONENTS];
            for (count, inside) in &counted {
                let sum: f64 = inside.iter().zip(&weights).map(|(inside, weight)| inside * weight).sum();
                for ((next, inside), weight) in next.iter_mut().zip(*inside).zip(&weights) {
                    *next += count * inside * weight / sum;
                }
            }
            let sum: f64 = next.iter().sum();
            weights = next.map(|next| next / sum);
        }
        let mut bytes = weights.map(|weight| libm::round(weight * f64::from(WEIGHTS)) as u8);
        let largest = (0..COMPONENTS).max_by_key(|&at| bytes[at]).unwrap_or_default();
        let sum: u32 = bytes.iter().map(|&byte| u32::from(byte)).sum();
        bytes[largest] = (u32::from(bytes[largest]) + WEIGHTS - sum) as u8;
        Shape(bytes)
    }
}
