//! Norms and inner products of updates, from one pass over their chunks, on all threads.
//!
//! Sums are f64, so that even values of f32::MAX in 2^40 coordinates stay finite. A strip of chunks is summed by one thread,
//! in order, and strips are added in order: how many there are follows from the layout alone, and so do all bits.

use std::ops::Range;

use nibble_codec::Layout;

use super::{Chunks, Contribution, Scratch, threads::spread};
use crate::error::FoldError;

/// Most strips: more would cost memory (n² f64 each), fewer could not keep as many threads busy.
const STRIPS: usize = 64;
/// Coordinates of all updates that are multiplied at a time, so that they stay in the cache.
const PIECE: usize = 512;
/// Sums that a sum over coordinates consists of, so that it vectorises.
const LANES: usize = 4;

/// Inner products <x_i, x_j> of n updates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Products {
    updates: usize,
    /// n x n, symmetric.
    entries: Vec<f64>,
}

impl Products {
    /// Products of vectors that are at hand.
    #[must_use]
    pub fn of(vectors: &[Vec<f64>]) -> Self {
        let product = |(x, y): (&Vec<f64>, &Vec<f64>)| x.iter().zip(y).map(|(x, y)| x * y).sum();
        let entries = vectors.iter().flat_map(|x| vectors.iter().map(move |y| product((x, y)))).collect();
        Self { updates: vectors.len(), entries }
    }

    /// Number of updates.
    #[must_use]
    pub fn updates(&self) -> usize {
        self.updates
    }

    /// <x_i, x_j>.
    ///
    /// # Panics
    /// If there are no such updates.
    #[must_use]
    pub fn get(&self, i: usize, j: usize) -> f64 {
        self.entries[i * self.updates + j]
    }

    /// The length of every update.
    #[must_use]
    pub fn norms(&self) -> Vec<f64> {
        (0..self.updates).map(|i| self.get(i, i).sqrt()).collect()
    }

    /// ‖x_i − x_j‖².
    #[must_use]
    pub fn distance_squared(&self, i: usize, j: usize) -> f64 {
        // Rounding may leave less than nothing of two vectors that are nearly the same.
        (self.get(i, i) + self.get(j, j) - 2.0 * self.get(i, j)).max(0.0)
    }

    /// ‖x_i − Σ c_j x_j‖ for every update.
    #[must_use]
    pub fn distances_to(&self, shares: &[f64]) -> Vec<f64> {
        let with: Vec<f64> = self
            .entries
            .chunks_exact(self.updates.max(1))
            .map(|row| row.iter().zip(shares).map(|(product, share)| product * share).sum())
            .collect();
        let point: f64 = with.iter().zip(shares).map(|(with, share)| with * share).sum();
        (0..self.updates).map(|i| (self.get(i, i) - 2.0 * with[i] + point).max(0.0).sqrt()).collect()
    }

    /// The products of the updates times `scales`.
    pub(super) fn scale(&mut self, scales: &[f64]) {
        for (row, scale) in self.entries.chunks_exact_mut(self.updates.max(1)).zip(scales) {
            row.iter_mut().zip(scales).for_each(|(product, other)| *product *= scale * other);
        }
    }
}

/// ‖x_i‖ of every update: O(chunk) memory a thread.
pub(super) fn norms<C: Chunks<Error: Send>>(
    of: &[Contribution<C>],
    layout: &Layout,
    threads: usize,
) -> Result<Vec<f64>, FoldError<C::Error>> {
    let together = of.iter().map(|contribution| contribution.chunks.together()).max().unwrap_or(1);
    let squares = strips((layout, together), threads, of.len(), |chunks, buffers, sums| {
        // All chunks of a strip, as some only decode together.
        for (contribution, sum) in of.iter().zip(sums) {
            for index in chunks.clone() {
                let row = buffers.rows(1, layout.chunk_range(index).len());
                decode(contribution, index, &mut buffers.scratch, &mut buffers.decoded[row.clone()])?;
                *sum += square(&buffers.decoded[row]);
            }
        }
        Ok(())
    })?;
    Ok(squares.into_iter().map(f64::sqrt).collect())
}

/// <x_i, x_j> of all pairs: O(n x chunk) memory a thread.
pub(super) fn products<C: Chunks<Error: Send>>(
    of: &[Contribution<C>],
    layout: &Layout,
    threads: usize,
) -> Result<Products, FoldError<C::Error>> {
    let updates = of.len();
    let each = |index, len, buffers: &mut Buffers, sums: &mut [f64]| {
        let rows = buffers.rows(updates, len);
        for (contribution, row) in of.iter().zip(buffers.decoded[rows].chunks_exact_mut(len)) {
            decode(contribution, index, &mut buffers.scratch, row)?;
        }
        for start in (0..len).step_by(PIECE) {
            let range = start..len.min(start + PIECE);
            buffers.piece.clear();
            buffers.piece.resize(updates * PIECE, 0.0);
            for (row, wide) in buffers.decoded.chunks_exact(len).zip(buffers.piece.chunks_exact_mut(PIECE)) {
                wide.iter_mut().zip(&row[range.clone()]).for_each(|(wide, &value)| *wide = f64::from(value));
            }
            multiply(&buffers.piece, updates, sums);
        }
        Ok(())
    };
    let entries = strips((layout, 1), threads, updates * updates, |mut chunks, buffers, sums| {
        chunks.try_for_each(|index| each(index, layout.chunk_range(index).len(), buffers, sums))
    })?;
    let mut products = Products { updates, entries };
    for i in 0..updates {
        for j in 0..i {
            products.entries[j * updates + i] = products.get(i, j);
        }
    }
    Ok(products)
}

/// What a thread needs.
#[derive(Default)]
struct Buffers {
    scratch: Scratch,
    decoded: Vec<f32>,
    piece: Vec<f64>,
}

impl Buffers {
    /// Room for `count` chunks of `len` coordinates in `decoded`.
    fn rows(&mut self, count: usize, len: usize) -> Range<usize> {
        self.decoded.resize(count * len, 0.0);
        0..count * len
    }
}

/// `sums` numbers, to which `add` adds what some chunks of the layout give: as many times so many as suit.
fn strips<E: Send>(
    (layout, together): (&Layout, usize),
    threads: usize,
    sums: usize,
    add: impl Fn(Range<usize>, &mut Buffers, &mut [f64]) -> Result<(), FoldError<E>> + Sync,
) -> Result<Vec<f64>, FoldError<E>> {
    let width = layout.chunks().div_ceil(STRIPS).max(1).next_multiple_of(together);
    let strips = layout.chunks().div_ceil(width);
    let partial = spread(threads, strips, Buffers::default, |buffers, strip| {
        let mut partial = vec![0.0; sums];
        add(strip * width..layout.chunks().min((strip + 1) * width), buffers, &mut partial)?;
        Ok::<_, FoldError<E>>(partial)
    })?;
    Ok(partial.into_iter().fold(vec![0.0; sums], |mut total, partial| {
        total.iter_mut().zip(partial).for_each(|(total, partial)| *total += partial);
        total
    }))
}

fn decode<C: Chunks>(
    of: &Contribution<C>,
    index: usize,
    scratch: &mut Scratch,
    out: &mut [f32],
) -> Result<(), FoldError<C::Error>> {
    let failed = |error| FoldError::Chunk { client: of.facts.client, error };
    of.chunks.decode_chunk(index, scratch, out).map_err(failed)
}

/// ‖x‖².
fn square(x: &[f32]) -> f64 {
    let mut sums = [0.0; 4 * LANES];
    let (blocks, tail) = x.as_chunks::<{ 4 * LANES }>();
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, &x)| *sum += f64::from(x) * f64::from(x));
    }
    sums.iter_mut().zip(tail).for_each(|(sum, &x)| *sum += f64::from(x) * f64::from(x));
    sums.iter().sum()
}

/// Adds to the lower triangle of `sums` the products of the rows of `piece`, four columns at a time.
fn multiply(piece: &[f64], updates: usize, sums: &mut [f64]) {
    let (rows, _) = piece.as_chunks::<PIECE>();
    for (i, row) in rows.iter().enumerate() {
        let sums = &mut sums[i * updates..=i * updates + i];
        let others = &rows[..=i];
        for (sums, others) in sums.chunks_mut(4).zip(others.chunks(4)) {
            // What is left over is multiplied more than once, and used once.
            let other = |k: usize| &others[k.min(others.len() - 1)];
            let products = four(row, [other(0), other(1), other(2), other(3)]);
            sums.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
        }
    }
}

/// Products of `x` with four others; each is summed in the same order.
fn four(x: &[f64; PIECE], others: [&[f64; PIECE]; 4]) -> [f64; 4] {
    let mut sums = [[0.0; LANES]; 4];
    let (x, _) = x.as_chunks::<LANES>();
    let others = others.map(|other| other.as_chunks::<LANES>().0);
    for (at, x) in x.iter().enumerate() {
        for (sums, other) in sums.iter_mut().zip(others) {
            for lane in 0..LANES {
                sums[lane] += x[lane] * other[at][lane];
            }
        }
    }
    sums.map(|sums| sums.iter().sum())
}
