//! `auto`: entropy-coded dithered quantization, unbiased, at any rate.
//!
//! One step Δ for the whole vector; q = round(x/Δ + u) with a dither u that both ends draw from the seed (Roberts 1962;
//! Schuchman 1964; Ziv 1985). The coder's tables are conditioned on u and on a scale for every row and column of every
//! tensor; the decoder adds to q what leaves it unbiased with the least error, -E[q | u], which is between nothing and -u;
//! and of classes far below the step only a share is sent, drawn from the seed too, so that it costs nothing to say which.
//! `docs/codec.md` has the mathematics.
//!
//! ```text
//! fit   scales of rows and columns, and the shape of what they leave
//! model what of it is sent; gives every coordinate its class
//! tables, normal    from classes and shape to frequencies, in integers
//! chunk, range      rANS for coordinates, a binary range coder for the model
//! ```
//!
//! Absent on purpose: what a target is and how it is written (`scheme`), checksums and lengths (`frame`).

mod chunk;
mod fit;
mod model;
mod normal;
mod range;
mod tables;

use alloc::vec::Vec;
use core::ops::Range;

use nibble_seed::Seed;

use self::{
    chunk::{Kept, Writer, chance},
    fit::{Fit, Sizes},
    model::Model,
    tables::Tables,
};
use crate::{dither::Dither, layout::Layout, scheme::Target};

/// Steps are within 2^-100 and 2^100.
const STEPS: Range<f32> = 7.888_609e-31..1.267_650_7e30;
/// Times that the step is tried before the best that fits is taken.
const TRIES: usize = 12;
/// A payload this close below its budget is good enough.
const SLACK: f64 = 0.0005;

/// Whether a step is one that payloads may have.
pub(crate) fn is_step(step: f32) -> bool {
    STEPS.contains(&step)
}

/// Largest magnitude that can be encoded.
pub(crate) fn most_magnitude(target: Target) -> f32 {
    let step = if let Target::Step(step) = target { f32::from_bits(step) } else { STEPS.end / 4.0 };
    step * (chunk::MOST - 2) as f32
}

/// Most bytes that a model of this layout can have.
pub(crate) fn most_model_bytes(layout: &Layout) -> usize {
    let codes = |matrix: model::Matrix| if matrix.rows > 1 { matrix.rows + matrix.columns + 1 } else { 1 };
    // An integer has at most 33 bits, and none of them costs more than 8.1.
    model::FIXED_BYTES + 8 + 40 * model::matrices(layout).map(codes).sum::<usize>()
}

/// Everything but the chunks, ready to decode them.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    model: Model,
    tables: Tables,
}

impl Decoder {
    /// Reads a model.
    pub(crate) fn new(layout: &Layout, bytes: &[u8]) -> Result<Self, &'static str> {
        let model = Model::read(layout, bytes)?;
        let tables = Tables::new(&model.shape, model.widest());
        Ok(Self { model, tables })
    }

    /// Decodes the body of chunk `index`, and calls `each` with the place and the value of what is not zero.
    pub(crate) fn decode(
        &self,
        layout: &Layout,
        index: usize,
        seed: Seed,
        body: &[u8],
        gain: f32,
        mut each: impl FnMut(usize, f32),
    ) -> Result<(), &'static str> {
        let (mut classes, mut kept) = (Vec::new(), Vec::new());
        self.model.classes(layout, index, &mut classes);
        chunk::keep(&classes, Dither::new(seed, layout.chunk_range(index).start), &mut kept);
        let unit = self.model.step * gain;
        chunk::decode(&self.tables, &kept, body, |at, steps| each(at, steps * unit))
    }
}

/// What was encoded: the model, then the bodies of all chunks, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    pub(crate) model: Vec<u8>,
    pub(crate) bodies: Vec<u8>,
    /// Bytes of each body.
    pub(crate) lengths: Vec<u32>,
}

impl Encoded {
    fn len(&self) -> usize {
        self.model.len() + self.bodies.len() + self.lengths.iter().map(|&len| varint_bytes(len)).sum::<usize>()
    }
}

/// Bytes of a number in groups of 7 bits.
pub(crate) fn varint_bytes(number: u32) -> usize {
    (number | 1).ilog2() as usize / 7 + 1
}

/// Encodes vectors.
#[derive(Debug, Default)]
pub(crate) struct AutoEncoder {
    writer: Writer,
    classes: Vec<i32>,
    kept: Vec<Kept>,
    best: Encoded,
    trial: Encoded,
}

/// Why a vector cannot be encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    /// A value is too large.
    Range,
    /// The budget is less than these bytes, for model and bodies.
    Budget(usize),
}

impl AutoEncoder {
    /// Encodes `x`, which is finite, to at most `budget` bytes, or with the step of `target`.
    pub(crate) fn encode(
        &mut self,
        layout: &Layout,
        x: &[f32],
        seed: Seed,
        target: Target,
        budget: usize,
    ) -> Result<&Encoded, Failure> {
        if let Target::Step(step) = target {
            let fit = Fit::new(layout, x, 1.0);
            self.attempt(layout, x, seed, &fit, f32::from_bits(step))?;
            core::mem::swap(&mut self.best, &mut self.trial);
            return Ok(&self.best);
        }
        let rate = 8.0 * budget as f64 / layout.coordinates().max(1) as f64;
        let fit = Fit::new(layout, x, rate);
        // In half octaves: the step that the fit thinks right; then steps from what was seen.
        let goal = budget as f64 * (1.0 - SLACK / 2.0);
        let mut side = 0.0;
        let mut correction = 1.0;
        // The least step that fits, and the largest that does not. No step need be finer than what makes q 2^20.
        let finest = fit.largest() - 40.0;
        let (mut fits, mut exceeds) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut best = 0;
        for attempt in 0..TRIES {
            let predicted = |step: f64| side + correction * fit.symbol_bits(step) / 8.0;
            let mut step = bisect(predicted, goal, finest);
            if step >= fits || step <= exceeds || attempt >= 6 {
                step = match (fits.is_finite(), exceeds.is_finite()) {
                    (true, true) => (fits + exceeds) / 2.0,
                    (true, false) => fits - 4.0,
                    (false, true) => exceeds + 8.0,
                    (false, false) => step,
                };
            }
            let step_f32 = (libm::exp2(step / 2.0) as f32).clamp(STEPS.start, STEPS.end / 2.0);
            self.attempt(layout, x, seed, &fit, step_f32)?;
            let len = self.trial.len();
            side = (len - self.trial.bodies.len()) as f64;
            let symbols = fit.symbol_bits(step) / 8.0;
            if symbols > 1.0 {
                correction = self.trial.bodies.len() as f64 / symbols;
            }
            if len <= budget {
                fits = fits.min(step);
                if best == 0 || len > best {
                    best = len;
                    core::mem::swap(&mut self.best, &mut self.trial);
                }
                if best as f64 >= budget as f64 * (1.0 - SLACK) || step <= finest {
                    break;
                }
            } else {
                exceeds = exceeds.max(step);
            }
        }
        if best == 0 { Err(Failure::Budget(self.trial.len())) } else { Ok(&self.best) }
    }

    /// Encodes with one step, into `trial`.
    fn attempt(&mut self, layout: &Layout, x: &[f32], seed: Seed, fit: &Fit, step: f32) -> Result<(), Failure> {
        let mut model = fit.model(step);
        let trial = &mut self.trial;
        trial.model.clear();
        trial.bodies.clear();
        trial.lengths.clear();
        let inverses: [f32; 33] =
            core::array::from_fn(|below| 65_536.0 / chance(tables::NARROWEST - below as i32) as f32 / step);
        let inverse_of = |class: i32| inverses[(tables::NARROWEST - class).max(0) as usize];
        let mut sizes = Sizes::default();
        for index in 0..layout.chunks() {
            let range = layout.chunk_range(index);
            model.classes(layout, index, &mut self.classes);
            for (&class, &x) in self.classes.iter().zip(&x[range]) {
                if class != model::ZERO {
                    sizes.count(x * inverse_of(class), class.max(tables::NARROWEST));
                }
            }
        }
        model.shape = sizes.shape();
        let tables = Tables::new(&model.shape, model.widest());
        model.write(layout, &mut trial.model);
        for index in 0..layout.chunks() {
            let range = layout.chunk_range(index);
            model.classes(layout, index, &mut self.classes);
            chunk::keep(&self.classes, Dither::new(seed, range.start), &mut self.kept);
            let (x, classes) = (&x[range], &self.classes);
            let scaled = |at: usize| x[at] * inverse_of(classes[at]);
            let before = trial.bodies.len();
            if !self.writer.encode(&tables, &self.kept, scaled, &mut trial.bodies) {
                return Err(Failure::Range);
            }
            trial.lengths.push((trial.bodies.len() - before) as u32);
        }
        Ok(())
    }
}

/// Where a falling function reaches `goal`, in half octaves, `low` at least.
fn bisect(f: impl Fn(f64) -> f64, goal: f64, mut low: f64) -> f64 {
    let mut high = 199.0;
    if f(low) <= goal {
        return low;
    }
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if f(middle) > goal { low = middle } else { high = middle }
    }
    high
}
