//! The matrix product under every layer: `out = left · right`, left addressed through two tables of offsets.
//!
//! Element (m, k) of the left matrix is `data[rows[m] + cols[k]]` and row k of the right one starts at `data[rows[k]]`.
//! A dense layer's tables are multiples of a stride; a convolution's are pixels and taps of a padded image, which makes
//! it a matrix product without a copy of its patches.

/// The left matrix, M x K.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    /// The numbers.
    pub(crate) data: &'a [f32],
    /// Offset of each of the M rows.
    pub(crate) rows: &'a [u32],
    /// Offset of each of the K columns, added to the row's.
    pub(crate) cols: &'a [u32],
}

/// The right matrix, K x N, whose rows are contiguous.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    /// The numbers.
    pub(crate) data: &'a [f32],
    /// Offset of each of the K rows.
    pub(crate) rows: &'a [u32],
    /// N.
    pub(crate) width: usize,
}

/// What becomes of the product.
#[derive(Clone, Copy)]
pub(crate) enum Into {
    /// It replaces the output.
    Set,
    /// Its multiple by this factor is added to the output.
    Add(f32),
}

/// Writes the product to `out`, whose rows are `stride` apart. Every element is summed in the order of k.
pub(crate) fn multiply(left: Left<'_>, right: Right<'_>, out: &mut [f32], stride: usize, into: Into) {
    let mut sums = vec![0.0f32; right.width];
    for (m, &row) in left.rows.iter().enumerate() {
        sums.fill(0.0);
        for (&col, &start) in left.cols.iter().zip(right.rows) {
            let a = left.data[row as usize + col as usize];
            let start = start as usize;
            for (sum, &b) in sums.iter_mut().zip(&right.data[start..start + right.width]) {
                *sum += a * b;
            }
        }
        for (out, &sum) in out[m * stride..][..right.width].iter_mut().zip(&sums) {
            match into {
                Into::Set => *out = sum,
                Into::Add(factor) => *out += factor * sum,
            }
        }
    }
}

/// The table of `count` offsets `step` apart.
pub(crate) fn steps(count: usize, step: usize) -> Vec<u32> {
    (0..count).map(|i| (i * step) as u32).collect()
}

/// Writes the transpose of `from`, `rows` x `cols` with rows `from_stride` apart, to `to` with rows `to_stride` apart.
pub(crate) fn transpose(from: &[f32], from_stride: usize, rows: usize, cols: usize, to: &mut [f32], to_stride: usize) {
    for r in 0..rows {
        for (c, &value) in from[r * from_stride..][..cols].iter().enumerate() {
            to[c * to_stride + r] = value;
        }
    }
}
