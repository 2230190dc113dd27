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

/// Most vectors in registers at a time, and most blocks of 16 columns in a tile: the tile's part of B should stay in
/// the level-1 cache while all rows of C pass.
const VECTORS: usize = 8;

impl Kernel for Sparse<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        // Where rows overlap, tiles decide the order of sums: they depend on the width alone, not on the processor.
        let blocks = self.width.div_ceil(16);
        let tiles = blocks.div_ceil(VECTORS);
        let mut done = 0;
        for tile in 0..tiles {
            let size = (blocks - done) / (tiles - tile); // tiles of nearly equal size beat full ones and a rest
            let (column, vectors) = (done * 16, size * 16 / S::LANES);
            let parts = (1..=vectors).find(|p| vectors % p == 0 && vectors / p <= VECTORS).unwrap_or(vectors);
            match vectors / parts {
                8 => self.tile::<S, 8>(simd, column, parts),
                7 => self.tile::<S, 7>(simd, column, parts),
                6 => self.tile::<S, 6>(simd, column, parts),
                5 => self.tile::<S, 5>(simd, column, parts),
                4 => self.tile::<S, 4>(simd, column, parts),
                3 => self.tile::<S, 3>(simd, column, parts),
                2 => self.tile::<S, 2>(simd, column, parts),
                _ => self.tile::<S, 1>(simd, column, parts),
            }
            done += size;
        }
    }
}

impl Sparse<'_> {
    /// All rows in `parts` parts of `V` vectors each, from `column` on.
    #[inline(always)]
    fn tile<S: Simd, const V: usize>(&mut self, simd: S, column: usize, parts: usize) {
        for &row in self.rows {
            for part in 0..parts {
                self.part::<S, V>(simd, row, column + part * V * S::LANES);
            }
        }
    }

    #[inline(always)]
    fn part<S: Simd, const V: usize>(&mut self, simd: S, row: Row, column: usize) {
        let scale = simd.splat(self.scale);
        let width = (V * S::LANES).min(self.width - column);
        let b = &self.b[column..];
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
