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
pub(crate) mod kernel;
mod model;
mod normal;
mod range;
pub(crate) mod raw_bits;
pub(crate) mod tables;

use alloc::vec::Vec;
use core::ops::Range;

use nibble_seed::Seed;

use self::{
    chunk::{Chosen, Writer},
    fit::{Drawn, Fit, Insides, Sizes},
    kernel::{Key, Pushed},
    model::Model,
    raw_bits::RawSink,
    tables::{Costs, Pops, Pushes, Tables},
};
use crate::{dither::Dither, layout::Layout, parallel, scheme::Target, simd::Kernels};

/// Steps are within 2^-100 and 2^100.
const STEPS: Range<f32> = 7.888_609e-31..1.267_650_7e30;
/// Times that the step is tried before the best that fits is taken.
const TRIES: usize = 12;
/// Coordinates that tell the shape, and what a step will take; of long vectors, one in so many.
const ENOUGH: usize = 1 << 15;
const ONE_IN: usize = 16;
/// A budget is met within this share.
const ENOUGH_OF_BUDGET: f64 = 0.996;
/// A payload this close below its budget is good enough.
const SLACK: f64 = 0.001;
/// Plans that are made for one that is written.
const PLANS: usize = 4;
/// 2^16 over the golden ratio: multiples of it spread evenly.
const GOLDEN: u32 = 40_503;
/// Bytes that are not worth another try.
const FEW: f64 = 8.0;

/// Every how many coordinates are looked at to know what all are like.
fn stride(len: usize) -> usize {
    (len / ENOUGH).clamp(1, ONE_IN)
}

/// Whether a step is one that payloads may have.
pub(crate) fn is_step(step: f32) -> bool {
    STEPS.contains(&step)
}

/// Largest magnitude that can be encoded.
pub(crate) fn most_magnitude(target: Target) -> f32 {
    let step = if let Target::Step(step) = target { f32::from_bits(step) } else { STEPS.end / 4.0 };
    step * (kernel::MOST - 2) as f32
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
    tables: Pops,
}

impl Decoder {
    /// Reads a model.
    pub(crate) fn new(layout: &Layout, bytes: &[u8]) -> Result<Self, &'static str> {
        let model = Model::read(layout, bytes)?;
        let tables = Tables::new(&model.shape, model.widest()).pops();
        Ok(Self { model, tables })
    }

    /// Decodes the body of chunk `index` into `scratch`.
    pub(crate) fn decode(
        &self,
        kernels: Kernels,
        layout: &Layout,
        index: usize,
        seed: Seed,
        body: &[u8],
        scratch: &mut Scratch,
    ) -> Result<(), &'static str> {
        let Scratch { chosen, values } = scratch;
        self.model.classes(kernels, layout, index, &mut chosen.classes);
        chosen.draw(kernels, Dither::new(seed, layout.chunk_range(index).start));
        chunk::decode(kernels, &self.tables, chosen, body, values)
    }

    /// The values of the chunk that was decoded into `scratch`.
    pub(crate) fn values(&self, scratch: &Scratch, gain: f32, out: &mut [f32]) {
        let unit = self.model.step * gain;
        match scratch.places() {
            None => out.iter_mut().zip(&scratch.values).for_each(|(out, steps)| *out = steps * unit),
            Some(places) => {
                out.fill(0.0);
                places.for_each(|(at, steps)| out[at] = steps * unit);
            }
        }
    }

    /// Adds `weight` times the values of the chunk that was decoded into `scratch`.
    pub(crate) fn fold(&self, scratch: &Scratch, gain: f32, weight: f64, sum: &mut [f64]) {
        let unit = self.model.step * gain;
        let value = |steps: f32| weight * f64::from(steps * unit);
        match scratch.places() {
            None => sum.iter_mut().zip(&scratch.values).for_each(|(sum, &steps)| *sum += value(steps)),
            Some(places) => places.for_each(|(at, steps)| sum[at] += value(steps)),
        }
    }
}

/// Memory that decoding needs: one for each thread, kept from call to call, spares allocations.
#[derive(Debug, Default)]
pub struct Scratch {
    chosen: Chosen,
    /// Of the coordinates that have a symbol, in steps.
    values: Vec<f32>,
}

impl Scratch {
    /// Places and values of the coordinates that have a symbol, unless all have one.
    fn places(&self) -> Option<impl Iterator<Item = (usize, f32)>> {
        let places = self.chosen.places()?;
        Some(places.iter().zip(&self.values).map(|(&at, &steps)| (at as usize, steps)))
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
#[derive(Debug)]
pub(crate) struct AutoEncoder {
    kernels: Kernels,
    /// One for each thread.
    hands: Vec<Hand>,
    sample: Sample,
    insides: Insides,
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
pub(crate) struct Source<'a> {
    pub(crate) layout: &'a Layout,
    /// Finite.
    pub(crate) x: &'a [f32],
    /// The largest magnitude.
    pub(crate) largest: f32,
    pub(crate) seed: Seed,
}

/// A step and what follows from it.
struct Plan {
    model: Model,
    tables: Pushes,
    /// What values of a class are multiplied by, from the narrowest down.
    inverses: [f32; 33],
    /// Bytes that the symbols will take, about.
    symbol_bytes: f64,
}

impl AutoEncoder {
    /// An encoder that writes with as many threads as it is told.
    pub(crate) fn new(kernels: Kernels, threads: usize) -> Self {
        let ((sample, insides), (encoded, best)) = Default::default();
        let hands = (0..threads.max(1)).map(|_| Hand::default()).collect();
        Self { kernels, hands, sample, insides, encoded, best }
    }

    /// Encodes a vector to at most `budget` bytes, or with the step of `target`.
    pub(crate) fn encode(&mut self, source: Source<'_>, target: Target, budget: usize) -> Result<&Encoded, Failure> {
        let layout = source.layout;
        let fit = |rate| Fit::new(self.kernels, source, &self.insides, rate);
        if let Target::Step(step) = target {
            let plan = self.plan(source, &fit(1.0), f32::from_bits(step), 0.0);
            self.write(source, &plan)?;
            return Ok(&self.encoded);
        }
        let fit = fit(8.0 * budget as f64 / layout.coordinates().max(1) as f64);
        let mut best = 0;
        // Where all coordinates are of one class, sizes jump where the class changes: a budget that falls into the gap is
        // met with classes that change elsewhere.
        for phase in [0.0, 0.5] {
            let mut search = Search::new(budget as f64, fit.largest() - 40.0);
            while !search.is_over() {
                let step = search.next(|step| fit.symbol_bits(step) / 8.0);
                let width = (libm::exp2(step / 2.0) as f32).clamp(STEPS.start, STEPS.end / 2.0);
                let plan = self.plan(source, &fit, width, phase);
                if search.side == 0.0 {
                    self.encoded.model.clear();
                    plan.model.write(layout, &mut self.encoded.model);
                    search.side = (self.encoded.model.len() + layout.chunks()) as f64;
                }
                if !search.expects(plan.symbol_bytes, fit.symbol_bits(step) / 8.0) {
                    continue;
                }
                self.write(source, &plan)?;
                let (len, symbols) = (self.encoded.len(), self.encoded.bodies.len());
                search.saw((len - symbols) as f64, symbols as f64, plan.symbol_bytes);
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

    /// What follows from a step.
    fn plan(&mut self, source: Source<'_>, fit: &Fit, step: f32, phase: f64) -> Plan {
        let mut model = fit.model(step, phase);
        let inverses: [f32; 33] =
            core::array::from_fn(|below| 65_536.0 / kernel::chance(tables::NARROWEST - below as i32) as f32 / step);
        let mut sizes = Sizes::default();
        let sample = &mut self.sample;
        sample.clear();
        for (codes, drawn) in model.codes.iter().zip(fit.drawn()) {
            for &Drawn { row, column, x } in &drawn.coordinates {
                let class = i32::from(codes.class_of(row as usize, column as usize));
                if class != i32::from(model::ZERO) {
                    let value = x * inverses[(tables::NARROWEST - class).max(0) as usize];
                    sizes.count(value, class.max(tables::NARROWEST));
                    sample.push(class, value, drawn.of);
                }
            }
        }
        model.shape = sizes.shape(&self.insides);
        let tables = Tables::new(&model.shape, model.widest());
        let (costs, tables) = (tables.costs(), tables.pushes());
        let symbol_bytes = sample.bytes(self.kernels, &tables, &costs, source.layout.chunks());
        Plan { model, tables, inverses, symbol_bytes }
    }

    fn write(&mut self, source: Source<'_>, plan: &Plan) -> Result<(), Failure> {
        let kernels = self.kernels;
        let chunks = source.layout.chunks();
        let share = chunks.div_ceil(self.hands.len()).max(1);
        for (hand, first) in self.hands.iter_mut().zip((0..).step_by(share)) {
            hand.chunks = first.min(chunks)..(first + share).min(chunks);
        }
        let busy = chunks.div_ceil(share).max(1);
        parallel::for_each(&mut self.hands[..busy], |hand| hand.write(kernels, source, plan));
        let Encoded { model, bodies, lengths } = &mut self.encoded;
        model.clear();
        plan.model.write(source.layout, model);
        bodies.clear();
        lengths.clear();
        for hand in &self.hands[..busy] {
            if !hand.fits {
                return Err(Failure::Range);
            }
            bodies.extend_from_slice(&hand.bodies);
            lengths.extend_from_slice(&hand.lengths);
        }
        Ok(())
    }
}

/// Writes some of the chunks.
#[derive(Debug, Default)]
struct Hand {
    chunks: Range<usize>,
    chosen: Chosen,
    writer: Writer,
    bodies: Vec<u8>,
    lengths: Vec<u32>,
    /// Whether all coordinates were in range.
    fits: bool,
}

impl Hand {
    fn write(&mut self, kernels: Kernels, source: Source<'_>, plan: &Plan) {
        self.bodies.clear();
        self.lengths.clear();
        self.fits = self.chunks.clone().all(|index| {
            let range = source.layout.chunk_range(index);
            plan.model.classes(kernels, source.layout, index, &mut self.chosen.classes);
            self.chosen.draw(kernels, Dither::new(source.seed, range.start));
            let fits = self.writer.quantize(kernels, &plan.tables, &self.chosen, &source.x[range], &plan.inverses);
            let before = self.bodies.len();
            self.writer.write(kernels, &plan.tables, &mut self.bodies);
            self.lengths.push((self.bodies.len() - before) as u32);
            fits
        });
    }
}

/// Some of the coordinates, to tell how many bits all will take.
#[derive(Debug, Default)]
struct Sample {
    keys: Vec<Key>,
    /// In steps, over the chance that they have a symbol.
    scaled: Vec<f32>,
    /// For how many coordinates with a symbol each stands.
    weights: Vec<f32>,
    symbols: Vec<Pushed>,
    raw: RawSink,
}

impl Sample {
    fn clear(&mut self) {
        self.keys.clear();
        self.scaled.clear();
        self.weights.clear();
        self.raw.clear();
    }

    /// Adds a coordinate. Its dither does not matter; together they are evenly spread.
    fn push(&mut self, class: i32, scaled: f32, of: f32) {
        let noise = (self.keys.len() as u32).wrapping_mul(GOLDEN) as u16;
        self.keys.push(Key::new(class, noise));
        self.scaled.push(scaled);
        self.weights.push(of * kernel::chance(class) as f32 / 65_536.0);
    }

    /// Bytes that the coordinates they stand for take, about, in this many chunks.
    fn bytes(&mut self, kernels: Kernels, tables: &Pushes, costs: &Costs, chunks: usize) -> f64 {
        self.symbols.resize(self.keys.len(), Pushed::default());
        kernels.quantize(tables, &self.keys, &self.scaled, 1.0, &mut self.symbols, &mut self.raw);
        let bits = |(symbol, weight): (&Pushed, &f32)| f64::from(costs.of(*symbol) * weight);
        let bits: f64 = self.symbols.iter().zip(&self.weights).map(bits).sum();
        let kept: f64 = self.weights.iter().map(|&weight| f64::from(weight)).sum();
        let raw_bits = self.raw.len_bits() as f64 * kept / self.keys.len().max(1) as f64;
        let symbols = kept / chunks.max(1) as f64;
        (bits + raw_bits) / 8.0 + (chunks * chunk::bytes_of_lanes(symbols as usize)) as f64
    }
}

/// The search for the step that meets a budget. Steps are in half octaves.
///
/// What a step will take is known three times: roughly from the fit, for any step; well from a plan, which looks at some
/// coordinates; and then it is written. Each corrects the one before.
struct Search {
    budget: f64,
    finest: f64,
    /// The least step that fits, and the largest that does not.
    fits: f64,
    exceeds: f64,
    /// Bytes that are not symbols, when last seen.
    side: f64,
    /// Bytes of symbols over those that the plan expects, and those over what the fit predicts, when last seen.
    over_plan: f64,
    over_fit: f64,
    tries: usize,
    /// Plans since something was written.
    plans: usize,
    at: f64,
}

impl Search {
    fn new(budget: f64, finest: f64) -> Self {
        let (fits, exceeds) = (f64::INFINITY, f64::NEG_INFINITY);
        let (over_plan, over_fit) = (1.0, 1.0);
        Self { budget, finest, fits, exceeds, side: 0.0, over_plan, over_fit, tries: 0, plans: 0, at: finest }
    }

    /// What to aim at: at first the middle of what is good, as it is not known how far off plans are.
    fn goal(&self) -> f64 {
        self.budget * (1.0 - if self.tries == 0 { SLACK / 2.0 } else { SLACK / 8.0 })
    }

    /// The step to plan next, given bytes of symbols at any step, as the fit predicts them.
    fn next(&mut self, predicted: impl Fn(f64) -> f64) -> f64 {
        let correction = self.over_plan * self.over_fit;
        let step = bisect(|step| self.side + correction * predicted(step), self.goal(), self.finest);
        let inside = step > self.exceeds && step < self.fits && self.tries < TRIES / 2;
        self.at = match (inside, self.fits.is_finite(), self.exceeds.is_finite()) {
            (true, ..) | (_, false, false) => step,
            (_, true, true) => (self.fits + self.exceeds) / 2.0,
            (_, true, false) => (self.fits - 4.0).max(self.finest),
            (_, false, true) => self.exceeds + 8.0,
        };
        self.at
    }

    /// Whether the plan, whose symbols take so many bytes, is worth writing; else [`Search::next`] gives a better step.
    fn expects(&mut self, planned: f64, predicted: f64) -> bool {
        self.plans += 1;
        if predicted > 1.0 {
            self.over_fit = planned / predicted;
        }
        let off = self.side + self.over_plan * planned - self.goal();
        off.abs() <= (self.budget * SLACK).max(FEW) || self.plans >= PLANS || self.at <= self.finest
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

    /// Notes what was written of the plan.
    fn saw(&mut self, side: f64, symbols: f64, planned: f64) {
        (self.tries, self.plans) = (self.tries + 1, 0);
        if side + symbols <= self.budget {
            self.fits = self.fits.min(self.at);
        } else {
            self.exceeds = self.exceeds.max(self.at);
        }
        self.side = side;
        if planned > 1.0 {
            self.over_plan = symbols / planned;
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
