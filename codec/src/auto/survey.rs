//! What one pass over a tensor's memory tells: means of |x| by row and by column, some of the coordinates, the largest magnitude.
//!
//! A long tensor is passed over in parts, by as many threads as there are: which parts hangs on the tensor alone, and their sums
//! are added in order, so that threads change no bit. Absent on purpose: what scales follow (`fit`).

use alloc::vec::Vec;
use core::ops::Range;

use super::{
    means::{self, Room},
    model::Matrix,
    sample::Drawn,
};
use crate::{parallel, simd::Kernels};

/// Coordinates that are looked at while they are in the cache.
const TILE: usize = 1 << 14;
/// Coordinates of a part, about, and how many parts there are at most.
const PART: usize = 1 << 17;
const MOST_PARTS: usize = 16;

/// Who passes over memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crew {
    pub(super) kernels: Kernels,
    pub(super) threads: usize,
}

/// Means of |x| by row and by column, and by column of |x| over its row's. Holds memory from one tensor to the next.
#[derive(Debug, Default)]
pub(super) struct Means {
    pub(super) rows: Vec<f64>,
    pub(super) plain: Vec<f64>,
    pub(super) balanced: Vec<f64>,
    /// By row, of |x| over its column's.
    pub(super) again: Vec<f64>,
    /// What |x| counts in its row, by column.
    weights: Vec<f32>,
    parts: Vec<Part>,
}

/// Some rows of a tensor, and what was found of them. Columns have sums.
#[derive(Debug, Default)]
struct Part {
    place: Range<usize>,
    rows: Vec<f64>,
    plain: Vec<f64>,
    balanced: Vec<f64>,
    drawn: Drawn,
    largest: u32,
    room: Room,
}

/// What is sought beside means of rows, and of columns over those.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Means of columns, and one in about so many coordinates.
    First(usize),
    Again,
}

impl Means {
    /// The first pass over a tensor: its means, about one in `stride` of its coordinates, and the largest magnitude as the bits
    /// of a float.
    pub(super) fn survey(&mut self, crew: Crew, matrix: Matrix, x: &[f32], stride: usize, drawn: &mut Drawn) -> u32 {
        let stride = matrix.stride(stride);
        self.weights.clear();
        self.weights.resize(matrix.columns, 1.0);
        self.pass(crew, matrix, x, Pass::First(stride));
        let Self { rows, plain, balanced, parts, .. } = self;
        rows.clear();
        reset(plain, matrix.columns);
        reset(balanced, matrix.columns);
        let mut largest = 0;
        for part in parts {
            rows.extend_from_slice(&part.rows);
            add(plain, &part.plain);
            add(balanced, &part.balanced);
            drawn.append(&part.drawn);
            largest = part.largest.max(largest);
        }
        drawn.tensors.push((drawn.x.len(), stride as f32));
        divide(plain, matrix.rows);
        divide(balanced, matrix.rows);
        largest
    }

    /// The means of rows, of |x| over its column's, into `again`, and those of columns over these, into `balanced`.
    pub(super) fn refine(&mut self, crew: Crew, matrix: Matrix, x: &[f32]) {
        self.weights.iter_mut().zip(&self.balanced).for_each(|(weight, &mean)| *weight = means::inverse(mean));
        self.pass(crew, matrix, x, Pass::Again);
        let Self { again, balanced, parts, .. } = self;
        again.clear();
        balanced.fill(0.0);
        for part in parts {
            again.extend_from_slice(&part.rows);
            add(balanced, &part.balanced);
        }
        divide(balanced, matrix.rows);
    }

    /// Passes over a tensor, part by part.
    fn pass(&mut self, crew: Crew, matrix: Matrix, x: &[f32], pass: Pass) {
        let parts = (matrix.len / PART).clamp(1, MOST_PARTS);
        let rows = matrix.rows.div_ceil(parts).max(1);
        self.parts.resize_with(matrix.rows.div_ceil(rows), Part::default);
        for (part, first) in self.parts.iter_mut().zip((0..).step_by(rows)) {
            part.place = first..(first + rows).min(matrix.rows);
        }
        let weights = &self.weights;
        let work = |part: &mut Part| part.pass(crew.kernels, matrix, x, weights, pass);
        parallel::share(crew.threads, &mut self.parts, work);
    }
}

impl Part {
    fn pass(&mut self, kernels: Kernels, matrix: Matrix, x: &[f32], weights: &[f32], pass: Pass) {
        let Self { place, rows, plain, balanced, drawn, largest, room } = self;
        let (mut start, end) = (place.start * matrix.columns, (place.end * matrix.columns).min(matrix.len));
        reset(rows, place.len());
        reset(balanced, matrix.columns);
        reset(plain, if pass == Pass::Again { 0 } else { matrix.columns });
        drawn.clear();
        *largest = 0;
        let mut every = match pass {
            Pass::First(stride) => Some(matrix.every(stride, start..end).peekable()),
            Pass::Again => None,
        };
        // Rows at a time that stay in the cache while some of their coordinates are drawn.
        let tile = (TILE / matrix.columns.max(1)).max(1);
        let tiles = x[start..end].chunks((tile * matrix.columns).max(1)).zip(rows.chunks_mut(tile));
        for (x, rows) in tiles {
            *largest = kernels.means(x, weights, rows, (balanced, plain), room).max(*largest);
            while let Some((at, row, column)) =
                every.as_mut().and_then(|every| every.next_if(|&(at, ..)| at < start + x.len()))
            {
                drawn.rows.push(row as u32);
                drawn.columns.push(column as u32);
                drawn.x.push(x[at - start]);
            }
            start += x.len();
        }
    }
}

fn reset(sums: &mut Vec<f64>, len: usize) {
    sums.clear();
    sums.resize(len, 0.0);
}

fn add(sums: &mut [f64], more: &[f64]) {
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

fn divide(sums: &mut [f64], count: usize) {
    sums.iter_mut().for_each(|sum| *sum /= count as f64);
}
