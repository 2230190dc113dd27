//! Grey levels as numbers in [0, 1].

use super::simd::{Kernel, Simd};

/// `to[i] = from[i] / 255`.
pub(crate) struct Grey<'a> {
    /// Levels.
    pub(crate) from: &'a [u8],
    /// Numbers, as many.
    pub(crate) to: &'a mut [f32],
}

impl Kernel for Grey<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (to, &from) in self.to.iter_mut().zip(self.from) {
            *to = f32::from(from) / 255.0;
        }
    }
}
