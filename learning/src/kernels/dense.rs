//! Dense products: C += A · B with B streamed in rows and A read one number at a time, so that neither is packed.
//!
//! A linear layer multiplies its weights with samples in columns, a convolution the patches of an image, where they
//! lie, with its weights: A is a list of `segments` (of an image: one a kernel row) of which each is `run` numbers long.

use super::simd::{Kernel, Simd};

/// `c[i][n] += Σ_s Σ_j a[segments[s] + i * row_stride + j * step] * b[s * run + j][n]`, summed in that order.
pub(crate) struct Dense<'a> {
    /// The left factor.
    pub(crate) a: &'a [f32],
    /// From one row of A to the next.
    pub(crate) row_stride: usize,
    /// From one number of a segment to the next.
    pub(crate) step: usize,
    /// Where the segments of row 0 begin in `a`.
    pub(crate) segments: &'a [usize],
    /// Numbers in a segment.
    pub(crate) run: usize,
    /// The right factor, `[segments * run, columns]`.
    pub(crate) b: &'a [f32],
    /// The result, `[rows, columns]`.
    pub(crate) c: &'a mut [f32],
    /// Columns of B and C, a multiple of 16.
    pub(crate) columns: usize,
}

impl Kernel for Dense<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        assert_eq!(self.columns % 16, 0, "vectors divide 16 columns");
        assert!(
            self.b.len() >= self.segments.len() * self.run * self.columns,
            "B has a row for every number of A's rows"
        );
        let mut column = 0;
        while column < self.columns {
            let left = (self.columns - column) / S::LANES;
            // Tiles fill the registers: rows * vectors accumulators, the vectors of B, one number of A.
            column += S::LANES
                * if S::MANY_REGISTERS {
                    match left {
                        4.. => self.columns_of::<S, 7, 4>(simd, column),
                        2.. => self.columns_of::<S, 8, 2>(simd, column),
                        _ => self.columns_of::<S, 8, 1>(simd, column),
                    }
                } else {
                    self.columns_of::<S, 4, 2>(simd, column) // with six rows compilers spill a sum, at half the speed
                };
        }
    }
}

impl Dense<'_> {
    /// All rows of `V` vectors of columns; gives back `V`.
    #[inline(always)]
    fn columns_of<S: Simd, const R: usize, const V: usize>(&mut self, simd: S, column: usize) -> usize {
        let rows = self.c.len() / self.columns;
        let mut row = 0;
        while row + R <= rows {
            self.tile::<S, R, V>(simd, row, column);
            row += R;
        }
        while row + 2 <= rows {
            self.tile::<S, 2, V>(simd, row, column);
            row += 2;
        }
        if row < rows {
            self.tile::<S, 1, V>(simd, row, column);
        }
        V
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&mut self, simd: S, row: usize, column: usize) {
        let width = V * S::LANES;
        let mut sums = [[simd.splat(0.0); V]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            let c = &self.c[(row + r) * self.columns + column..][..width];
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = simd.load(&c[v * S::LANES..]);
            }
        }
        for (segment, b) in self.segments.iter().zip(self.b.chunks_exact(self.run * self.columns)) {
            let a = &self.a[segment + row * self.row_stride..];
            for (j, b) in b.chunks_exact(self.columns).enumerate() {
                let b = &b[column..][..width];
                let b: [S::Vector; V] = core::array::from_fn(|v| simd.load(&b[v * S::LANES..]));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let a = simd.splat(a[r * self.row_stride + j * self.step]);
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum = simd.mul_add(a, b, *sum);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let c = &mut self.c[(row + r) * self.columns + column..][..width];
            for (v, &sum) in sums.iter().enumerate() {
                simd.store(sum, &mut c[v * S::LANES..]);
            }
        }
    }
}
