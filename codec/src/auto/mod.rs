//! `auto`: entropy-coded dithered quantization, unbiased, at any rate.
//!
//! One step Δ for the whole vector; q = round(x/Δ + u) with a dither u that both ends draw from the seed (Roberts 1962;
//! Schuchman 1964; Ziv 1985). The coder's tables are conditioned on u and on a scale for every row and column of every
//! tensor; the decoder adds to q what leaves it unbiased with the least error, -E[q | u], which is between nothing and -u;
//! and of classes far below the step only a share is sent, drawn from the seed too, so that it costs nothing to say which.
//! `docs/codec.md` has the mathematics.
//!
//! ```text
//! encode, search    plans steps, counts what they take, and writes the one that fits
//! fit, survey       scales of rows and columns, from passes over all coordinates
//! sample, shape     some of the coordinates: what scales leave, and how many bits that takes
//! model             what of it is sent; gives every coordinate its class
//! tables, normal    from classes and shape to frequencies, in integers
//! lookups           what of it coders look up
//! keys, kernel      which coordinates have a symbol, and which one: sixteen at a time
//! count             how many bits that takes, before it is done
//! push, chunk       rANS, for the coordinates of a chunk
//! lanes             how its states begin and end
//! span              how many chunks of the layout are one of the payload
//! raw_bits, range   what is sent as it is; a binary range coder for the model
//! steps             from decoded steps to values, and to sums
//! means, logarithm  what the others reckon with
//! ```
//!
//! Here: decoding. Absent on purpose: what a target is and how it is written (`scheme`), checksums and lengths (`frame`).

mod chunk;
pub(crate) mod count;
mod encode;
mod fit;
pub(crate) mod kernel;
pub(crate) mod keys;
pub(crate) mod lanes;
mod logarithm;
pub(crate) mod lookups;
pub(crate) mod means;
mod model;
pub(crate) mod normal;
pub(crate) mod push;
mod range;
pub(crate) mod raw_bits;
pub(crate) mod sample;
mod search;
pub(crate) mod shape;
pub(crate) mod span;
pub(crate) mod steps;
mod survey;
pub(crate) mod tables;

use alloc::vec::Vec;
use core::ops::Range;

use nibble_seed::Seed;

use self::{chunk::Chosen, lookups::Pops, model::Model, tables::Tables};
pub(crate) use self::{
    encode::{AutoEncoder, Failure, Source},
    span::Span,
};
use crate::{dither::Dither, layout::Layout, scheme::Target, simd::Kernels};

/// Steps are within 2^-100 and 2^100.
const STEPS: Range<f32> = 7.888_609e-31..1.267_650_7e30;

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
    pub(crate) fn new(kernels: Kernels, layout: &Layout, bytes: &[u8]) -> Result<Self, &'static str> {
        let model = Model::read(layout, bytes)?;
        let (widest, mut tables) = (model.widest(), Tables::default());
        tables.make(kernels, &model.shape, widest);
        let tables = tables.pops(kernels, &model.shape, widest);
        Ok(Self { model, tables })
    }

    /// Decodes the body of the chunk of the coordinates in `range` into `scratch`.
    pub(crate) fn decode(
        &self,
        kernels: Kernels,
        (layout, span): (&Layout, Span),
        range: Range<usize>,
        seed: Seed,
        body: &[u8],
        scratch: &mut Scratch,
    ) -> Result<(), &'static str> {
        let Scratch { chosen, values, .. } = scratch;
        let (start, most) = (range.start, span.most_symbols(range.len()));
        self.model.classes(kernels, layout, range, &mut chosen.classes);
        chosen.draw(kernels, Dither::new(seed, start), most)?;
        chunk::decode(kernels, &self.tables, chosen, body, values)
    }

    /// The values of a part of the chunk that was decoded into `scratch`.
    pub(crate) fn values(&self, kernels: Kernels, scratch: &Scratch, part: Range<usize>, gain: f32, out: &mut [f32]) {
        let unit = self.model.step * gain;
        match scratch.chosen.places(part.clone()) {
            None => kernels.scale(&scratch.values[part], unit, out),
            Some((places, which)) => {
                out.fill(0.0);
                kernels.scale_at((places, part.start), &scratch.values[which], unit, out);
            }
        }
    }

    /// Adds `weight` times the values of a part of the chunk that was decoded into `scratch`.
    pub(crate) fn fold(
        &self,
        kernels: Kernels,
        (scratch, part): (&Scratch, Range<usize>),
        gain: f32,
        weight: f64,
        sum: &mut [f64],
    ) {
        let unit = self.model.step * gain;
        match scratch.chosen.places(part.clone()) {
            None => kernels.fold_steps(&scratch.values[part], unit, weight, sum),
            Some((places, which)) => {
                kernels.fold_steps_at((places, part.start), &scratch.values[which], unit, weight, sum);
            }
        }
    }
}

/// A chunk that was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The number of its frame, and the seed.
    pub(crate) frame: (usize, Seed),
    pub(crate) index: usize,
    /// As it stood before it.
    pub(crate) checksum: [u8; 4],
    /// Whether that was right.
    pub(crate) is_checked: bool,
}

/// Memory that decoding needs: one for each thread, kept from call to call, spares allocations.
#[derive(Debug, Default)]
pub struct Scratch {
    chosen: Chosen,
    /// Of the coordinates that have a symbol, in steps.
    values: Vec<f32>,
    /// Of `sign`: the rows of a block.
    pub(crate) rows: Vec<f32>,
    /// Of `auto`: what is decoded here.
    pub(crate) held: Option<Held>,
}
