//! What every bit of a block-quantized segment means: one coordinate at a time, slow and plain.

use alloc::vec::Vec;

use super::{Level, SegmentCoding, plane_bytes, planes, scale::MOST_MAGNITUDE};
use crate::scheme::Rounding;

/// Encodes `x` to `out`, which has the segment's length in bytes. A `level` given is used for every block that is not
/// zero. Returns whether every coordinate could be represented.
pub(crate) fn encode(coding: &SegmentCoding, x: &[f32], level: Option<Level>, out: &mut [u8]) -> bool {
    if !x.iter().all(|x| x.abs() <= MOST_MAGNITUDE) {
        return false;
    }
    let blocks = || x.chunks(coding.block);
    let level_of = |block: &[f32]| {
        let magnitude = block.iter().fold(0f32, |most, x| most.max(x.abs()));
        (magnitude > 0.0).then(|| level.unwrap_or(Level::covering(magnitude.to_bits())))
    };
    let top = blocks().filter_map(level_of).max().unwrap_or(Level::MIN);
    let mut bytes = Vec::from(top.0.to_le_bytes());
    bytes.extend(blocks().map(|block| level_of(block).map_or(0, |level| level.code_under(top))));
    for (index, block) in blocks().enumerate() {
        let codes: Vec<u8> = match level_of(block) {
            None => alloc::vec![0; block.len()],
            Some(level) => {
                let scale = Level::from_code(level.code_under(top), top).scale();
                let code = |(i, &x): (usize, &f32)| code_of(coding, x, scale, index * coding.block + i);
                block.iter().enumerate().map(code).collect()
            }
        };
        pack(coding.bits, &codes, &mut bytes);
    }
    out.copy_from_slice(&bytes);
    true
}

/// Decodes a valid segment, every value times `gain`.
pub(crate) fn decode(coding: &SegmentCoding, bytes: &[u8], gain: f32, out: &mut [f32]) {
    let (top, scales, mut packed) = coding.split(bytes, out.len());
    for (index, (block, &scale_code)) in out.chunks_mut(coding.block).zip(scales).enumerate() {
        let (codes, rest) = packed.split_at(coding.packed_bytes(block.len()));
        packed = rest;
        if scale_code == 0 {
            block.fill(0.0);
            continue;
        }
        let qmax = f32::from(coding.qmax());
        let unit = Level::from_code(scale_code, Level(top)).scale() / qmax * gain;
        let len = block.len();
        for (i, out) in block.iter_mut().enumerate() {
            let level = f32::from(unpack(coding.bits, codes, len, i)) - qmax;
            *out = unit
                * match coding.rounding {
                    Rounding::Stochastic | Rounding::Nearest => level,
                    Rounding::Dithered => level - coding.dither.noise(index * coding.block + i),
                };
        }
    }
}

/// Adds `weight` times the decoded values to `sum`.
pub(crate) fn fold(coding: &SegmentCoding, bytes: &[u8], gain: f32, weight: f64, sum: &mut [f64]) {
    let mut values = alloc::vec![0.0; sum.len()];
    decode(coding, bytes, gain, &mut values);
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += weight * f64::from(value);
    }
}

/// What is undefined in the bytes of a segment of `len` coordinates, if anything is.
pub(crate) fn undefined(coding: &SegmentCoding, bytes: &[u8], len: usize) -> Option<&'static str> {
    let (top, scales, mut packed) = coding.split(bytes, len);
    if !Level(top).is_valid_top() {
        return Some("top level");
    }
    scales.iter().enumerate().find_map(|(index, &scale_code)| {
        let block = coding.block.min(len - index * coding.block);
        let (codes, rest) = packed.split_at(coding.packed_bytes(block));
        packed = rest;
        undefined_block(coding, scale_code, codes, block)
    })
}

/// What is undefined in the packed codes of one block of `len` coordinates: a code beyond 2 qmax (beyond 0 in a zero
/// block), or a padding bit that is set.
pub(super) fn undefined_block(
    coding: &SegmentCoding,
    scale_code: u8,
    packed: &[u8],
    len: usize,
) -> Option<&'static str> {
    let codes: Vec<u8> = (0..len).map(|i| unpack(coding.bits, packed, len, i)).collect();
    let most = if scale_code == 0 { 0 } else { 2 * coding.qmax() };
    if codes.iter().any(|&code| code > most) {
        return Some("code");
    }
    let mut repacked = Vec::with_capacity(packed.len());
    pack(coding.bits, &codes, &mut repacked);
    (repacked != packed).then_some("padding bit")
}

/// Code of a coordinate: round(x / step + u) + qmax, clamped to 0..=2 qmax.
fn code_of(coding: &SegmentCoding, x: f32, scale: f32, index: usize) -> u8 {
    let qmax = f32::from(coding.qmax());
    let noise = match coding.rounding {
        Rounding::Nearest => 0.0,
        Rounding::Stochastic | Rounding::Dithered => coding.dither.noise(index),
    };
    let inverse_step = qmax / scale;
    // Rounding in f32 can land a hair past qmax, never further.
    let shifted = (x * inverse_step + (qmax + noise)).clamp(0.0, 2.0 * qmax);
    round_half_even(shifted) as u8
}

/// Rounds 0 <= x < 2^22 to the nearest integer, ties to even: the sum with 2^23 has no fraction bits left.
pub(super) fn round_half_even(x: f32) -> u32 {
    (x + 8_388_608.0).to_bits() & 0x3f_ffff
}

/// Appends the codes of one block, plane after plane. In a plane of width w and S bytes, coordinate i is the bits
/// from w x (i div S) of byte i mod S.
fn pack(bits: u8, codes: &[u8], out: &mut Vec<u8>) {
    let mut shift = 0;
    for &width in planes(bits) {
        let start = out.len();
        let stride = plane_bytes(width, codes.len());
        out.resize(start + stride, 0);
        for (i, code) in codes.iter().enumerate() {
            let field = (u32::from(*code) >> shift) & ((1 << width) - 1);
            out[start + i % stride] |= (field << (usize::from(width) * (i / stride))) as u8;
        }
        shift += width;
    }
}

/// The code of coordinate `i` of a block of `len`.
fn unpack(bits: u8, packed: &[u8], len: usize, i: usize) -> u8 {
    let (mut code, mut shift, mut start) = (0, 0, 0);
    for &width in planes(bits) {
        let stride = plane_bytes(width, len);
        let field = (u32::from(packed[start + i % stride]) >> (usize::from(width) * (i / stride))) & ((1 << width) - 1);
        code |= field << shift;
        shift += width;
        start += stride;
    }
    code as u8
}
