//! The shape of what scales leave: the mixture of normals that is most likely.
//!
//! A few passes of EM (Dempster, Laird, Rubin 1977) come near it, where EM goes on but slowly: normals half an octave apart are
//! much alike. From there on Newton's method, on weights of at least nothing, takes it the rest of the way (Kim, Carbonetto,
//! Stephens, Anitescu 2020). Absent on purpose: what scales are (`fit`), and what follows from a shape (`tables`).

use super::tables::{COMPONENTS, FIRST, Shape, WEIGHTS};
use crate::simd::Kernels;

/// Passes of EM, and then steps of Newton's method, with so many rounds over all weights to solve each.
const PASSES: usize = 12;
const STEPS: usize = 4;
const ROUNDS: usize = 10;
/// Least weight that a step begins with, so that it can grow again.
const LEAST_WEIGHT: f64 = 1e-6;
/// Bins of |x| over its scale that the shape is fitted to, four an octave.
pub(crate) const BINS: usize = 104;
/// The bin of a coordinate as large as its scale.
const UNIT: i32 = 72;
/// Sums side by side, as one would wait for every addition.
const SUMS: usize = 8;

/// How likely a normal of each deviation that a shape has is inside each bin.
#[derive(Clone, Debug)]
pub(crate) struct Insides([[f64; BINS]; COMPONENTS]);

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
        Self(core::array::from_fn(|j| core::array::from_fn(|bin| inside(bin as i32, j as i32))))
    }
}

/// How often |x| over the scale of its class is how large, in quarters of an octave's range.
#[derive(Clone, Debug)]
pub(crate) struct Sizes([u32; BINS]);

impl Default for Sizes {
    fn default() -> Self {
        Self([0; BINS])
    }
}

impl Sizes {
    /// The bin of a value of class `class`: of scale 2^(class/2).
    #[inline(always)]
    pub(super) fn bin(x: f32, class: i32) -> u8 {
        let size = x.abs() * if class & 1 == 0 { 1.0 } else { core::f32::consts::FRAC_1_SQRT_2 };
        // The exponent and two bits of the mantissa.
        let bin = (size.to_bits() >> 21) as i32 - 4 * (127 + (class >> 1)) + UNIT;
        bin.clamp(0, BINS as i32 - 1) as u8
    }

    /// Counts the bins of all values but zeros.
    pub(super) fn count(&mut self, values: &[f32], bins: &[u8]) {
        // In turns, as a count that was just written would be waited for.
        let mut turns = [[0; BINS]; 4];
        for (values, bins) in values.chunks(turns.len()).zip(bins.chunks(turns.len())) {
            for ((counts, &value), &bin) in turns.iter_mut().zip(values).zip(bins) {
                counts[usize::from(bin).min(BINS - 1)] += u32::from(value != 0.0);
            }
        }
        for counts in turns {
            self.0.iter_mut().zip(counts).for_each(|(all, count)| *all += count);
        }
    }

    /// The mixture that fits best.
    pub(super) fn shape(&self, kernels: Kernels, insides: &Insides) -> Shape {
        let weights = kernels.mixture(self, insides);
        let mut bytes = weights.map(|weight| libm::round(weight * f64::from(WEIGHTS)) as u8);
        let largest = (0..COMPONENTS).max_by_key(|&at| bytes[at]).unwrap_or_default();
        let sum: u32 = bytes.iter().map(|&byte| u32::from(byte)).sum();
        bytes[largest] = (u32::from(bytes[largest]) + WEIGHTS - sum) as u8;
        Shape(bytes)
    }
}

/// The weights of the mixture; of nothing counted, all the same.
#[inline(always)]
pub(crate) fn mixture(sizes: &Sizes, Insides(insides): &Insides) -> [f64; COMPONENTS] {
    let mut weights = [1.0 / COMPONENTS as f64; COMPONENTS];
    let all: f64 = sizes.0.iter().copied().map(f64::from).sum();
    if all == 0.0 {
        return weights;
    }
    let shares = sizes.0.map(|count| f64::from(count) / all);
    for _ in 0..PASSES {
        let chances = chances(insides, &weights);
        let mut over = [0.0; BINS];
        for bin in 0..BINS {
            over[bin] = shares[bin] / chances[bin];
        }
        for (inside, weight) in insides.iter().zip(&mut weights) {
            *weight *= dot(inside, &over);
        }
        normalize(&mut weights);
    }
    for _ in 0..STEPS {
        newton(&shares, insides, &mut weights);
        normalize(&mut weights);
    }
    weights
}

/// One step of Newton's method to weights of at least [`LEAST_WEIGHT`].
///
/// With g the gradient of the mean logarithm of chances, and H the negative of its second derivative, H w = g, so that the
/// weights y that are sought maximize 2 g y - y H y / 2 - y 1: where that is most, they add up to 1.
#[inline(always)]
fn newton(shares: &[f64; BINS], insides: &[[f64; BINS]; COMPONENTS], weights: &mut [f64; COMPONENTS]) {
    let over = chances(insides, weights).map(|chance| 1.0 / chance);
    let mut parts = [[0.0; BINS]; COMPONENTS];
    for (part, inside) in parts.iter_mut().zip(insides) {
        for bin in 0..BINS {
            part[bin] = inside[bin] * over[bin];
        }
    }
    let mut curvature = [[0.0; COMPONENTS]; COMPONENTS];
    let mut pulls = [0.0; COMPONENTS];
    for j in 0..COMPONENTS {
        let mut weighted = [0.0; BINS];
        for bin in 0..BINS {
            weighted[bin] = parts[j][bin] * shares[bin];
        }
        for k in 0..=j {
            let product = dot(&parts[k], &weighted);
            (curvature[j][k], curvature[k][j]) = (product, product);
        }
        // H w = g here, so that 2 g - 1 - H w is this.
        pulls[j] = dot(&weighted, &[1.0; BINS]) - 1.0;
    }
    let inverses: [f64; COMPONENTS] = core::array::from_fn(|j| 1.0 / curvature[j][j].max(f64::MIN_POSITIVE));
    for _ in 0..ROUNDS {
        for j in 0..COMPONENTS {
            let weight = (weights[j] + pulls[j] * inverses[j]).max(0.0);
            let more = weight - weights[j];
            weights[j] = weight;
            for k in 0..COMPONENTS {
                pulls[k] -= curvature[j][k] * more;
            }
        }
    }
    weights.iter_mut().for_each(|weight| *weight = weight.max(LEAST_WEIGHT));
}

/// How likely the mixture is inside each bin.
#[inline(always)]
fn chances(insides: &[[f64; BINS]; COMPONENTS], weights: &[f64; COMPONENTS]) -> [f64; BINS] {
    let mut chances = [0.0; BINS];
    for (inside, weight) in insides.iter().zip(weights) {
        for bin in 0..BINS {
            chances[bin] += inside[bin] * weight;
        }
    }
    chances
}

/// The sum of products, in one order on every machine.
#[inline(always)]
fn dot(a: &[f64; BINS], b: &[f64; BINS]) -> f64 {
    let mut sums = [0.0; SUMS];
    for (a, b) in a.as_chunks::<SUMS>().0.iter().zip(b.as_chunks::<SUMS>().0) {
        for lane in 0..SUMS {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

fn normalize(weights: &mut [f64; COMPONENTS]) {
    let sum: f64 = weights.iter().sum();
    *weights = weights.map(|weight| weight / sum);
}
