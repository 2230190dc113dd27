//! The symbols of one chunk as bytes: interleaved rANS (Duda 2013; Giesen 2014) from the front, raw bits from the back.
//!
//! ```text
//! states: u32 for each lane | words: u16 ...                                        ... raw bits, read backwards
//! ```

use alloc::vec::Vec;

use super::{
    model::ZERO,
    tables::{NARROWEST, Noise, TOTAL_BITS, Table, Tables, WIDEST_DITHERED, index, raw_bits},
};
use crate::dither::Dither;

/// Lanes of a chunk with many symbols, and how many are many.
const LANES: usize = 8;
const MANY: usize = 8192;
/// Least value of a state.
const LOW: u32 = 1 << 16;
/// Largest magnitude of q.
pub(super) const MOST: i32 = 1 << 24;

/// A coordinate that has a symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// Its place in the chunk.
    pub(super) at: u32,
    /// Its class, not below the narrowest.
    pub(super) class: i32,
    pub(super) dither: Noise,
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

/// Replaces `kept` by the coordinates that have a symbol.
pub(super) fn keep(classes: &[i32], dither: Dither, kept: &mut Vec<Kept>) {
    kept.clear();
    for (at, &class) in classes.iter().enumerate() {
        if class == ZERO || class < NARROWEST && dither.chosen(at) >= chance(class) {
            continue;
        }
        kept.push(Kept { at: at as u32, class: class.max(NARROWEST), dither: Noise::new(dither.bits(at)) });
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

    fn finish(&mut self) {
        if self.count > 0 {
            self.bytes.push(self.held as u8);
            (self.held, self.count) = (0, 0);
        }
    }
}

/// Decodes the body of a chunk, giving the value of every kept coordinate in steps.
pub(super) fn decode(
    tables: &Tables,
    kept: &[Kept],
    body: &[u8],
    mut each: impl FnMut(usize, f32),
) -> Result<(), &'static str> {
    const SHORT: &str = "symbols: too few bytes";
    if kept.is_empty() {
        return if body.is_empty() { Ok(()) } else { Err("symbols: bytes left over") };
    }
    let lanes = lanes(kept.len());
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
    for (n, kept) in kept.iter().enumerate() {
        let state = &mut states[n & (lanes - 1)];
        let table = tables.get(index(kept.class, kept.dither.part()));
        let slot = *state & ((1 << TOTAL_BITS) - 1);
        let symbol = usize::from(table.slots[slot as usize]);
        let (from, to) = (u32::from(table.starts[symbol]), u32::from(table.starts[symbol + 1]));
        *state = (to - from) * (*state >> TOTAL_BITS) + slot - from;
        if *state < LOW {
            let (word, rest) = words.split_first_chunk::<2>().ok_or(SHORT)?;
            words = rest;
            *state = *state << 16 | u32::from(u16::from_le_bytes(*word));
        }
        let high =
            if symbol == table.escape() { escaped(table, &mut raw).ok_or(SHORT)? } else { symbol as i32 - table.half };
        let bits = raw_bits(kept.class);
        let q = if kept.class <= WIDEST_DITHERED {
            if kept.dither.negative { -high } else { high }
        } else {
            (high << bits) + raw.take(bits).ok_or(SHORT)? as i32
        };
        if q.unsigned_abs() > MOST as u32 {
            return Err("symbol: beyond 2^24");
        }
        each(kept.at as usize, q as f32 + tables.offset(kept.class, kept.dither));
    }
    if states[..lanes].iter().any(|&state| state != LOW) {
        return Err("state: not where it began");
    }
    if start - words.len() != raw.bytes.len() || raw.held != 0 {
        return Err("symbols: bytes left over");
    }
    Ok(())
}

/// |h| - half - 1 as an exponential Golomb code, and the sign.
fn escaped(table: &Table, raw: &mut RawBits<'_>) -> Option<i32> {
    let mut bits = 0;
    while raw.take(1)? == 0 {
        bits += 1;
        if bits > 25 {
            return None;
        }
    }
    let beyond = ((1 << bits | raw.take(bits)?) - 1) as i32;
    let size = table.half + 1 + beyond;
    Some(if raw.take(1)? == 1 { -size } else { size })
}

/// Encodes chunks.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Index of the table and of the symbol of every kept coordinate.
    symbols: Vec<(u16, u8)>,
    raw: RawSink,
    words: Vec<u16>,
}

impl Writer {
    /// Appends the body of a chunk of `x` to `out`. `scaled` gives a coordinate's value in steps.
    ///
    /// Returns whether every coordinate was within range.
    pub(super) fn encode(
        &mut self,
        tables: &Tables,
        kept: &[Kept],
        scaled: impl Fn(usize) -> f32,
        out: &mut Vec<u8>,
    ) -> bool {
        self.symbols.clear();
        self.raw.bytes.clear();
        for kept in kept {
            let value = scaled(kept.at as usize);
            if value.abs() >= (MOST - 1) as f32 {
                return false;
            }
            let q = libm::rintf(value + kept.dither.value()) as i32;
            let index = index(kept.class, kept.dither.part());
            let table = tables.get(index);
            let bits = raw_bits(kept.class);
            let high = match kept.class <= WIDEST_DITHERED {
                true if kept.dither.negative => -q,
                true => q,
                false => q >> bits,
            };
            let symbol = if high.abs() <= table.half {
                (high + table.half) as usize
            } else {
                let beyond = (high.abs() - table.half) as u32;
                let len = beyond.ilog2();
                self.raw.put(0, len);
                self.raw.put(1, 1);
                self.raw.put(beyond ^ 1 << len, len);
                self.raw.put(u32::from(high < 0), 1);
                table.escape()
            };
            if bits > 0 {
                self.raw.put(q as u32 & ((1 << bits) - 1), bits);
            }
            self.symbols.push((index as u16, symbol as u8));
        }
        self.raw.finish();
        self.write(tables, out);
        true
    }

    /// Writes the symbols from the last to the first, so that they are read from the first to the last.
    fn write(&mut self, tables: &Tables, out: &mut Vec<u8>) {
        if self.symbols.is_empty() {
            return;
        }
        let lanes = lanes(self.symbols.len());
        let mut states = [LOW; LANES];
        self.words.clear();
        for (n, &(index, symbol)) in self.symbols.iter().enumerate().rev() {
            let state = &mut states[n & (lanes - 1)];
            let starts = &tables.get(index.into()).starts;
            let (from, to) = (u32::from(starts[usize::from(symbol)]), u32::from(starts[usize::from(symbol) + 1]));
            let count = to - from;
            if u64::from(*state) >= u64::from(count) << (32 - TOTAL_BITS) {
                self.words.push(*state as u16);
                *state >>= 16;
            }
            *state = ((*state / count) << TOTAL_BITS) + *state % count + from;
        }
        for state in &states[..lanes] {
            out.extend(state.to_le_bytes());
        }
        for word in self.words.iter().rev() {
            out.extend(word.to_le_bytes());
        }
        out.extend(self.raw.bytes.iter().rev());
    }
}
