//! Transposition between samples in rows and samples in columns.

use super::simd::{Kernel, Simd};

/// `to[j * to_stride + i] = from[i * from_stride + j]` for `i` in rows, `j` in columns.
pub(crate) struct Transpose<'a> {
    /// The source, `rows` rows of `columns` numbers.
    pub(crate) from: &'a [f32],
    /// From one row of the source to the next.
    pub(crate) from_stride: usize,
    /// The target, `columns` rows of `rows` numbers.
    pub(crate) to: &'a mut [f32],
    /// From one row of the target to the next.
    pub(crate) to_stride: usize,
    /// Rows of the source.
    pub(crate) rows: usize,
    /// Columns of the source.
    pub(crate) columns: usize,
}

/// Side of the square that is turned in registers.
const SIDE: usize = 4;

impl Kernel for Transpose<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, _simd: S) {
        let (rows, columns) = (self.rows / SIDE * SIDE, self.columns / SIDE * SIDE);
        for i in (0..rows).step_by(SIDE) {
            for j in (0..columns).step_by(SIDE) {
                self.square(i, j);
            }
        }
        self.plain(0..rows, columns..self.columns);
        self.plain(rows..self.rows, 0..self.columns);
    }
}

impl Transpose<'_> {
    #[inline(always)]
    fn square(&mut self, i: usize, j: usize) {
        let mut tile = [[0.0; SIDE]; SIDE];
        for (r, tile) in tile.iter_mut().enumerate() {
            tile.copy_from_slice(&self.from[(i + r) * self.from_stride + j..][..SIDE]);
        }
        let columns: [[f32; SIDE]; SIDE] = core::array::from_fn(|c| core::array::from_fn(|r| tile[r][c]));
        for (c, column) in columns.iter().enumerate() {
            self.to[(j + c) * self.to_stride + i..][..SIDE].copy_from_slice(column);
        }
    }

    #[inline(always)]
    fn plain(&mut self, rows: core::ops::Range<usize>, columns: core::ops::Range<usize>) {
        for i in rows {
            for j in columns.clone() {
                self.to[j * self.to_stride + i] = self.from[i * self.from_stride + j];
            }
        }
    }
}
