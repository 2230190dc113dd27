//! From a vector to the bodies of chunks, within a number of bytes.

use alloc::vec::Vec;

use nibble_seed::Seed;

use super::{
    Block, Cut, MOST, MOST_SCALE, Rows, SCALE_BYTES,
    share::{Share, Shares, divide, expected_nmse},
};
use crate::{
    frame::{PREFIX_BYTES, SHORT_CHUNK_HEADER_BYTES, chunk_checksum},
    header::HEADER_BYTES,
    layout::Layout,
    parallel,
    prelude::put_varint,
    simd::Kernels,
};

/// What is to be encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) x: &'a [f32],
    pub(crate) seed: Seed,
    pub(crate) cut: Cut,
    /// Most bytes of the payload, where that is not less than it takes.
    pub(crate) budget: u64,
}

/// Encodes vectors. Holds memory from one to the next.
#[derive(Debug, Default)]
pub(crate) struct SignEncoder {
    shares: Shares,
    rows: Rows,
}

impl SignEncoder {
    /// Divides the bytes. Returns whether every coordinate can be represented.
    pub(crate) fn divide(&mut self, kernels: Kernels, source: Source<'_>) -> bool {
        let Source { layout, x, cut, budget, .. } = source;
        self.shares.clear();
        for block in (0..layout.chunks()).flat_map(|chunk| cut.blocks(layout.chunk_range(chunk))) {
            let x = &x[block.start..][..block.len];
            let magnitude = kernels.magnitude_bits(x);
            if magnitude > MOST.to_bits() {
                return false;
            }
            let energy = if magnitude == 0 { 0.0 } else { kernels.energy(x) };
            self.shares.push(Share { block, magnitude, energy, bytes: 0 });
        }
        let heads: usize = self.shares.iter().map(|share| share.head_bytes()).sum();
        divide(&mut self.shares, (budget as usize).saturating_sub(fixed_bytes(layout) + heads));
        true
    }

    /// The squared error to be expected of what was divided, as a share of the vector's squares.
    pub(crate) fn expected_nmse(&self) -> f64 {
        expected_nmse(&self.shares)
    }

    /// Appends room for the header, and a prelude that is still to be sealed. Returns whether there is one.
    pub(crate) fn put_prelude(&self, out: &mut Vec<u8>) -> bool {
        let chunks = || self.shares.chunk_by(|share, _| !share.block.is_last);
        if chunks().count() < 2 {
            out.resize(HEADER_BYTES, 0);
            return false;
        }
        out.resize(PREFIX_BYTES, 0);
        chunks().for_each(|shares| put_varint(body_bytes(shares) as u32, out));
        true
    }

    /// Appends the chunks.
    pub(crate) fn put_chunks(&mut self, kernels: Kernels, threads: usize, source: Source<'_>, out: &mut Vec<u8>) {
        let Self { shares, rows } = self;
        let start = out.len();
        let chunks = || shares.chunk_by(|share, _| !share.block.is_last).enumerate();
        let bytes: usize = chunks().map(|(_, shares)| SHORT_CHUNK_HEADER_BYTES + body_bytes(shares)).sum();
        out.resize(start + bytes, 0);
        let mut rest = &mut out[start..];
        let chunks = chunks().map(|(index, shares)| {
            let len = SHORT_CHUNK_HEADER_BYTES + body_bytes(shares);
            let (bytes, after) = core::mem::take(&mut rest).split_at_mut(len);
            rest = after;
            (index, shares, bytes)
        });
        if threads == 1 {
            return chunks.for_each(|(index, shares, bytes)| put_chunk(kernels, source, index, shares, rows, bytes));
        }
        let mut chunks: Vec<_> = chunks.collect();
        let share = chunks.len().div_ceil(threads).max(1);
        let mut parts: Vec<_> = chunks.chunks_mut(share).map(|chunks| (chunks, Rows::new())).collect();
        parallel::for_each(&mut parts, |(chunks, rows)| {
            for (index, shares, bytes) in chunks.iter_mut() {
                put_chunk(kernels, source, *index, shares, rows, bytes);
            }
        });
    }
}

/// Bytes of a payload of so many chunks, but for their bodies.
fn fixed_bytes(layout: &Layout) -> usize {
    // No body has 2^14 bytes: the length of one takes two at most.
    let prelude = if layout.chunks() < 2 { 0 } else { PREFIX_BYTES - HEADER_BYTES + 2 * layout.chunks() };
    HEADER_BYTES + prelude + SHORT_CHUNK_HEADER_BYTES * layout.chunks()
}

/// Bytes of the least payload of a vector without zeros: one of signs for every block.
pub(crate) fn least_bytes(layout: &Layout, cut: Cut) -> u64 {
    let blocks = (0..layout.chunks()).flat_map(|chunk| cut.blocks(layout.chunk_range(chunk)));
    let bodies: usize = blocks.map(|block| block.head_bytes() + SCALE_BYTES + 1).sum();
    (fixed_bytes(layout) + bodies) as u64
}

impl Share {
    /// Bytes that are no signs.
    fn head_bytes(&self) -> usize {
        self.block.head_bytes() + if self.magnitude == 0 { 0 } else { SCALE_BYTES }
    }
}

fn body_bytes(shares: &[Share]) -> usize {
    shares.iter().map(|share| share.head_bytes() + share.bytes).sum()
}

/// Writes a chunk, of these blocks.
fn put_chunk(kernels: Kernels, source: Source<'_>, index: usize, shares: &[Share], rows: &mut Rows, bytes: &mut [u8]) {
    let (checksum, body) = bytes.split_at_mut(SHORT_CHUNK_HEADER_BYTES);
    let mut rest = &mut *body;
    for share in shares {
        let (bytes, after) = rest.split_at_mut(share.head_bytes() + share.bytes);
        rest = after;
        let bytes = match share.block.is_last {
            true => bytes,
            false => {
                let (count, bytes) = bytes.split_at_mut(share.block.head_bytes());
                count.copy_from_slice(&(share.bytes as u16).to_le_bytes());
                bytes
            }
        };
        if share.bytes > 0 {
            put_block(kernels, source, share, rows, bytes);
        }
    }
    checksum.copy_from_slice(&chunk_checksum(index, body).1.to_le_bytes());
}

/// Writes scale and signs of a block that is not all zero.
fn put_block(kernels: Kernels, source: Source<'_>, share: &Share, rows: &mut Rows, bytes: &mut [u8]) {
    let Block { start, len, .. } = share.block;
    let (scale, signs) = bytes.split_at_mut(SCALE_BYTES);
    let (x, dither) = (&source.x[start..][..len], share.block.dither(source.seed));
    // The largest magnitude is brought to between 1 and 2, but for the smallest denormals.
    let factor = f32::from_bits((254 - (share.magnitude >> 23)) << 23);
    let sum = kernels.encode_signs(share.block, x, factor, dither, (rows, signs));
    // No sum is 0 but where few rows are kept and all happen to be; zero is then the only value that is not a guess.
    let exact = if sum == 0.0 { 0.0 } else { share.energy * f64::from(factor) / sum };
    scale.copy_from_slice(&(exact as f32).min(MOST_SCALE).to_le_bytes());
}
