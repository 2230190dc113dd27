//! The symbols of one chunk as bytes: interleaved rANS (Duda 2013; Giesen 2014) from the front, raw bits from the back.
//!
//! ```text
//! states: u32 for each lane | words: u16 ...                                        ... raw bits, read backwards
//! ```

use alloc::vec::Vec;

use super::{
    model::{LEAST, ZERO},
    tables::{NARROWEST, Noise, Symbols, Tables, WIDEST_DITHERED, index, raw_bits},
};
use crate::dither::Dither;

/// Lanes of a chunk with many symbols, and how many are many.
const LANES: usize = 8;
const MANY: usize = 8192;
/// Least value of a state.
const LOW: u32 = 1 << 16;
/// Largest magnitude of q.
pub(super) const MOST: i32 = 1 << 24;

/// The coordinates of a chunk, and which of them have a symbol.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// Class of every coordinate.
    pub(super) classes: Vec<i8>,
    noise: Vec<u16>,
    sample: Vec<u16>,
    /// Places of those that have a symbol.
    kept: Vec<u32>,
}

/// A coordinate that has a symbol.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// Its place in the chunk.
    at: usize,
    /// Its class, not below the narrowest.
    class: i32,
    dither: Noise,
}

/// 2^16 times the chance that a coordinate of `class` has a symbol.
pub(super) fn chance(class: i32) -> u32 {
    let below = NARROWEST - class;
    match (below, below & 1) {
        (..=0, _) => 1 << 16,
        (_, 0) => (1 << 16) >> (below / 2),
        _ => 46_341 >> (below / 2),
    }
}

impl Chosen {
    /// Draws the dither, and who has a symbol, for the chunk whose classes are set.
    pub(super) fn draw(&mut self, dither: Dither) {
        let len = self.classes.len();
        self.noise.resize(len, 0);
        dither.fill(false, &mut self.noise);
        self.kept.resize(len, 0);
        let mut count = 0;
        if self.classes.iter().all(|&class| i32::from(class) >= NARROWEST) {
            self.kept.iter_mut().zip(0..).for_each(|(kept, at)| *kept = at);
            return;
        }
        self.sample.resize(len, 0);
        dither.fill(true, &mut self.sample);
        // Chances by class; of zeros, none.
        let chances: [u32; 256] = core::array::from_fn(|class| match class as u8 as i8 {
            ZERO => 0,
            class => chance(i32::from(class).max(LEAST)),
        });
        for (at, (&class, &sample)) in (0..).zip(self.classes.iter().zip(&self.sample)) {
            self.kept[count] = at;
            count += usize::from(u32::from(sample) < chances[usize::from(class as u8)]);
        }
        self.kept.truncate(count);
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = Kept> + DoubleEndedIterator {
        self.kept.iter().map(|&at| {
            let at = at as usize;
            let class = i32::from(self.classes[at]).max(NARROWEST);
            Kept { at, class, dither: Noise::new(self.noise[at].into()) }
        })
    }
}

fn lanes(kept: usize) -> usize {
    if kept < MANY { 1 } else { LANES }
}

/// Bits from the end of a body backwards, lowest first.
struct RawBits<'a> {
    bytes: &'a [u8],
    held: u64,
    count: u32,
}

impl RawBits<'_> {
    /// The next `count` bits, at most 32.
    #[inline(always)]
    fn take(&mut self, count: u32) -> Option<u32> {
        while self.count < count {
            let (&last, rest) = self.bytes.split_last()?;
            self.bytes = rest;
            self.held |= u64::from(last) << self.count;
            self.count += 8;
        }
        let bits = self.held as u32 & ((1u64 << count) - 1) as u32;
        self.held >>= count;
        self.count -= count;
        Some(bits)
    }
}

/// Collects raw bits.
#[derive(Debug, Default)]
struct RawSink {
    /// From the last byte of the body backwards.
    bytes: Vec<u8>,
    held: u64,
    count: u32,
}

impl RawSink {
    fn put(&mut self, bits: u32, count: u32) {
        self.held |= u64::from(bits) << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    /// |h| - half - 1 as an exponential Golomb code, and the sign.
    #[cold]
    fn escape(&mut self, high: i32, half: i32) {
        let beyond = (high.abs() - half) as u32;
        let len = beyond.ilog2();
        self.put(0, len);
        self.put(1, 1);
        self.put(beyond ^ 1 << len, len);
        self.put(u32::from(high < 0), 1);
    }

    fn finish(&mut self) {
        if self.count > 0 {
            self.bytes.push(self.held as u8);
            (self.held, self.count) = (0, 0);
        }
    }
}

/// Decodes the body of a chunk, giving the value of every coordinate that has a symbol in steps.
pub(super) fn decode(
    tables: &Tables,
    chosen: &Chosen,
    body: &[u8],
    mut each: impl FnMut(usize, f32),
) -> Result<(), &'static str> {
    const SHORT: &str = "symbols: too few bytes";
    let count = chosen.kept.len();
    if count == 0 {
        return if body.is_empty() { Ok(()) } else { Err("symbols: bytes left over") };
    }
    let lanes = lanes(count);
    let (heads, mut words) = body.split_at_checked(4 * lanes).ok_or(SHORT)?;
    let mut states = [LOW; LANES];
    for (state, head) in states.iter_mut().zip(heads.as_chunks::<4>().0) {
        *state = u32::from_le_bytes(*head);
        if *state < LOW {
            return Err("state: below 2^16");
        }
    }
    let mut raw = RawBits { bytes: words, held: 0, count: 0 };
    let start = words.len();
    for (n, kept) in chosen.iter().enumerate() {
        let state = &mut states[n & (lanes - 1)];
        let index = index(kept.class, kept.dither.part());
        let (symbol, next) = tables.pop(index, *state);
        *state = next;
        if next < LOW {
            let (word, rest) = words.split_first_chunk::<2>().ok_or(SHORT)?;
            words = rest;
            *state = next << 16 | u32::from(u16::from_le_bytes(*word));
        }
        let half = tables.half(index);
        let mut high = symbol as i32 - half;
        if high > half {
            high = escaped(half, &mut raw).ok_or(SHORT)?;
        }
        let q = if kept.class <= WIDEST_DITHERED {
            if kept.dither.negative { -high } else { high }
        } else {
            let bits = raw_bits(kept.class);
            (high << bits) + raw.take(bits).ok_or(SHORT)? as i32
        };
        if q.unsigned_abs() > MOST as u32 {
            return Err("symbol: beyond 2^24");
        }
        each(kept.at, q as f32 + tables.offset(kept.class, kept.dither));
    }
    if states[..lanes].iter().any(|&state| state != LOW) {
        return Err("state: not where it began");
    }
    if start - words.len() != raw.bytes.len() || raw.held != 0 {
        return Err("symbols: bytes left over");
    }
    Ok(())
}

/// Reads what [`RawSink::escape`] wrote.
fn escaped(half: i32, raw: &mut RawBits<'_>) -> Option<i32> {
    let mut bits = 0;
    while raw.take(1)? == 0 {
        bits += 1;
        if bits > 25 {
            return None;
        }
    }
    let beyond = ((1 << bits | raw.take(bits)?) - 1) as i32;
    let size = half + 1 + beyond;
    Some(if raw.take(1)? == 1 { -size } else { size })
}

/// Encodes chunks.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Index of the table and of the symbol of every kept coordinate.
    quantized: Vec<(u16, u8)>,
    raw: RawSink,
    words: Vec<u16>,
}

impl Writer {
    /// Quantizes a chunk. `scaled` gives a coordinate's value in steps. Whether all of them are in range.
    pub(super) fn quantize(&mut self, symbols: &Symbols, chosen: &Chosen, scaled: impl Fn(usize) -> f32) -> bool {
        self.raw.bytes.clear();
        self.quantized.clear();
        self.quantized.reserve(chosen.kept.len());
        let mut largest: f32 = 0.0;
        for kept in chosen.iter() {
            let value = scaled(kept.at);
            largest = largest.max(value.abs());
            let q = round(value + kept.dither.value());
            let index = index(kept.class, kept.dither.part());
            let half = symbols.halves[index];
            let bits = raw_bits(kept.class);
            let flip = kept.class <= WIDEST_DITHERED && kept.dither.negative;
            let high = if flip { -q } else { q >> bits };
            let mut symbol = (high + half) as u32;
            if symbol > 2 * half as u32 {
                self.raw.escape(high, half);
                symbol = 2 * half as u32 + 1;
            }
            if bits > 0 {
                self.raw.put(q as u32 & ((1 << bits) - 1), bits);
            }
            self.quantized.push((index as u16, symbol as u8));
        }
        self.raw.finish();
        largest < (MOST - 1) as f32
    }

    /// Appends what was quantized to `out`: the symbols from the last to the first, so that they are read from the first
    /// to the last.
    pub(super) fn write(&mut self, symbols: &Symbols, out: &mut Vec<u8>) {
        if self.quantized.is_empty() {
            return;
        }
        let lanes = lanes(self.quantized.len());
        let mut states = [LOW; LANES];
        self.words.resize(self.quantized.len(), 0);
        let mut count = 0;
        for (n, &(index, symbol)) in self.quantized.iter().enumerate().rev() {
            let state = &mut states[n & (lanes - 1)];
            let symbol = &symbols.symbols[usize::from(index)][usize::from(symbol)];
            let full = *state >= symbol.most;
            self.words[count] = *state as u16;
            count += usize::from(full);
            let rest = if full { *state >> 16 } else { *state };
            *state = symbol.push(rest);
        }
        for state in &states[..lanes] {
            out.extend(state.to_le_bytes());
        }
        out.extend(self.words[..count].iter().rev().flat_map(|word| word.to_le_bytes()));
        out.extend(self.raw.bytes.iter().rev());
    }
}

/// To the nearest integer, ties to even; for less than 2^22 in magnitude without a library call.
#[inline(always)]
fn round(x: f32) -> i32 {
    /// Above it floats are integers.
    const SHIFT: f32 = 12_582_912.0;
    if x.abs() < 4_194_304.0 { ((x + SHIFT) - SHIFT) as i32 } else { (libm::rintf(x) as i32).clamp(-MOST, MOST) }
}
