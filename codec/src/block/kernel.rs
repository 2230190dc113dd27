//! The block codec in a form that compilers turn into SIMD: fixed-size groups, no branches on data, no gathers.
//!
//! Compiled once for each CPU feature set by `simd`; agrees with [`super::reference`] bit for bit, because every float
//! operation is the same one and none is contracted or reordered. Blocks of 64 take the paths with constant lengths.

use alloc::vec::Vec;

use super::{
    Level, MOST_BLOCKS, SegmentCoding,
    pack::{pack_odd, pack_whole, unpack},
    scale::MOST_MAGNITUDE,
};
use crate::dither::{Dither, noise_of, offset_noise_of};
use crate::scheme::Rounding;
use crate::simd::prefetch;

/// Coordinates of the block size that everybody uses.
const COMMON: usize = 64;
/// Coordinates of the smallest block size.
const HALF: usize = 32;
/// Marks a block of zeros among levels.
const ZERO: i16 = i16::MIN;

/// Whole registers at whole cache lines: a vector that straddles two is stored and loaded at half speed.
#[repr(align(64))]
struct Aligned<T>(T);

/// See [`super::reference::encode`].
#[inline(always)]
pub(crate) fn encode(coding: &SegmentCoding, x: &[f32], level: Option<Level>, out: &mut [u8]) -> bool {
    match coding.bits {
        2 => encode_bits::<2>(coding, x, level, out),
        3 => encode_bits::<3>(coding, x, level, out),
        4 => encode_bits::<4>(coding, x, level, out),
        5 => encode_bits::<5>(coding, x, level, out),
        6 => encode_bits::<6>(coding, x, level, out),
        7 => encode_bits::<7>(coding, x, level, out),
        _ => encode_bits::<8>(coding, x, level, out),
    }
}

/// See [`super::reference::decode`].
#[inline(always)]
pub(crate) fn decode(coding: &SegmentCoding, bytes: &[u8], gain: f32, out: &mut [f32]) {
    each_value(coding, bytes, gain, out, |out, value| *out = value);
}

/// Adds `weight` times the decoded values to `sum`.
#[inline(always)]
pub(crate) fn fold(coding: &SegmentCoding, bytes: &[u8], gain: f32, weight: f64, sum: &mut [f64]) {
    each_value(coding, bytes, gain, sum, |sum, value| *sum += weight * f64::from(value));
}

/// See [`super::reference::undefined`]; blocks that may have padding are left to it.
#[inline(always)]
pub(crate) fn undefined(coding: &SegmentCoding, bytes: &[u8], len: usize) -> Option<&'static str> {
    match coding.bits {
        2 => undefined_bits::<2>(coding, bytes, len),
        3 => undefined_bits::<3>(coding, bytes, len),
        4 => undefined_bits::<4>(coding, bytes, len),
        5 => undefined_bits::<5>(coding, bytes, len),
        6 => undefined_bits::<6>(coding, bytes, len),
        7 => undefined_bits::<7>(coding, bytes, len),
        _ => undefined_bits::<8>(coding, bytes, len),
    }
}

#[inline(always)]
fn undefined_bits<const BITS: u8>(coding: &SegmentCoding, bytes: &[u8], len: usize) -> Option<&'static str> {
    let (top, scales, mut packed) = coding.split(bytes, len);
    if !Level(top).is_valid_top() {
        return Some("top level");
    }
    let (mut most, mut scratch) = (0, Vec::new());
    for (index, &scale) in scales.iter().enumerate() {
        let block = coding.block.min(len - index * coding.block);
        let (codes, rest) = packed.split_at(coding.packed_bytes(block));
        packed = rest;
        // Whole bytes of every plane leave no padding.
        let is_whole = block.is_multiple_of(8);
        if is_whole && scale == 0 {
            if codes.iter().any(|&byte| byte != 0) {
                return Some("code");
            }
        } else if block == COMMON {
            let mut unpacked = [0; COMMON];
            unpack::<BITS>(codes, &mut unpacked);
            most = unpacked.into_iter().fold(most, u8::max);
        } else if is_whole {
            scratch.resize(block, 0);
            unpack::<BITS>(codes, &mut scratch);
            most = scratch.iter().copied().fold(most, u8::max);
        } else if let Some(what) = super::reference::undefined_block(coding, scale, codes, block) {
            return Some(what);
        }
    }
    (most > 2 * coding.qmax()).then_some("code")
}

/// Largest magnitude of `x` as the bits of a float; NaN and infinity are larger than any finite number.
#[inline(always)]
pub(crate) fn magnitude_bits(x: &[f32]) -> u32 {
    let (groups, tail) = x.as_chunks::<32>();
    let mut lanes = [0u32; 32];
    for group in groups {
        for (lane, x) in lanes.iter_mut().zip(group) {
            *lane = (*lane).max(x.to_bits() & 0x7fff_ffff);
        }
    }
    lanes.into_iter().chain(tail.iter().map(|x| x.to_bits() & 0x7fff_ffff)).fold(0, u32::max)
}

#[inline(always)]
fn encode_bits<const BITS: u8>(coding: &SegmentCoding, x: &[f32], level: Option<Level>, out: &mut [u8]) -> bool {
    let mut levels = [ZERO; MOST_BLOCKS];
    let levels = &mut levels[..x.len().div_ceil(coding.block)];
    let (head, packed) = out.split_at_mut(super::TOP_BYTES + levels.len());
    let (top_bytes, scales) = head.split_at_mut(super::TOP_BYTES);
    let mut blocks = Blocks { coding, x, packed, codes: Vec::new() };
    // Each block is read once and encoded at once, as if none lay too far below the segment's top.
    let whole = if matches!(coding.block, COMMON | HALF) { x.len() / coding.block } else { 0 };
    let found = &mut levels[..whole];
    let mut most = match (coding.block, coding.rounding) {
        (COMMON, Rounding::Nearest) => blocks.encode_whole::<BITS, COMMON, false>(level, found),
        (COMMON, _) => blocks.encode_whole::<BITS, COMMON, true>(level, found),
        (_, Rounding::Nearest) => blocks.encode_whole::<BITS, HALF, false>(level, found),
        _ => blocks.encode_whole::<BITS, HALF, true>(level, found),
    };
    for (index, (block, found)) in x.chunks(coding.block).zip(&mut *levels).enumerate().skip(whole) {
        let magnitude = magnitude_bits(block);
        most = most.max(magnitude);
        if magnitude > 0 {
            *found = level.unwrap_or(Level::covering(magnitude)).0;
        }
        blocks.encode::<BITS>(index, *found);
    }
    if most > MOST_MAGNITUDE.to_bits() {
        return false;
    }
    let top = levels.iter().copied().max().filter(|&top| top != ZERO).map_or(Level::MIN, Level);
    top_bytes.copy_from_slice(&top.0.to_le_bytes());
    for (scale, &level) in scales.iter_mut().zip(&*levels) {
        *scale = if level == ZERO { 0 } else { Level(level).code_under(top) };
    }
    // The least code stands for every level below its own, too.
    let least = Level::from_code(1, top).0;
    for (index, _) in levels.iter().enumerate().filter(|&(_, &level)| level != ZERO && level < least) {
        blocks.encode::<BITS>(index, least);
    }
    true
}

/// The blocks of a segment on their way to its packed codes.
struct Blocks<'a> {
    coding: &'a SegmentCoding,
    x: &'a [f32],
    packed: &'a mut [u8],
    /// Room for the codes of a block.
    codes: Vec<u8>,
}

impl Blocks<'_> {
    /// Encodes as many blocks as there are `levels`, all of `SIZE` coordinates, and writes down each one's level. Returns
    /// the largest magnitude as the bits of a float.
    #[inline(always)]
    fn encode_whole<const BITS: u8, const SIZE: usize, const NOISY: bool>(
        &mut self,
        level: Option<Level>,
        levels: &mut [i16],
    ) -> u32 {
        let dither = self.coding.dither;
        let (blocks, _) = self.x.as_chunks::<SIZE>();
        let bytes = SIZE / 8 * usize::from(BITS);
        let mut most = 0;
        let mut counter = 0;
        for ((block, found), packed) in blocks.iter().zip(levels).zip(self.packed.chunks_exact_mut(bytes)) {
            prefetch(block);
            let magnitude = magnitude_bits(block);
            most = most.max(magnitude);
            if magnitude == 0 {
                *found = ZERO;
                packed.fill(0);
            } else {
                let level = level.unwrap_or(Level::covering(magnitude));
                *found = level.0;
                let inverse_step = inverse_step::<BITS>(level);
                // Codes stay as wide as the floats until they are packed: no register is stored narrow and loaded wide.
                let mut codes = Aligned([0u32; SIZE]);
                let ((x, _), (groups, _)) = (block.as_chunks::<32>(), codes.0.as_chunks_mut::<32>());
                for (group, (x, codes)) in x.iter().zip(groups).enumerate() {
                    *codes = if NOISY {
                        quantize_noisy::<BITS>(dither, x, counter + 16 * group as u32, inverse_step)
                    } else {
                        quantize_nearest::<BITS>(x, inverse_step)
                    };
                }
                pack_whole::<BITS, SIZE>(&codes.0, packed);
            }
            counter += SIZE as u32 / 2;
        }
        most
    }

    /// Encodes block `index`, of any length, at `level`.
    #[inline(always)]
    fn encode<const BITS: u8>(&mut self, index: usize, level: i16) {
        let Self { coding, codes, .. } = self;
        let start = index * coding.block;
        let end = self.x.len().min(start + coding.block);
        let (x, stride) = (&self.x[start..end], coding.packed_bytes(coding.block));
        let packed = &mut self.packed[index * stride..][..coding.packed_bytes(x.len())];
        if level == ZERO {
            packed.fill(0);
            return;
        }
        let (inverse_step, counter) = (inverse_step::<BITS>(Level(level)), (start / 2) as u32);
        codes.resize(x.len(), 0);
        for (i, (x, codes)) in x.chunks(32).zip(codes.chunks_mut(32)).enumerate() {
            let mut group = [0.0; 32];
            group[..x.len()].copy_from_slice(x);
            let quantized = match coding.rounding {
                Rounding::Nearest => quantize_nearest::<BITS>(&group, inverse_step),
                Rounding::Stochastic | Rounding::Dithered => {
                    quantize_noisy::<BITS>(coding.dither, &group, counter + 16 * i as u32, inverse_step)
                }
            };
            codes.iter_mut().zip(quantized).for_each(|(code, quantized)| *code = quantized as u8);
        }
        pack_odd::<BITS>(codes, packed);
    }
}

#[inline(always)]
fn inverse_step<const BITS: u8>(level: Level) -> f32 {
    qmax::<BITS>() / level.scale()
}

/// Codes of 32 coordinates without noise.
#[inline(always)]
fn quantize_nearest<const BITS: u8>(x: &[f32; 32], inverse_step: f32) -> [u32; 32] {
    quantize_with(x, inverse_step, qmax::<BITS>(), |_| (qmax::<BITS>(), qmax::<BITS>()))
}

/// Codes of 32 coordinates whose noise comes from 16 hashes at `counter`.
#[inline(always)]
fn quantize_noisy<const BITS: u8>(dither: Dither, x: &[f32; 32], counter: u32, inverse_step: f32) -> [u32; 32] {
    quantize_with(x, inverse_step, qmax::<BITS>(), |i| {
        let hash = dither.hash(counter + i);
        (offset_noise_of(hash & 0xffff, qmax::<BITS>()), offset_noise_of(hash >> 16, qmax::<BITS>()))
    })
}

/// `shift` gives that of coordinates i and i + 16: what is added before they are rounded.
#[inline(always)]
fn quantize_with(x: &[f32; 32], inverse_step: f32, qmax: f32, shift: impl Fn(u32) -> (f32, f32)) -> [u32; 32] {
    let code = |x: f32, shift: f32| {
        let shifted = x * inverse_step + shift;
        let above = if shifted > 0.0 { shifted } else { 0.0 };
        let within = if above < 2.0 * qmax { above } else { 2.0 * qmax };
        super::reference::round_half_even(within)
    };
    let mut codes = [0; 32];
    for i in 0..16 {
        let (low, high) = shift(i as u32);
        (codes[i], codes[i + 16]) = (code(x[i], low), code(x[i + 16], high));
    }
    codes
}

/// The noise of 32 coordinates from 16 hashes.
#[inline(always)]
fn noise(dither: Dither, counter: u32) -> [f32; 32] {
    let mut noise = [0.0; 32];
    let (low, high) = noise.split_at_mut(16);
    for (i, (low, high)) in low.iter_mut().zip(high).enumerate() {
        let hash = dither.hash(counter + i as u32);
        *low = noise_of(hash & 0xffff);
        *high = noise_of(hash >> 16);
    }
    noise
}

#[inline(always)]
fn each_value<T>(coding: &SegmentCoding, bytes: &[u8], gain: f32, out: &mut [T], each: impl Fn(&mut T, f32) + Copy) {
    match coding.bits {
        2 => each_value_bits::<2, T>(coding, bytes, gain, out, each),
        3 => each_value_bits::<3, T>(coding, bytes, gain, out, each),
        4 => each_value_bits::<4, T>(coding, bytes, gain, out, each),
        5 => each_value_bits::<5, T>(coding, bytes, gain, out, each),
        6 => each_value_bits::<6, T>(coding, bytes, gain, out, each),
        7 => each_value_bits::<7, T>(coding, bytes, gain, out, each),
        _ => each_value_bits::<8, T>(coding, bytes, gain, out, each),
    }
}

#[inline(always)]
fn each_value_bits<const BITS: u8, T>(
    coding: &SegmentCoding,
    bytes: &[u8],
    gain: f32,
    out: &mut [T],
    each: impl Fn(&mut T, f32) + Copy,
) {
    let blocks = coding.split(bytes, out.len());
    let done = match (coding.block, coding.rounding == Rounding::Dithered) {
        (COMMON, false) => each_of_whole::<BITS, COMMON, false, T>(coding, blocks, gain, out, each),
        (COMMON, true) => each_of_whole::<BITS, COMMON, true, T>(coding, blocks, gain, out, each),
        (HALF, false) => each_of_whole::<BITS, HALF, false, T>(coding, blocks, gain, out, each),
        (HALF, true) => each_of_whole::<BITS, HALF, true, T>(coding, blocks, gain, out, each),
        _ => 0,
    };
    let (top, scales, packed) = blocks;
    let stride = coding.packed_bytes(coding.block);
    let mut codes = Vec::new();
    for (index, (block, &scale)) in out.chunks_mut(coding.block).zip(scales).enumerate().skip(done) {
        if scale == 0 {
            block.iter_mut().for_each(|out| each(out, 0.0));
            continue;
        }
        codes.resize(block.len(), 0);
        unpack::<BITS>(&packed[index * stride..][..coding.packed_bytes(block.len())], &mut codes);
        let unit = unit::<BITS>(scale, top, gain);
        if coding.rounding != Rounding::Dithered {
            for (out, &code) in block.iter_mut().zip(&codes) {
                each(out, unit * (f32::from(code) - qmax::<BITS>()));
            }
            continue;
        }
        let counter = (index * coding.block / 2) as u32;
        for (group, (block, codes)) in block.chunks_mut(32).zip(codes.chunks(32)).enumerate() {
            let noise = noise(coding.dither, counter + 16 * group as u32);
            for ((out, &code), noise) in block.iter_mut().zip(codes).zip(noise) {
                each(out, unit * (f32::from(code) - qmax::<BITS>() - noise));
            }
        }
    }
}

/// Calls `each` with the values of all whole blocks, of `SIZE` coordinates. Returns how many there are.
#[inline(always)]
fn each_of_whole<const BITS: u8, const SIZE: usize, const DITHERED: bool, T>(
    coding: &SegmentCoding,
    (top, scales, packed): (i16, &[u8], &[u8]),
    gain: f32,
    out: &mut [T],
    each: impl Fn(&mut T, f32) + Copy,
) -> usize {
    let (dither, mut counter) = (coding.dither, 0);
    let (blocks, _) = out.as_chunks_mut::<SIZE>();
    let done = blocks.len();
    for ((block, &scale), packed) in
        blocks.iter_mut().zip(scales).zip(packed.chunks_exact(SIZE / 8 * usize::from(BITS)))
    {
        let mut values = Aligned([0.0; SIZE]);
        if scale != 0 {
            let mut codes = Aligned([0; SIZE]);
            unpack::<BITS>(packed, &mut codes.0);
            let unit = unit::<BITS>(scale, top, gain);
            for (group, (values, codes)) in values.0.chunks_exact_mut(32).zip(codes.0.chunks_exact(32)).enumerate() {
                let noise = if DITHERED { noise(dither, counter + 16 * group as u32) } else { [0.0; 32] };
                for ((value, &code), noise) in values.iter_mut().zip(codes).zip(noise) {
                    let level = f32::from(code) - qmax::<BITS>();
                    *value = unit * if DITHERED { level - noise } else { level };
                }
            }
        }
        for (out, value) in block.iter_mut().zip(values.0) {
            each(out, value);
        }
        counter += SIZE as u32 / 2;
    }
    done
}

/// What a code's distance from the middle is worth.
#[inline(always)]
fn unit<const BITS: u8>(scale: u8, top: i16, gain: f32) -> f32 {
    Level::from_code(scale, Level(top)).scale() / qmax::<BITS>() * gain
}

#[inline(always)]
const fn qmax<const BITS: u8>() -> f32 {
    ((1 << (BITS - 1)) - 1) as f32
}
