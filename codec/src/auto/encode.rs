//! From a vector to a model and the bodies of chunks, within a number of bytes.
//!
//! A step is *planned*: its model and its tables, under which a sample tells what this and other steps near it will take. Then
//! all coordinates are *counted*, and at last *written*. Which step is next is the search's affair.

use alloc::vec::Vec;
use core::ops::Range;

use nibble_seed::Seed;

use super::{
    STEPS,
    chunk::{self, Chosen, Kept, Writer},
    fit::{Change, Fit},
    kernel::MOST,
    keys::{self, Key},
    lookups::Pushes,
    model::{LEAST, Model},
    sample::Sample,
    search::{Search, bisect},
    shape::Insides,
    span::Span,
    survey::Crew,
    tables::Tables,
};
use crate::{dither::Dither, frame::SHORT_CHUNK_HEADER_BYTES, layout::Layout, parallel, scheme::Target, simd::Kernels};

/// A budget is met within this share.
const ENOUGH_OF_BUDGET: f64 = 0.996;
/// Half octaves from the largest value to the finest step that is tried: a step more is beyond what a symbol holds.
const FINEST: f64 = 46.0;
/// Half octaves from the step that was planned to one that needs no plan of its own: classes are as good, but for a trifle.
const NEAR: f64 = 0.1;
/// How often a step is planned for that; and how far off one always is.
const PLANS: usize = 3;
pub(super) const FAR: f64 = 0.6;
/// Half octaves to either side of a step that tell how bytes change with it.
const ASIDE: f64 = 0.4;
/// Coordinates that are counted, of long vectors: about so many.
pub(super) const COUNTED: usize = 1 << 22;
/// What was encoded: the model, then the bodies of all chunks, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    pub(crate) model: Vec<u8>,
    pub(crate) bodies: Vec<u8>,
    /// Bytes of each body.
    pub(crate) lengths: Vec<u32>,
}

impl Encoded {
    /// Bytes of all that, with lengths and checksums.
    fn len(&self) -> usize {
        let ends = self.lengths.iter().map(|&len| varint_bytes(len) + SHORT_CHUNK_HEADER_BYTES);
        self.model.len() + self.bodies.len() + ends.sum::<usize>()
    }
}

/// Bytes of a number in groups of 7 bits.
pub(crate) fn varint_bytes(number: u32) -> usize {
    (number | 1).ilog2() as usize / 7 + 1
}

/// Encodes vectors. Holds memory from one to the next, and nothing else.
#[derive(Debug)]
pub(crate) struct AutoEncoder {
    kernels: Kernels,
    /// One for each thread.
    hands: Vec<Hand>,
    fit: Fit,
    insides: Insides,
    sample: Sample,
    tables: Tables,
    plan: Plan,
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
    /// The budget is less than these bytes, for the model and all chunks.
    Budget(usize),
    /// A wide chunk has more symbols than it may.
    Crowded,
}

/// A vector with its dither.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) x: &'a [f32],
    pub(crate) seed: Seed,
}

/// A vector, cut into chunks.
#[derive(Clone, Copy)]
struct Cut<'a> {
    source: Source<'a>,
    span: Span,
}

impl Cut<'_> {
    /// How many chunks there are.
    fn chunks(&self) -> usize {
        self.span.count(self.source.layout)
    }

    /// The coordinates of one.
    fn range(&self, chunk: usize) -> Range<usize> {
        self.span.range(self.source.layout, chunk)
    }

    /// Bytes of lengths and checksums, if lengths have two bytes, not three.
    fn bytes_of_ends(&self) -> usize {
        (2 + SHORT_CHUNK_HEADER_BYTES) * self.chunks()
    }
}

/// Where a plan has its shape from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shaping {
    New,
    /// From the plan before.
    Kept,
}

/// A step and what follows from it.
#[derive(Debug, Default)]
struct Plan {
    /// Which of all that were ever made.
    number: u64,
    model: Model,
    /// The model as it is sent, of which the step is the beginning.
    bytes: Vec<u8>,
    tables: Pushes,
    /// The largest magnitude of what has a symbol, in steps over the chance of it, or more.
    reach: f32,
}

/// The step of so many half octaves.
fn width(step: f64) -> f32 {
    (libm::exp2(step / 2.0) as f32).clamp(STEPS.start, STEPS.end / 2.0)
}

impl Plan {
    /// Moves to another step, with the same classes and tables.
    fn set_step(&mut self, step: f32, largest: f32) {
        self.model.step = step;
        self.bytes[..4].copy_from_slice(&step.to_le_bytes());
        let chance = keys::chance(self.model.narrowest().max(LEAST)) as f32 / 65_536.0;
        self.reach = largest / step / chance;
    }

    /// Whether a value may be beyond what symbols hold.
    fn is_to_be_checked(&self) -> bool {
        self.reach >= (MOST - 1) as f32
    }
}

impl AutoEncoder {
    /// An encoder that writes with as many threads as it is told.
    pub(crate) fn new(kernels: Kernels, threads: usize) -> Self {
        Self {
            kernels,
            hands: (0..threads.max(1)).map(|_| Hand::default()).collect(),
            fit: Fit::default(),
            insides: Insides::default(),
            sample: Sample::default(),
            tables: Tables::default(),
            plan: Plan::default(),
            encoded: Encoded::default(),
            best: Encoded::default(),
        }
    }

    /// Encodes a vector to at most `budget` bytes, or with the step of `target`.
    pub(crate) fn encode(&mut self, source: Source<'_>, target: Target, budget: usize) -> Result<&Encoded, Failure> {
        let coordinates = source.layout.coordinates().max(1) as f64;
        let rate = if let Target::Step(_) = target { 1.0 } else { 8.0 * budget as f64 / coordinates };
        let crew = Crew { kernels: self.kernels, threads: self.hands.len() };
        if !self.fit.update(crew, source, rate) {
            return Err(Failure::Magnitude);
        }
        let narrow = Cut { source, span: Span::ONE };
        if let Target::Step(step) = target {
            self.fit.prepare(2.0 * libm::log2(f32::from_bits(step).into()));
            self.plan(narrow, Change::Together, Shaping::New, f32::from_bits(step));
            self.write(narrow)?;
            return Ok(&self.encoded);
        }
        let best = match self.encode_within(Cut { span: Span::at(rate), ..narrow }, budget) {
            Err(Failure::Crowded) => self.encode_within(narrow, budget)?,
            best => best?,
        };
        if best == 0 { Err(Failure::Budget(self.encoded.len())) } else { Ok(&self.best) }
    }

    /// Encodes a vector to at most `budget` bytes; returns how many the best has, or 0.
    fn encode_within(&mut self, cut: Cut<'_>, budget: usize) -> Result<usize, Failure> {
        let coordinates = cut.source.layout.coordinates().max(1);
        let finest = self.fit.largest_halves() - FINEST;
        let side = self.fit.rough_side_bytes() + cut.bytes_of_ends() as f64;
        let goal = (budget as f64 - side).max(budget as f64 / 2.0);
        let rough = bisect(|step| coordinates as f64 * self.fit.rough_bits(step) / 8.0, goal, finest);
        self.fit.prepare(rough);
        let slope = libm::log(self.fit.rough_bits(rough + ASIDE) / self.fit.rough_bits(rough - ASIDE)) / (2.0 * ASIDE);
        let mut best = 0;
        // Where all rows are of one class, sizes jump where the class changes: a budget that falls into the gap is met with
        // rows that change it one by one.
        for change in [Change::Together, Change::RowByRow] {
            let search = Search::new(budget as f64, (coordinates, cut.chunks()), finest, (rough, slope));
            self.search(cut, change, budget, search, &mut best)?;
            if best as f64 >= budget as f64 * ENOUGH_OF_BUDGET {
                break;
            }
        }
        Ok(best)
    }

    /// Keeps the best of the payloads that fit, and that has more than `best` bytes.
    fn search(
        &mut self,
        cut: Cut<'_>,
        change: Change,
        budget: usize,
        mut search: Search,
        best: &mut usize,
    ) -> Result<(), Failure> {
        let mut planned = f64::INFINITY;
        for _ in 0..PLANS {
            if (search.at - planned).abs() <= NEAR {
                break;
            }
            planned = search.at;
            self.plan_for(cut, change, Shaping::New, &mut search);
            search.advance();
        }
        search.counted(self.count(cut, search.at));
        search.advance();
        while !search.is_over() {
            // Sizes jump where the shape does, too.
            let (far, shaping) = if change == Change::Together { (FAR, Shaping::New) } else { (0.0, Shaping::Kept) };
            if (search.at - planned).abs() > far {
                planned = search.at;
                self.plan_for(cut, change, shaping, &mut search);
            }
            self.plan.set_step(width(search.at), self.fit.largest);
            match self.write(cut) {
                // What fits is kept.
                Err(Failure::Crowded) if *best > 0 => break,
                written => written?,
            }
            let (len, symbols) = (self.encoded.len(), self.encoded.bodies.len());
            let is_good = search.wrote((len - symbols) as f64, symbols as f64);
            if len <= budget && len > *best {
                *best = len;
                core::mem::swap(&mut self.best, &mut self.encoded);
            }
            if is_good {
                break;
            }
            search.advance();
        }
        Ok(())
    }

    /// Plans a step; returns the bytes that are not symbols.
    fn plan(&mut self, cut: Cut<'_>, change: Change, shaping: Shaping, step: f32) -> f64 {
        let (layout, plan) = (cut.source.layout, &mut self.plan);
        plan.number += 1;
        self.fit.classify(layout, step, change, &mut plan.model);
        let shape = self.sample.take(self.kernels, &self.fit.drawn, &plan.model, &self.insides, cut.chunks());
        if shaping == Shaping::New {
            plan.model.shape = shape;
        }
        self.tables.make(self.kernels, &plan.model.shape, plan.model.widest());
        plan.tables.fill(&self.tables);
        plan.bytes.clear();
        plan.model.write(layout, &mut plan.bytes);
        plan.set_step(step, self.fit.largest);
        (plan.bytes.len() + cut.bytes_of_ends()) as f64
    }

    /// Plans where the search is, and estimates what it will take there.
    fn plan_for(&mut self, cut: Cut<'_>, change: Change, shaping: Shaping, search: &mut Search) {
        let side = self.plan(cut, change, shaping, width(search.at));
        let [finer, here, coarser] = [-ASIDE, 0.0, ASIDE]
            .map(|aside| self.sample.bytes(self.kernels, &self.plan.tables, width(search.at + aside)));
        search.planned(side, here, libm::log(coarser / finer) / (2.0 * ASIDE));
    }

    /// Lets all hands work, each on its share of the chunks; returns how many had one.
    fn share(&mut self, cut: Cut<'_>, work: impl Fn(&mut Hand, Kernels, &Plan) + Sync) -> usize {
        let (kernels, plan, chunks) = (self.kernels, &self.plan, cut.chunks());
        let share = chunks.div_ceil(self.hands.len()).max(1);
        for (hand, first) in self.hands.iter_mut().zip((0..).step_by(share)) {
            hand.chunks = first.min(chunks)..(first + share).min(chunks);
            let most = hand.kept.len().max(hand.chunks.len());
            hand.kept.resize_with(most, Kept::default);
        }
        let busy = chunks.div_ceil(share).max(1);
        parallel::for_each(&mut self.hands[..busy], |hand| work(hand, kernels, plan));
        busy
    }

    /// Bytes that the symbols of all coordinates take at a step; of long vectors, of as many as tell.
    fn count(&mut self, cut: Cut<'_>, step: f64) -> f64 {
        self.plan.set_step(width(step), self.fit.largest);
        let every = cut.source.layout.coordinates().div_ceil(COUNTED).max(1);
        let busy = self.share(cut, |hand, kernels, plan| hand.count(kernels, cut, plan, every));
        self.hands[..busy].iter().map(|hand| hand.bits).sum::<u64>() as f64 / 8.0 / BIT
    }

    fn write(&mut self, cut: Cut<'_>) -> Result<(), Failure> {
        let busy = self.share(cut, |hand, kernels, plan| hand.write(kernels, cut, plan));
        let Encoded { model, bodies, lengths } = &mut self.encoded;
        model.clear();
        model.extend_from_slice(&self.plan.bytes);
        if self.hands[..busy].iter().any(|hand| !hand.fits) {
            return Err(Failure::Range);
        }
        if self.hands[..busy].iter().any(|hand| hand.is_crowded) {
            return Err(Failure::Crowded);
        }
        let Some((first, others)) = self.hands[..busy].split_first_mut() else { return Ok(()) };
        core::mem::swap(bodies, &mut first.bodies);
        core::mem::swap(lengths, &mut first.lengths);
        for hand in others {
            bodies.extend_from_slice(&hand.bodies);
            lengths.extend_from_slice(&hand.lengths);
        }
        Ok(())
    }
}

/// Bits are counted in fractions of this, so that their sum does not depend on its order.
const BIT: f64 = 65_536.0;

/// Writes some of the chunks.
#[derive(Debug, Default)]
struct Hand {
    chunks: Range<usize>,
    chosen: Chosen,
    /// One for each chunk.
    kept: Vec<Kept>,
    writer: Writer,
    bodies: Vec<u8>,
    lengths: Vec<u32>,
    /// Whether all coordinates were in range.
    fits: bool,
    /// Whether a chunk has more symbols than it may.
    is_crowded: bool,
    /// Some of the coordinates of a chunk.
    some: Vec<f32>,
    bits: u64,
}

impl Hand {
    fn write(&mut self, kernels: Kernels, cut: Cut<'_>, plan: &Plan) {
        self.bodies.clear();
        self.lengths.clear();
        (self.fits, self.is_crowded) = (true, false);
        for chunk in self.chunks.clone() {
            let Self { chosen, kept, writer, some, .. } = self;
            let kept = &mut kept[chunk - self.chunks.start];
            let drawn = draw(kernels, cut, plan, (chunk, 1), (chosen, kept, some));
            self.is_crowded |= drawn.0.len() > cut.span.most_symbols(cut.range(chunk).len());
            self.fits &= writer.quantize(kernels, &plan.tables, drawn, 1.0 / plan.model.step, plan.is_to_be_checked());
            let before = self.bodies.len();
            writer.write(kernels, &mut self.bodies);
            self.lengths.push((self.bodies.len() - before) as u32);
        }
    }

    /// Counts the bits of one run of coordinates in so many, and multiplies.
    fn count(&mut self, kernels: Kernels, cut: Cut<'_>, plan: &Plan, every: usize) {
        self.bits = 0;
        for chunk in self.chunks.clone() {
            let Self { chosen, kept, some, .. } = self;
            let kept = &mut kept[chunk - self.chunks.start];
            let drawn = draw(kernels, cut, plan, (chunk, every), (chosen, kept, some));
            let share = Chosen::share(cut.range(chunk).len(), every);
            let bits = chunk::bits(kernels, &plan.tables, drawn, 1.0 / plan.model.step, share);
            self.bits += (share * BIT * bits) as u64;
        }
    }
}

/// Draws which coordinates of a chunk, or of one run in `every` of it, have a symbol, unless that was kept. Returns their keys,
/// and their values over the chance of it.
fn draw<'a>(
    kernels: Kernels,
    cut: Cut<'a>,
    plan: &Plan,
    (chunk, every): (usize, usize),
    (chosen, kept, some): (&'a mut Chosen, &'a mut Kept, &'a mut Vec<f32>),
) -> (&'a [Key], &'a [f32]) {
    let (source, range) = (cut.source, cut.range(chunk));
    let (dither, mut x) = (Dither::new(source.seed, range.start), &source.x[range.clone()]);
    if every == 1 && kept.is_of(plan.number) {
        return kept.drawn();
    }
    plan.model.classes(kernels, source.layout, range, &mut chosen.classes);
    if every > 1 {
        x = chosen.thin(x, every, some);
    }
    chosen.draw_values(kernels, dither, every, x);
    if every == 1 {
        kept.keep(plan.number, chosen, source.x.len());
    }
    chosen.drawn(x)
}
