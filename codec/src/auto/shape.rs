//! The shape of what scales leave: the mixture of normals that is most likely (EM; Dempster, Laird, Rubin 1977).
//!
//! Absent on purpose: what scales are (`fit`), and what follows from a shape (`tables`).

use super::tables::{COMPONENTS, FIRST, Shape, WEIGHTS};
use crate::simd::Kernels;

/// Passes of the fit.
const PASSES: usize = 40;
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
        for (&value, &bin) in values.iter().zip(bins) {
            self.0[usize::from(bin).min(BINS - 1)] += u32::from(value != 0.0);
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
    let counts = sizes.0.map(f64::from);
    if sizes.0.iter().all(|&count| count == 0) {
        return weights;
    }
    for _ in 0..PASSES {
        let mut chances = [0.0; BINS];
        for (inside, weight) in insides.iter().zip(weights) {
            for bin in 0..BINS {
                chances[bin] += inside[bin] * weight;
            }
        }
        for bin in 0..BINS {
            chances[bin] = counts[bin] / chances[bin];
        }
        for (inside, weight) in insides.iter().zip(&mut weights) {
            let mut sums = [0.0; SUMS];
            for (inside, chances) in inside.as_chunks::<SUMS>().0.iter().zip(chances.as_chunks::<SUMS>().0) {
                for lane in 0..SUMS {
                    sums[lane] += inside[lane] * chances[lane];
                }
            }
            *weight *= sums.iter().sum::<f64>();
        }
        let sum: f64 = weights.iter().sum();
        weights = weights.map(|weight| weight / sum);
    }
    weights
}
