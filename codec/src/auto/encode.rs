//! From a vector to a model and the bodies of chunks, within a number of bytes.
//!
//! A step is *planned* (its model, its tables, and from some of the coordinates the bytes that it will take), and if it
//! promises well *written*. Which step is next is the search's affair.

use alloc::vec::Vec;
use core::ops::Range;

use nibble_seed::Seed;

use super::{
    STEPS,
    chunk::{self, Chosen, Writer},
    fit::{Change, Drawn, Fit, Insides, Sizes},
    kernel::{LANES, Pushed},
    keys::{self, Key},
    model::{self, Model},
    raw_bits::RawSink,
    search::Search,
    tables::{self, Costs, Pushes, Tables},
};
use crate::{dither::Dither, layout::Layout, parallel, scheme::Target, simd::Kernels};

/// Coordinates that tell the shape, and what a step will take: of long vectors one in so many, up to a number.
const ENOUGH: usize = 1 << 14;
const ONE_IN: usize = 32;
const AMPLE: usize = 1 << 17;
/// A budget is met within this share.
const ENOUGH_OF_BUDGET: f64 = 0.996;
/// Half octaves from the largest value to the finest step that is tried: a step more is beyond what a symbol holds.
const FINEST: f64 = 46.0;
/// 2^16 over the golden ratio: multiples of it spread evenly.
const GOLDEN: u32 = 40_503;

/// Every how many coordinates are looked at to know what all are like.
pub(super) fn stride(len: usize) -> usize {
    (len / ENOUGH).clamp(1, ONE_IN).max(len / AMPLE)
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
    /// A value is not finite, or beyond what any coding takes.
    Magnitude,
    /// A value is too large for the step.
    Range,
    /// The budget is less than these bytes, for model and bodies.
    Budget(usize),
}

/// A vector with its dither.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) x: &'a [f32],
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
        let fit = |rate| Fit::new(self.kernels, source, &self.insides, rate).ok_or(Failure::Magnitude);
        if let Target::Step(step) = target {
            let plan = self.plan(source, &fit(1.0)?, f32::from_bits(step), Change::Together);
            self.write(source, &plan)?;
            return Ok(&self.encoded);
        }
        let fit = fit(8.0 * budget as f64 / layout.coordinates().max(1) as f64)?;
        let mut best = 0;
        // Where all rows are of one class, sizes jump where the class changes: a budget that falls into the gap is met with
        // rows that change it one by one.
        for change in [Change::Together, Change::RowByRow] {
            let mut search = Search::new(budget as f64, fit.largest() - FINEST);
            while !search.is_over() {
                let step = search.next(|step| fit.symbol_bits(step) / 8.0);
                let width = (libm::exp2(step / 2.0) as f32).clamp(STEPS.start, STEPS.end / 2.0);
                let plan = self.plan(source, &fit, width, change);
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
    fn plan(&mut self, source: Source<'_>, fit: &Fit, step: f32, change: Change) -> Plan {
        let mut model = fit.model(source.layout, step, change);
        let inverses: [f32; 33] =
            core::array::from_fn(|below| 65_536.0 / keys::chance(tables::NARROWEST - below as i32) as f32 / step);
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
        self.weights.push(of * keys::chance(class) as f32 / 65_536.0);
    }

    /// Bytes that the coordinates they stand for take, about, in this many chunks.
    fn bytes(&mut self, kernels: Kernels, tables: &Pushes, costs: &Costs, chunks: usize) -> f64 {
        self.symbols.resize(self.keys.len(), Pushed::default());
        kernels.quantize(tables, &self.keys, &self.scaled, 1.0, &mut self.symbols, &mut self.raw);
        // Sixteen sums side by side, as one would wait for every addition.
        let [mut bits, mut kept] = [[0.0; LANES]; 2];
        for (symbols, weights) in self.symbols.chunks(LANES).zip(self.weights.chunks(LANES)) {
            for (lane, (symbol, &weight)) in symbols.iter().zip(weights).enumerate() {
                bits[lane] += f64::from(costs.of(*symbol) * weight);
                kept[lane] += f64::from(weight);
            }
        }
        let [bits, kept]: [f64; 2] = [bits, kept].map(|lanes| lanes.iter().sum());
        let raw_bits = self.raw.len_bits() as f64 * kept / self.keys.len().max(1) as f64;
        let symbols = kept / chunks.max(1) as f64;
        (bits + raw_bits) / 8.0 + (chunks * chunk::bytes_of_lanes(symbols as usize)) as f64
    }
}
