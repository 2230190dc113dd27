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
    chunk::{Chosen, Writer, chance},
    fit::{Fit, Sizes},
    model::Model,
    tables::{Symbols, Tables},
};
use crate::{dither::Dither, layout::Layout, scheme::Target};

/// Steps are within 2^-100 and 2^100.
const STEPS: Range<f32> = 7.888_609e-31..1.267_650_7e30;
/// Times that the step is tried before the best that fits is taken.
const TRIES: usize = 12;
/// Coordinates that tell the shape.
const ENOUGH: usize = 1 << 16;
/// A budget is met within this share.
const ENOUGH_OF_BUDGET: f64 = 0.996;
/// A payload this close below its budget is good enough.
const SLACK: f64 = 0.0005;
/// Bytes that are not worth another try.
const FEW: f64 = 8.0;

/// Every how many coordinates are looked at to know what all are like: an odd number, which meets all columns.
fn stride(len: usize) -> usize {
    (len / ENOUGH) | 1
}

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
        let mut chosen = Chosen::default();
        self.model.classes(layout, index, &mut chosen.classes);
        chosen.draw(Dither::new(seed, layout.chunk_range(index).start));
        let unit = self.model.step * gain;
        chunk::decode(&self.tables, &chosen, body, |at, steps| each(at, steps * unit))
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
    chosen: Chosen,
    encoded: Encoded,
    best: Encoded,
}

/// Why a vector cannot be encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    /// A value is too large.
    Range,
    /// The budget is less than these bytes, for model and bodies.
    Budget(usize),
}

/// A vector with its dither.
#[derive(Clone, Copy)]
struct Source<'a> {
    layout: &'a Layout,
    x: &'a [f32],
    seed: Seed,
}

/// A step and what follows from it.
struct Plan {
    model: Model,
    symbols: Symbols,
    /// What values of a class are multiplied by, from the narrowest down.
    inverses: [f32; 33],
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
        let source = Source { layout, x, seed };
        if let Target::Step(step) = target {
            let plan = source.plan(&Fit::new(layout, x, 1.0), f32::from_bits(step), 0.0, &mut self.chosen);
            self.write(source, &plan)?;
            return Ok(&self.encoded);
        }
        let rate = 8.0 * budget as f64 / layout.coordinates().max(1) as f64;
        let fit = Fit::new(layout, x, rate);
        let mut best = 0;
        // Where all coordinates are of one class, sizes jump where the class changes: a budget that falls into the gap is
        // met with classes that change elsewhere.
        for phase in [0.0, 0.5] {
            let mut search = Search::new(budget as f64, fit.largest() - 40.0);
            while !search.is_over() {
                let step = search.next(|step| fit.symbol_bits(step) / 8.0);
                let width = (libm::exp2(step / 2.0) as f32).clamp(STEPS.start, STEPS.end / 2.0);
                let plan = source.plan(&fit, width, phase, &mut self.chosen);
                self.write(source, &plan)?;
                let len = self.encoded.len();
                let symbols = self.encoded.bodies.len();
                search.saw((len - symbols) as f64, symbols as f64, fit.symbol_bits(step) / 8.0);
                if len <= budget && len > best {
                    best = len;
                    core::mem::swap(&mut self.best, &mut self.encoded);
                }
                if search.is_good(len as f64) {
                    return Ok(&self.best);
                }
            }
            if best as f64 >= budget as f64 * ENOUGH_OF_BUDGET {
                break;
            }
        }
        if best == 0 { Err(Failure::Budget(self.encoded.len())) } else { Ok(&self.best) }
    }

    fn write(&mut self, source: Source<'_>, plan: &Plan) -> Result<(), Failure> {
        let Encoded { model, bodies, lengths } = &mut self.encoded;
        model.clear();
        plan.model.write(source.layout, model);
        bodies.clear();
        lengths.clear();
        for index in 0..source.layout.chunks() {
            if !source.quantize(plan, index, &mut self.chosen, &mut self.writer) {
                return Err(Failure::Range);
            }
            let before = bodies.len();
            self.writer.write(&plan.symbols, bodies);
            lengths.push((bodies.len() - before) as u32);
        }
        Ok(())
    }
}

impl Source<'_> {
    /// What follows from a step.
    fn plan(self, fit: &Fit, step: f32, phase: f64, chosen: &mut Chosen) -> Plan {
        let mut model = fit.model(step, phase);
        let inverses: [f32; 33] =
            core::array::from_fn(|below| 65_536.0 / chance(tables::NARROWEST - below as i32) as f32 / step);
        let stride = stride(self.x.len());
        let mut sizes = Sizes::default();
        for index in 0..self.layout.chunks() {
            model.classes(self.layout, index, &mut chosen.classes);
            let coordinates = chosen.classes.iter().zip(&self.x[self.layout.chunk_range(index)]);
            for (&class, &x) in coordinates.step_by(stride) {
                if class != model::ZERO {
                    let class = i32::from(class);
                    let below = (tables::NARROWEST - class).max(0);
                    sizes.count(x * inverses[below as usize], class.max(tables::NARROWEST));
                }
            }
        }
        model.shape = sizes.shape();
        let symbols = Tables::new(&model.shape, model.widest()).symbols();
        Plan { model, symbols, inverses }
    }

    /// Quantizes a chunk; whether all its coordinates are in range.
    fn quantize(self, plan: &Plan, index: usize, chosen: &mut Chosen, writer: &mut Writer) -> bool {
        let range = self.layout.chunk_range(index);
        plan.model.classes(self.layout, index, &mut chosen.classes);
        chosen.draw(Dither::new(self.seed, range.start));
        let x = &self.x[range];
        let classes = &chosen.classes;
        let scaled = |at: usize| x[at] * plan.inverses[(tables::NARROWEST - i32::from(classes[at])).max(0) as usize];
        writer.quantize(&plan.symbols, chosen, scaled)
    }
}

/// The search for the step that meets a budget. Steps are in half octaves.
struct Search {
    budget: f64,
    finest: f64,
    /// The least step that fits, and the largest that does not.
    fits: f64,
    exceeds: f64,
    /// Bytes that are not symbols, and how many times the predicted bytes the symbols took, when last seen.
    side: f64,
    correction: f64,
    tries: usize,
    at: f64,
}

impl Search {
    fn new(budget: f64, finest: f64) -> Self {
        let (fits, exceeds) = (f64::INFINITY, f64::NEG_INFINITY);
        Self { budget, finest, fits, exceeds, side: 0.0, correction: 1.0, tries: 0, at: finest }
    }

    /// The step to try next, given bytes of symbols at any step, as predicted.
    fn next(&mut self, predicted: impl Fn(f64) -> f64) -> f64 {
        self.tries += 1;
        let goal = self.budget * (1.0 - SLACK / 2.0);
        let step = bisect(|step| self.side + self.correction * predicted(step), goal, self.finest);
        let inside = step > self.exceeds && step < self.fits && self.tries < TRIES / 2;
        self.at = match (inside, self.fits.is_finite(), self.exceeds.is_finite()) {
            (true, ..) | (_, false, false) => step,
            (_, true, true) => (self.fits + self.exceeds) / 2.0,
            (_, true, false) => (self.fits - 4.0).max(self.finest),
            (_, false, true) => self.exceeds + 8.0,
        };
        self.at
    }

    /// Whether `bytes` are as many as there may be, or nearly.
    fn is_good(&self, bytes: f64) -> bool {
        let left = self.budget - bytes;
        left >= 0.0 && (left <= (self.budget * SLACK).max(FEW) || self.at <= self.finest)
    }

    /// Whether there are no more tries.
    fn is_over(&self) -> bool {
        self.tries >= TRIES
    }

    /// Notes what the step took that was tried.
    fn saw(&mut self, side: f64, symbols: f64, predicted: f64) {
        if side + symbols <= self.budget {
            self.fits = self.fits.min(self.at);
        } else {
            self.exceeds = self.exceeds.max(self.at);
        }
        self.side = side;
        if predicted > 1.0 {
            self.correction = symbols / predicted;
        }
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
