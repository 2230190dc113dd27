//! Scaled addition of vectors.

use super::simd::{Kernel, Simd};

/// `y += scale * x`, elementwise, rounded as the other kernels round.
pub(crate) struct Axpy<'a> {
    /// The factor.
    pub(crate) scale: f32,
    /// What is added.
    pub(crate) x: &'a [f32],
    /// What it is added to, of the same length.
    pub(crate) y: &'a mut [f32],
}

impl Kernel for Axpy<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let scale = simd.splat(self.scale);
        let mut y = self.y.chunks_exact_mut(S::LANES);
        let mut x = self.x.chunks_exact(S::LANES);
        for (y, x) in (&mut y).zip(&mut x) {
            simd.store(simd.mul_add(scale, simd.load(x), simd.load(y)), y);
        }
        for (y, &x) in y.into_remainder().iter_mut().zip(x.remainder()) {
            let mut last = [0.0; 16];
            simd.store(simd.mul_add(scale, simd.splat(x), simd.splat(*y)), &mut last);
            *y = last[0];
        }
    }
}
