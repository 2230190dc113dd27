//! Some of the coordinates, to tell the shape of all and how many bits they will take: as arrays side by side, which is what
//! kernels like.
//!
//! Absent on purpose: which coordinates (`fit` draws them), and what is done with the number of bits (`search`).

use alloc::vec::Vec;

use super::{
    count::Counted,
    keys::{self, Key},
    lanes::bytes_of_lanes,
    lookups::Pushes,
    model::Model,
    shape::{Insides, Sizes},
    tables::{NARROWEST, Shape},
};
use crate::simd::Kernels;

/// 2^16 over the golden ratio: multiples of it spread evenly.
const GOLDEN: u32 = 40_503;

/// What is drawn of the tensors, one after the other.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    pub(super) rows: Vec<u32>,
    pub(super) columns: Vec<u32>,
    pub(super) x: Vec<f32>,
    /// Where each tensor's end, and for how many coordinates each of them stands.
    pub(super) tensors: Vec<(usize, f32)>,
}

impl Drawn {
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.columns.clear();
        self.x.clear();
        self.tensors.clear();
    }

    /// Takes on more coordinates of the last tensor.
    pub(super) fn append(&mut self, more: &Self) {
        self.rows.extend_from_slice(&more.rows);
        self.columns.extend_from_slice(&more.columns);
        self.x.extend_from_slice(&more.x);
    }
}

/// What was drawn, under the classes of one model.
#[derive(Debug, Default)]
pub(super) struct Sample {
    classes: Vec<i8>,
    bins: Vec<u8>,
    keys: Vec<Key>,
    /// Values over the chance that they have a symbol.
    values: Vec<f32>,
    /// For how many coordinates with a symbol each stands.
    weights: Vec<f32>,
    /// For how many coordinates each stands, on average.
    of: f64,
    bytes_of_lanes: f64,
}

impl Sample {
    /// Takes on what was drawn under the classes of `model`, for a vector of so many chunks; gives its shape.
    pub(super) fn take(
        &mut self,
        kernels: Kernels,
        drawn: &Drawn,
        model: &Model,
        insides: &Insides,
        chunks: usize,
    ) -> Shape {
        let len = drawn.x.len();
        self.classes.clear();
        let mut start = 0;
        for (codes, &(end, _)) in model.codes.iter().zip(&drawn.tensors) {
            codes.classes_of(&drawn.rows[start..end], &drawn.columns[start..end], &mut self.classes);
            start = end;
        }
        self.bins.resize(len, 0);
        self.keys.resize(len, Key::default());
        self.values.resize(len, 0.0);
        self.weights.resize(len, 0.0);
        let Self { classes, bins, keys, values, weights, .. } = self;
        kernels.ask(classes, &drawn.x, 1.0 / model.step, Asked { bins, keys, values, weights });
        let (mut start, mut all, mut kept) = (0, 0.0, 0.0);
        for &(end, of) in &drawn.tensors {
            let weights = &mut weights[start..end];
            weights.iter_mut().for_each(|weight| *weight *= of);
            kept += sum(weights);
            all += f64::from(of) * (end - start) as f64;
            start = end;
        }
        self.of = all / len.max(1) as f64;
        self.bytes_of_lanes = chunks as f64 * bytes_of_lanes((kept / chunks.max(1) as f64) as usize);
        let mut sizes = Sizes::default();
        sizes.count(values, bins);
        sizes.shape(kernels, insides)
    }

    /// Bytes that the symbols of all coordinates take at a step, about, under these tables.
    pub(super) fn bytes(&self, kernels: Kernels, tables: &Pushes, step: f32) -> f64 {
        let Counted { symbols, raw } = kernels.weigh(tables, &self.keys, &self.values, 1.0 / step, &self.weights);
        (symbols + raw as f64 * self.of) / 8.0 + self.bytes_of_lanes
    }
}

/// The sum, in a few interleaved sums, one order on every machine.
fn sum(weights: &[f32]) -> f64 {
    let (groups, rest) = weights.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for group in groups {
        for (sum, weight) in sums.iter_mut().zip(group) {
            *sum += f64::from(*weight);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().copied().map(f64::from).sum::<f64>()
}

/// What [`ask`] fills.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    bins: &'a mut [u8],
    keys: &'a mut [Key],
    values: &'a mut [f32],
    weights: &'a mut [f32],
}

/// What follows from the class of each coordinate. Their dither does not matter; together they are evenly spread.
#[inline(always)]
pub(crate) fn ask(classes: &[i8], x: &[f32], inverse: f32, Asked { bins, keys, values, weights }: Asked<'_>) {
    let chances: [f32; keys::DEPTHS] =
        core::array::from_fn(|below| keys::chance(NARROWEST - below as i32) as f32 / 65_536.0);
    let inverses = keys::all_inverses();
    let places = classes.iter().zip(x).zip(bins.iter_mut().zip(keys)).zip(values.iter_mut().zip(weights));
    for (at, (((&class, &x), (bin, key)), (value, weight))) in (0u32..).zip(places) {
        let class = i32::from(class);
        let below = (NARROWEST - class).clamp(0, 63) as usize;
        *value = x * inverses[below];
        *weight = chances[below];
        *key = Key::new(class, at.wrapping_mul(GOLDEN) & 0xffff);
        *bin = Sizes::bin(*value * inverse, class.max(NARROWEST));
    }
}
