//! Sums of squares, for norms.

use super::simd::{Kernel, Simd};

/// Numbers of a block: within one, sums are kept in `f32`, so that few digits are lost.
const BLOCK: usize = 1024;

/// `sum += Σ x²`: sixteen lanes within a block, blocks in `f64`, so the order is one whatever the vectors.
pub(crate) struct SumSquares<'a> {
    /// What is squared.
    pub(crate) x: &'a [f32],
    /// What is added to.
    pub(crate) sum: &'a mut f64,
}

impl Kernel for SumSquares<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let vectors = 16 / S::LANES;
        for block in self.x.chunks(BLOCK) {
            let mut sums = [simd.splat(0.0); 4]; // the first `vectors` of them
            let mut add = |row: &[f32]| {
                for (sum, x) in sums[..vectors].iter_mut().zip(row.chunks_exact(S::LANES)) {
                    let x = simd.load(x);
                    *sum = simd.mul_add(x, x, *sum);
                }
            };
            let mut rows = block.chunks_exact(16);
            (&mut rows).for_each(&mut add);
            let mut last = [0.0; 16];
            last[..rows.remainder().len()].copy_from_slice(rows.remainder());
            add(&last);
            let mut lanes = [0.0; 16];
            for (sum, lanes) in sums[..vectors].iter().zip(lanes.chunks_exact_mut(S::LANES)) {
                simd.store(*sum, lanes);
            }
            *self.sum += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
        }
    }
}
