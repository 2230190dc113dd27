//! `sign`: a rotation, one bit for each row of it that is kept, and one scale a block (DRIVE, Vargaftik et al. 2021; below a
//! bit a coordinate EDEN, Vargaftik et al. 2022).
//!
//! A block x of N coordinates, a power of two, is turned twice by random signs and a Hadamard matrix, so that every value of
//! y = T x is nearly normal, whatever x is. Of the first m values the signs s are sent, and one number
//! c = |x|² / |y|₁ (DRIVE's unbiased scale, its theorem 3). What is decoded, c Tᵀ s, has exactly |x|² along x, and an error of
//! (π/2 · n/m − n/N) |x|² for the n of N coordinates that are not padding.
//!
//! ```text
//! block = scale: f32 | signs: m/8 bytes                     every block of a chunk but the last begins with its m/8: u16
//! ```
//!
//! The first turn mixes pieces of 4096 coordinates at most, so that no coordinate is left that holds much of a block's energy:
//! that is what one turn alone needs to be unbiased. The second mixes the whole block, and is cheap where few rows are kept:
//! the first M rows of a large Hadamard matrix are the small one of a vector whose coordinates of equal index modulo M were
//! added. All that a decoder adds are integers below 2^24, exact in f32 in any order; one multiplication follows.
//!
//! ```text
//! share      bytes for every block
//! encode     from a vector to the bodies of chunks
//! kernel     turns, as compilers like them; reference, as textbooks do
//! ```
//!
//! Here: how chunks are cut into blocks, and what is undefined. Absent on purpose: checksums and lengths (`frame`), the header.

mod encode;
pub(crate) mod kernel;
pub(crate) mod reference;
mod share;

use core::ops::Range;

use nibble_seed::Seed;

pub(crate) use self::encode::{SignEncoder, Source, least_bytes};
use crate::dither::Dither;

/// Largest magnitude that is encoded, 2^100: sums over a block then stay finite.
pub(crate) const MOST: f32 = 1_267_650_600_228_229_401_496_703_205_376.0;
/// Largest scale, 2^104: 2^22 of them, the most that a decoder adds up, are a float.
pub(crate) const MOST_SCALE: f32 = 16.0 * MOST;
/// Bytes of a scale, and of the count before it.
const SCALE_BYTES: usize = 4;
const COUNT_BYTES: usize = 2;
/// Coordinates of the smallest block.
const LEAST: usize = 64;
/// Coordinates that the first turn mixes, at most.
pub(crate) const PIECE: usize = 4096;
/// Bytes of a payload that has one byte of signs, but for that byte: what cutting does not count on.
const FIXED: u64 = 72;

/// How the chunks of a payload are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Bytes for all blocks, about.
    bytes: u64,
    coordinates: u64,
}

/// Coordinates that share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// First coordinate in the flat vector.
    pub(crate) start: usize,
    /// Number of coordinates.
    pub(crate) len: usize,
    /// The same with padding: a power of two.
    pub(crate) size: usize,
    /// Whether it is the last of its chunk.
    is_last: bool,
}

/// A block and what is said of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coded<'a> {
    pub(crate) block: Block,
    /// Scale and signs; nothing where all is zero.
    pub(crate) bytes: Option<(f32, &'a [u8])>,
}

impl Cut {
    /// Of payloads of about so many bytes.
    pub(crate) fn new(bytes: u64, coordinates: usize) -> Self {
        Self { bytes: bytes.saturating_sub(FIXED), coordinates: coordinates as u64 }
    }

    /// The blocks of the chunk of these coordinates.
    pub(crate) fn blocks(self, chunk: Range<usize>) -> impl Iterator<Item = Block> {
        let mut start = chunk.start;
        core::iter::from_fn(move || {
            let rest = chunk.end - start;
            let size = rest.next_power_of_two().max(LEAST);
            // Padding takes its part of the error, a block of its own six bytes: the fewer bytes, the more those count.
            let bytes = self.bytes.saturating_mul(rest as u64) / self.coordinates.max(1);
            let is_last = 8 * rest >= 7 * size || size == LEAST || bytes.saturating_mul(bytes) < 4 * rest as u64;
            let (len, size) = if is_last { (rest, size) } else { (size / 2, size / 2) };
            let block = Block { start, len, size, is_last };
            start += len;
            (rest > 0).then_some(block)
        })
    }

    /// The blocks of a chunk in the bytes of its body; what follows one that is undefined means nothing.
    pub(crate) fn coded(
        self,
        chunk: Range<usize>,
        mut body: &[u8],
    ) -> impl Iterator<Item = Result<Coded<'_>, &'static str>> {
        self.blocks(chunk).map(move |block| {
            let bytes = block.split(&mut body)?;
            Ok(Coded { block, bytes })
        })
    }

    /// Says what is undefined in the body of a chunk, if anything is.
    pub(crate) fn check(self, chunk: Range<usize>, body: &[u8]) -> Result<(), &'static str> {
        self.coded(chunk, body).try_for_each(|coded| coded.map(|_| ()))
    }
}

impl Block {
    /// The noise that its signs are drawn from: of the whole seed, as a cohort's members must turn in different ways.
    pub(crate) fn dither(self, seed: Seed) -> Dither {
        Dither::unshared(seed, self.start)
    }

    /// Bytes that do not depend on how many rows are kept.
    fn head_bytes(self) -> usize {
        if self.is_last { 0 } else { COUNT_BYTES }
    }

    /// Its scale and signs, taken off the beginning of `rest`.
    fn split<'a>(self, rest: &mut &'a [u8]) -> Result<Option<(f32, &'a [u8])>, &'static str> {
        let mut count = rest.len().saturating_sub(SCALE_BYTES);
        if !self.is_last {
            let (head, after) = rest.split_first_chunk::<COUNT_BYTES>().ok_or("block: its count is missing")?;
            (count, *rest) = (u16::from_le_bytes(*head).into(), after);
        }
        if count == 0 && (!self.is_last || rest.is_empty()) {
            return Ok(None);
        }
        if count == 0 || count > self.size / 8 {
            return Err("count of signs");
        }
        let (scale, after) = rest.split_first_chunk::<SCALE_BYTES>().ok_or("block: its scale is missing")?;
        let (signs, after) = after.split_at_checked(count).ok_or("block: signs are missing")?;
        *rest = after;
        let scale = f32::from_le_bytes(*scale);
        match (0.0..=MOST_SCALE).contains(&scale) && scale.is_sign_positive() {
            true => Ok(Some((scale, signs))),
            false => Err("scale"),
        }
    }
}

/// Most bytes of the body of a chunk of `len` coordinates: eleven blocks, from 65,536 / 2 down to 64, have no more together.
pub(crate) fn most_body_bytes(len: usize) -> usize {
    len.next_power_of_two().max(LEAST) / 8 + 11 * (SCALE_BYTES + COUNT_BYTES)
}

/// Rows of the Hadamard matrix that `count` bytes of signs take: a power of two.
pub(crate) fn rows(count: usize) -> usize {
    (8 * count).next_power_of_two().max(LEAST)
}

/// Memory for the rows of a block.
pub(crate) type Rows = alloc::vec::Vec<f32>;

#[cfg(test)]
mod tests;
