//! Block quantization: symmetric integers of 2 to 8 bits with an 8-bit logarithmic scale a block.
//!
//! A segment (the part of one tensor in one chunk) of n coordinates is
//!
//! ```text
//! top level: i16 | scale codes: u8 a block | packed codes: bits x n, block after block
//! ```
//!
//! `reference` says what every bit means, one coordinate at a time; `kernel` computes the same in a form that
//! compilers turn into SIMD, and must agree with it bit for bit.

pub(crate) mod kernel;
mod pack;
pub(crate) mod reference;
mod scale;

use crate::{
    dither::Dither,
    scheme::{BlockCoding, Grain, Rounding},
};
pub(crate) use scale::Level;
pub use scale::MOST_MAGNITUDE;

/// Bytes of a segment's top level.
const TOP_BYTES: usize = 2;
/// Most blocks of a segment: the smallest block is 32 coordinates.
const MOST_BLOCKS: usize = crate::layout::CHUNK_COORDINATES / 32;

/// How one segment is quantized: everything encoder and decoder must agree on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentCoding {
    bits: u8,
    /// Coordinates of a block; the segment's last block may be shorter.
    block: usize,
    rounding: Rounding,
    dither: Dither,
}

impl SegmentCoding {
    /// The coding of the segment of `len` coordinates that starts at coordinate `start`.
    pub(crate) fn new(coding: BlockCoding, seed: nibble_seed::Seed, start: usize, len: usize) -> Self {
        let block = match coding.grain {
            Grain::Block(size) => size.into(),
            Grain::Tensor => len,
        };
        Self { bits: coding.bits(), block, rounding: coding.rounding, dither: Dither::new(seed, start) }
    }

    /// Largest code magnitude: codes stand for -qmax..=qmax.
    fn qmax(&self) -> u8 {
        (1 << (self.bits - 1)) - 1
    }

    /// Bytes of the packed codes of a block of `len` coordinates.
    fn packed_bytes(&self, len: usize) -> usize {
        planes(self.bits).iter().map(|&width| plane_bytes(width, len)).sum()
    }

    /// Bytes of a segment of `len` coordinates.
    pub(crate) fn segment_bytes(&self, len: usize) -> usize {
        let (full, tail) = (len / self.block, len % self.block);
        let blocks = len.div_ceil(self.block);
        TOP_BYTES + blocks + full * self.packed_bytes(self.block) + self.packed_bytes(tail)
    }

    /// Splits a segment's bytes into top level, scale codes and packed codes.
    fn split<'a>(&self, bytes: &'a [u8], len: usize) -> (i16, &'a [u8], &'a [u8]) {
        let (top, rest) = bytes.split_at(TOP_BYTES);
        let (scales, codes) = rest.split_at(len.div_ceil(self.block));
        (i16::from_le_bytes([top[0], top[1]]), scales, codes)
    }
}

/// Widths of the bit planes that a code of `bits` bits is cut into, lowest bits first. Each divides a byte.
const fn planes(bits: u8) -> &'static [u8] {
    match bits {
        2 => &[2],
        3 => &[2, 1],
        4 => &[4],
        5 => &[4, 1],
        6 => &[4, 2],
        7 => &[4, 2, 1],
        _ => &[8],
    }
}

/// Bytes of a plane of `width` bits for `len` coordinates.
const fn plane_bytes(width: u8, len: usize) -> usize {
    (len * width as usize).div_ceil(8)
}

#[cfg(test)]
mod tests;
