//! What a payload says of the vector as a whole: the step, the shape, and a scale for every row and column.
//!
//! A tensor is seen as a matrix of its first dimension by the others, a long vector as rows of 256. Real updates have
//! strong rows and columns (dead neurons, dark pixels); the class of a coordinate is the sum of the codes of both, in
//! half octaves of the step.

use alloc::vec::Vec;
use core::ops::Range;

use super::{
    range::{Chance, Coder, Decode, Encode, Integer},
    tables::{COMPONENTS, Shape, WEIGHTS, WIDEST},
};
use crate::{layout::Layout, simd::Kernels};

/// The class of coordinates that are all zero: they are not sent.
pub(super) const ZERO: i8 = i8::MIN;
/// The code of a row or a column of zeros.
pub(super) const ZEROS: i32 = i32::MIN;
/// Least class: what is sampled with 2^-16.
pub(super) const LEAST: i32 = super::tables::NARROWEST - 32;
/// Codes of rows and columns are within this.
pub(super) const MOST_CODE: i32 = 512;
/// Vectors are cut into rows of this length.
const ROW: usize = 256;
/// Bytes before the codes.
pub(super) const FIXED_BYTES: usize = 4 + COMPONENTS;

/// A tensor as a matrix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    pub(super) start: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Coordinates: the last row may be shorter.
    pub(super) len: usize,
}

impl Matrix {
    /// The least stride of at least `stride` that meets all columns, as it has no factor in common with their number.
    pub(super) fn stride(self, mut stride: usize) -> usize {
        // Of no columns every stride is a factor, and nothing is there to be met.
        while self.columns > 0 && gcd(stride, self.columns) > 1 {
            stride += 1;
        }
        stride
    }

    /// Every `stride`th coordinate from the first, of those in `range`: their places, rows and columns.
    pub(super) fn every(self, stride: usize, range: Range<usize>) -> impl Iterator<Item = (usize, usize, usize)> {
        let first = range.start.next_multiple_of(stride);
        let columns = self.columns.max(1);
        let (mut row, mut column) = (first / columns, first % columns);
        let next = move |at| {
            let found = (at, row, column);
            column += stride;
            while column >= self.columns {
                (row, column) = (row + 1, column - self.columns);
            }
            found
        };
        (first..range.end).step_by(stride).map(next)
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Codes of one tensor: a coordinate's class is the sum of its row's and its column's. Empty lists stand for zeros.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Codes {
    /// For the whole tensor; [`ZEROS`] if it is all zeros.
    pub(super) base: i32,
    pub(super) rows: Vec<i32>,
    pub(super) columns: Vec<i32>,
}

/// The model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    pub(super) step: f32,
    pub(super) shape: Shape,
    pub(super) codes: Vec<Codes>,
}

/// How the tensors of a layout are seen.
pub(super) fn matrices(layout: &Layout) -> impl Iterator<Item = Matrix> {
    layout.tensors().iter().map(|tensor| {
        let first = tensor.shape.first().copied().unwrap_or(1);
        let others = tensor.len.checked_div(first).unwrap_or_default();
        let (rows, columns) = match (first, others) {
            (2.., 2..) => (first, others),
            _ if tensor.len >= 2 * ROW => (tensor.len.div_ceil(ROW), ROW),
            _ => (1, tensor.len),
        };
        Matrix { start: tensor.offset, rows, columns, len: tensor.len }
    })
}

impl Codes {
    /// The class of a coordinate from what its row contributes and its column.
    #[inline(always)]
    pub(super) fn class(row: i32, column: i32) -> i8 {
        // Sums of codes are far above the sum of anything and ZEROS, which stays below.
        let sum = row.saturating_add(column);
        if sum < ZEROS / 2 { ZERO } else { sum.clamp(LEAST, WIDEST) as i8 }
    }

    /// Appends the classes of some coordinates to `out`.
    pub(super) fn classes_of(&self, rows: &[u32], columns: &[u32], out: &mut Vec<i8>) {
        // What is the same for all needs no look-up.
        let of_row = |row: u32| self.row(row as usize);
        match (self.rows.is_empty(), self.columns.as_slice()) {
            (_, []) => out.extend(rows.iter().map(|&row| Self::class(of_row(row), 0))),
            (true, codes) => {
                let row = of_row(0);
                out.extend(columns.iter().map(|&column| Self::class(row, codes[column as usize])));
            }
            (false, codes) => {
                let places = rows.iter().zip(columns);
                out.extend(places.map(|(&row, &column)| Self::class(of_row(row), codes[column as usize])));
            }
        }
    }

    fn row(&self, row: usize) -> i32 {
        match (self.base, self.rows.get(row)) {
            (ZEROS, _) | (_, Some(&ZEROS)) => ZEROS,
            (base, code) => base + code.copied().unwrap_or_default(),
        }
    }

    /// The narrowest class that there may be, but for that of zeros.
    fn narrowest(&self) -> Option<i32> {
        let least = |codes: &[i32]| codes.iter().copied().filter(|&code| code != ZEROS).min().unwrap_or_default();
        (self.base != ZEROS).then(|| (self.base + least(&self.rows) + least(&self.columns)).clamp(LEAST, WIDEST))
    }

    /// The widest class that there may be.
    pub(super) fn widest(&self) -> i32 {
        let most = |codes: &[i32]| codes.iter().copied().max().unwrap_or_default();
        match (self.base, most(&self.rows), most(&self.columns)) {
            (ZEROS, ..) | (_, ZEROS, _) | (.., ZEROS) => ZEROS,
            (base, row, column) => (base + row + column).clamp(LEAST, WIDEST),
        }
    }
}

impl Model {
    /// The widest class that there may be.
    pub(super) fn widest(&self) -> i32 {
        self.codes.iter().map(Codes::widest).max().unwrap_or(ZEROS)
    }

    /// A class that no coordinate with a symbol is below.
    pub(super) fn narrowest(&self) -> i32 {
        self.codes.iter().filter_map(Codes::narrowest).min().unwrap_or(WIDEST)
    }

    /// Replaces `out` by the classes of the coordinates in `range`.
    pub(super) fn classes(&self, kernels: Kernels, layout: &Layout, range: Range<usize>, out: &mut Vec<i8>) {
        out.resize(range.len(), 0);
        let mut out = out.as_mut_slice();
        for (matrix, codes) in matrices(layout).zip(&self.codes) {
            let (start, end) = (matrix.start.max(range.start), (matrix.start + matrix.len).min(range.end));
            let mut at = start.saturating_sub(matrix.start);
            let end = end.saturating_sub(matrix.start);
            while at < end {
                let (row, column) = (at / matrix.columns, at % matrix.columns);
                let len = (matrix.columns - column).min(end - at);
                let row = codes.row(row);
                let (part, rest) = core::mem::take(&mut out).split_at_mut(len);
                out = rest;
                match codes.columns.get(column..column + len) {
                    Some(columns) if row != ZEROS => kernels.classes(row, columns, part),
                    _ => part.fill(Codes::class(row, 0)),
                }
                at += len;
            }
        }
    }

    /// Appends the model as bytes.
    pub(super) fn write(&self, layout: &Layout, out: &mut Vec<u8>) {
        out.extend(self.step.to_le_bytes());
        out.extend(self.shape.0);
        let mut coder = Encode::new(out);
        let mut chances = Chances::default();
        for (matrix, codes) in matrices(layout).zip(&self.codes) {
            chances.codes(&mut coder, matrix, codes);
        }
        coder.finish();
    }

    /// Reads a model.
    pub(super) fn read(layout: &Layout, bytes: &[u8]) -> Result<Self, &'static str> {
        let (fixed, codes) = bytes.split_at_checked(FIXED_BYTES).ok_or("model: too short")?;
        let step = f32::from_le_bytes(crate::header::array(fixed, 0));
        if !super::is_step(step) {
            return Err("step");
        }
        let shape = Shape(crate::header::array(fixed, 4));
        if shape.0.iter().map(|&weight| u32::from(weight)).sum::<u32>() != WEIGHTS {
            return Err("shape: its weights do not add up to 255");
        }
        let mut coder = Decode::new(codes);
        let mut chances = Chances::default();
        let codes =
            matrices(layout).map(|matrix| chances.codes(&mut coder, matrix, &Codes::default())).collect::<Vec<_>>();
        if !coder.is_at_end() {
            return Err("model: bytes left over");
        }
        Ok(Self { step, shape, codes })
    }
}

/// What the codes are coded under.
#[derive(Default)]
struct Chances {
    zero: Chance,
    base: Integer,
    has_rows: Chance,
    has_columns: Chance,
    list: [List; 2],
}

/// Codes of rows, or of columns: each against the one before it.
#[derive(Default)]
struct List {
    zero: [Chance; 2],
    /// After a change of 0, ±1, or more.
    change: [Integer; 3],
}

impl Chances {
    /// Codes `codes`, or decodes others and gives them back.
    fn codes(&mut self, coder: &mut impl Coder, matrix: Matrix, codes: &Codes) -> Codes {
        let mut read = Codes { base: ZEROS, ..Codes::default() };
        if matrix.len == 0 || coder.bit(&mut self.zero, codes.base == ZEROS) {
            return read;
        }
        read.base = self.base.code(coder, codes.base).clamp(-MOST_CODE, MOST_CODE);
        if matrix.rows == 1 {
            return read;
        }
        if coder.bit(&mut self.has_rows, !codes.rows.is_empty()) {
            self.list[0].codes(coder, matrix.rows, &codes.rows, &mut read.rows);
        }
        if coder.bit(&mut self.has_columns, !codes.columns.is_empty()) {
            self.list[1].codes(coder, matrix.columns, &codes.columns, &mut read.columns);
        }
        read
    }
}

impl List {
    /// Codes `codes`, or decodes so many others to `read`.
    fn codes<C: Coder>(&mut self, coder: &mut C, len: usize, codes: &[i32], read: &mut Vec<i32>) {
        let (mut last, mut last_change, mut last_zero) = (0, 0, false);
        for at in 0..len {
            let mut code = codes.get(at).copied().unwrap_or_default();
            last_zero = coder.bit(&mut self.zero[usize::from(last_zero)], code == ZEROS);
            if last_zero {
                code = ZEROS;
            } else {
                let change = self.change[last_change].code(coder, code.wrapping_sub(last));
                last_change = change.unsigned_abs().min(2) as usize;
                last = (last + change).clamp(-MOST_CODE, MOST_CODE);
                code = last;
            }
            if C::READS {
                read.push(code);
            }
        }
    }
}
