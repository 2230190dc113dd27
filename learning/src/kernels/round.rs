//! Rounding to evenly spaced levels.

use super::simd::{Kernel, Simd};

/// `to[i]` = the multiple of `step` nearest to `from[i]`, ties to the even one, at most `most` multiples from 0 either way.
pub(crate) struct Round<'a> {
    /// What is rounded.
    pub(crate) from: &'a [f32],
    /// Where it goes, as many numbers.
    pub(crate) to: &'a mut [f32],
    /// Above 0, and its inverse finite.
    pub(crate) step: f32,
    /// At most 2^21.
    pub(crate) most: f32,
}

/// 1.5 · 2^23: what is added to it is rounded to a whole number, as every processor does it.
const SHIFT: f32 = 12_582_912.0;

impl Kernel for Round<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let (inverse, most) = (1.0 / self.step, self.most);
        for (to, &from) in self.to.iter_mut().zip(self.from) {
            let whole = from * inverse;
            let whole = if whole > most { most } else { whole }; // NaN stays, to be noticed
            let whole = if whole < -most { -most } else { whole };
            *to = (whole + SHIFT - SHIFT) * self.step;
        }
    }
}
