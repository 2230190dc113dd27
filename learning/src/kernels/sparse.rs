//! Sparse products: rows of B, weighted and summed, for those gradients that ReLU and max-pooling left non-zero.
//!
//! Behind a ReLU half of a gradient is zero, behind a 2x2 max-pooling three quarters of the rest; skipping an exact
//! zero changes no bit of a sum. Lists may begin anywhere in `entries`, so that they are written without sorting.

use super::simd::{Kernel, Simd};

/// A non-zero of the left factor: its value and where its row of B begins.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Entry {
    /// Offset into B.
    pub(crate) from: u32,
    /// The factor.
    pub(crate) value: f32,
}

/// The non-zeros of one output row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// Offset into C.
    pub(crate) to: u32,
    /// First entry.
    pub(crate) start: u32,
    /// One past the last entry.
    pub(crate) end: u32,
}

/// `c[row.to..][..width] += scale * Σ_entries value * b[from..][..width]`, the inner sum in the order of the entries.
pub(crate) struct Sparse<'a> {
    /// Output rows, worked on in this order; they may overlap.
    pub(crate) rows: &'a [Row],
    /// The lists that `rows` points into.
    pub(crate) entries: &'a [Entry],
    /// The right factor; rows are read up to the next multiple of 16 past `width`.
    pub(crate) b: &'a [f32],
    /// The result.
    pub(crate) c: &'a mut [f32],
    /// Numbers in a row.
    pub(crate) width: usize,
    /// Applied to the finished sum.
    pub(crate) scale: f32,
}

/// Most vectors a tile holds: its rows of B should stay in the level-1 cache while all of C passes.
const VECTORS: usize = 8;

impl Kernel for Sparse<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let vectors = self.width.div_ceil(S::LANES);
        let tiles = vectors.div_ceil(VECTORS);
        let mut done = 0;
        for tile in 0..tiles {
            let size = (vectors - done) / (tiles - tile); // tiles of nearly equal size beat full ones and a rest
            let column = done * S::LANES;
            match size {
                8 => self.tile::<S, 8>(simd, column),
                7 => self.tile::<S, 7>(simd, column),
                6 => self.tile::<S, 6>(simd, column),
                5 => self.tile::<S, 5>(simd, column),
                4 => self.tile::<S, 4>(simd, column),
                3 => self.tile::<S, 3>(simd, column),
                2 => self.tile::<S, 2>(simd, column),
                _ => self.tile::<S, 1>(simd, column),
            }
            done += size;
        }
    }
}

impl Sparse<'_> {
    #[inline(always)]
    fn tile<S: Simd, const V: usize>(&mut self, simd: S, column: usize) {
        let scale = simd.splat(self.scale);
        let width = (V * S::LANES).min(self.width - column);
        let b = &self.b[column..];
        for row in self.rows {
            let mut sums = [simd.splat(0.0); V];
            for entry in &self.entries[row.start as usize..row.end as usize] {
                let b = &b[entry.from as usize..][..V * S::LANES];
                let value = simd.splat(entry.value);
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = simd.mul_add(value, simd.load(&b[v * S::LANES..]), *sum);
                }
            }
            let c = &mut self.c[row.to as usize + column..][..width];
            for (&sum, c) in sums.iter().zip(c.chunks_mut(S::LANES)) {
                if c.len() == S::LANES {
                    simd.store(simd.mul_add(scale, sum, simd.load(c)), c);
                } else {
                    let mut last = [0.0; 16];
                    last[..c.len()].copy_from_slice(c);
                    let sum = simd.mul_add(scale, sum, simd.load(&last));
                    simd.store(sum, &mut last);
                    c.copy_from_slice(&last[..c.len()]);
                }
            }
        }
    }
}
