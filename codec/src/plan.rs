//! `plan`: block quantization whose width follows the vector, within a number of bytes.
//!
//! Every tensor is cut into pieces of 1024 coordinates, and each is sent with 2 to 8 bits or not at all. What each width
//! costs and what error it leaves is measured; the widths are those of least total error that fit (Shoham and Gersho 1988):
//! on the lower convex hull of every piece's curve, the steps that take most error a byte come first, and what is left at
//! the end goes to whatever still fits. Nothing is entropy-coded: a microcontroller can write and read it.
//!
//! Where pieces are left out the update is biased, so `plan` is best with error feedback.

use alloc::vec::Vec;
use core::ops::Range;

use nibble_seed::Seed;

use crate::{
    block::SegmentCoding,
    frame::{PREFIX_BYTES, SHORT_CHUNK_HEADER_BYTES},
    layout::Layout,
    scheme::{BlockCoding, Rounding},
    simd::Kernels,
    sums,
};

/// Coordinates of a piece; the last of a segment may have fewer.
const PIECE: usize = 1024;
/// Widths that a piece may have.
const WIDTHS: [u8; 8] = [0, 2, 3, 4, 5, 6, 7, 8];

/// A part of a tensor that has a width of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Index of its tensor.
    pub tensor: usize,
    /// Its coordinates in the flat vector.
    pub range: Range<usize>,
    /// Bits of a code; 0 where nothing is sent.
    pub width: u8,
    /// Bytes it takes.
    pub bytes: u64,
    /// Squared error that is left, before it is weighted.
    pub error: f64,
    /// Squares of its values.
    pub energy: f64,
}

/// Which widths a vector is to be sent with, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// All pieces, in order.
    pub pieces: Vec<Piece>,
    /// Weighted squared error that the last byte spent took away: what a piece has to offer to get more bits.
    pub price: f64,
}

/// The pieces of chunk `index`: tensors, and places in the flat vector.
pub(crate) fn pieces(layout: &Layout, index: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    layout.segments(index).iter().flat_map(|segment| {
        let end = segment.start + segment.len;
        (segment.start..end).step_by(PIECE).map(move |start| (segment.tensor, start..end.min(start + PIECE)))
    })
}

/// Pieces of all chunks.
pub(crate) fn count(layout: &Layout) -> usize {
    (0..layout.chunks()).flat_map(|chunk| layout.segments(chunk)).map(|segment| segment.len.div_ceil(PIECE)).sum()
}

/// Bytes of a payload in which no piece is sent.
pub(crate) fn least_bytes(layout: &Layout) -> u64 {
    (PREFIX_BYTES + count(layout).div_ceil(2) + SHORT_CHUNK_HEADER_BYTES * layout.chunks()) as u64
}

/// How a piece is coded; nothing if it is not sent.
pub(crate) fn coding(rounding: Rounding, width: u8, seed: Seed, range: &Range<usize>) -> Option<SegmentCoding> {
    let mut block = BlockCoding::new(width)?;
    block.rounding = rounding;
    Some(SegmentCoding::new(block, seed, range.start, range.len()))
}

/// Bytes of a piece.
pub(crate) fn piece_bytes(width: u8, len: usize) -> usize {
    let range = 0..len;
    coding(Rounding::Nearest, width, Seed(0), &range).map_or(0, |coding| coding.segment_bytes(len))
}

/// Widths as half bytes, the first in the lower half.
pub(crate) fn pack(widths: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    let mut half = None;
    for width in widths {
        match half.take() {
            None => half = Some(width),
            Some(low) => out.push(low | width << 4),
        }
    }
    out.extend(half);
}

/// Reads what [`pack`] wrote.
pub(crate) fn unpack(bytes: &[u8], count: usize) -> Result<Vec<u8>, &'static str> {
    if bytes.len() != count.div_ceil(2) {
        return Err("widths: not one for each piece");
    }
    let mut widths: Vec<u8> = bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect();
    if widths.len() > count && widths.pop() != Some(0) {
        return Err("widths: padding");
    }
    match widths.iter().all(|width| WIDTHS.contains(width)) {
        true => Ok(widths),
        false => Err("width: neither 0 nor 2 to 8"),
    }
}

/// A step along the hull of a piece's curve.
#[derive(Debug)]
struct Step {
    piece: usize,
    /// Places in [`WIDTHS`].
    from: usize,
    to: usize,
    /// Weighted error that a byte takes away.
    slope: f64,
}

/// Plans vectors. Holds memory from one to the next, and nothing else but the last plan.
#[derive(Debug, Default)]
pub(crate) struct Planner {
    plan: Plan,
    curves: Vec<Curve>,
    steps: Vec<Step>,
    /// Places in [`WIDTHS`], for each piece.
    chosen: Vec<usize>,
}

/// What is to be planned: a vector, its noise, and what the errors of its tensors weigh, where empty stands for ones.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) x: &'a [f32],
    pub(crate) seed: Seed,
    pub(crate) rounding: Rounding,
    pub(crate) weights: &'a [f64],
}

impl Planner {
    /// The widths of least weighted error in at most `budget` bytes of pieces. Nothing if a value cannot be represented.
    pub(crate) fn plan(&mut self, kernels: Kernels, source: Source<'_>, budget: usize) -> Option<&Plan> {
        let Source { layout, x, seed, rounding, weights } = source;
        let Self { plan: Plan { pieces, price }, curves, steps, chosen } = self;
        pieces.clear();
        curves.clear();
        for (tensor, range) in (0..layout.chunks()).flat_map(|chunk| self::pieces(layout, chunk)) {
            let curve = Curve::measure(kernels, &x[range.clone()], seed, rounding, &range)?;
            let energy = curve.errors[0];
            pieces.push(Piece { tensor, range, width: 0, bytes: 0, error: energy, energy });
            curves.push(curve);
        }
        let weight = |piece: &Piece| weights.get(piece.tensor).copied().unwrap_or(1.0);
        steps.clear();
        for (piece, curve) in curves.iter().enumerate() {
            curve.hull(|from, to, slope| steps.push(Step { piece, from, to, slope: slope * weight(&pieces[piece]) }));
        }
        // Along one hull slopes fall, so a piece's steps stay in order.
        steps
            .sort_unstable_by(|a, b| b.slope.total_cmp(&a.slope).then(a.piece.cmp(&b.piece)).then(a.from.cmp(&b.from)));
        chosen.clear();
        chosen.resize(pieces.len(), 0);
        let mut left = budget;
        *price = 0.0;
        for step in &*steps {
            let curve = &curves[step.piece];
            let bytes = curve.bytes[step.to] - curve.bytes[step.from];
            if chosen[step.piece] == step.from && bytes <= left {
                (chosen[step.piece], *price) = (step.to, step.slope);
                left -= bytes;
            }
        }
        // What no step of a hull fits into may fit one beside it.
        for (curve, chosen) in curves.iter().zip(&mut *chosen) {
            let fits = |to: &usize| {
                curve.bytes[*to] <= curve.bytes[*chosen] + left && curve.errors[*to] < curve.errors[*chosen]
            };
            if let Some(better) =
                (*chosen + 1..WIDTHS.len()).filter(fits).min_by(|&a, &b| curve.errors[a].total_cmp(&curve.errors[b]))
            {
                left -= curve.bytes[better] - curve.bytes[*chosen];
                *chosen = better;
            }
        }
        for ((piece, curve), &chosen) in pieces.iter_mut().zip(&*curves).zip(&*chosen) {
            piece.width = WIDTHS[chosen];
            piece.bytes = curve.bytes[chosen] as u64;
            piece.error = curve.errors[chosen];
        }
        Some(&self.plan)
    }

    /// Gives up the last plan.
    pub(crate) fn into_plan(self) -> Plan {
        self.plan
    }
}

/// What each width costs and leaves, of one piece.
#[derive(Debug)]
struct Curve {
    bytes: [usize; WIDTHS.len()],
    errors: [f64; WIDTHS.len()],
}

impl Curve {
    fn measure(kernels: Kernels, x: &[f32], seed: Seed, rounding: Rounding, range: &Range<usize>) -> Option<Self> {
        let [_, energy] = sums::error_and_norm(x, &[0.0; PIECE][..x.len()]);
        let mut curve = Self { bytes: [0; WIDTHS.len()], errors: [energy; WIDTHS.len()] };
        // A segment of 8 bits has less than two bytes a coordinate.
        let (mut bytes, mut decoded) = ([0; 2 * PIECE + 8], [0.0; PIECE]);
        for (at, width) in WIDTHS.into_iter().enumerate() {
            let Some(coding) = coding(rounding, width, seed, range) else { continue };
            let bytes = &mut bytes[..coding.segment_bytes(x.len())];
            let decoded = &mut decoded[..x.len()];
            curve.bytes[at] = bytes.len();
            if !kernels.encode(&coding, x, None, bytes) {
                return None;
            }
            kernels.decode(&coding, bytes, 1.0, decoded);
            [curve.errors[at], _] = sums::error_and_norm(x, decoded);
        }
        Some(curve)
    }

    /// Calls `step` with the corners of the lower convex hull, and with the error that a byte takes away between them.
    fn hull(&self, mut step: impl FnMut(usize, usize, f64)) {
        let slope =
            |from: usize, to: usize| (self.errors[from] - self.errors[to]) / (self.bytes[to] - self.bytes[from]) as f64;
        let mut from = 0;
        while let Some(to) = (from + 1..WIDTHS.len()).max_by(|&a, &b| slope(from, a).total_cmp(&slope(from, b))) {
            if slope(from, to) <= 0.0 {
                break;
            }
            step(from, to, slope(from, to));
            from = to;
        }
    }
}
