//! What is done to every coordinate that has a symbol, sixteen at a time in a shape that compilers turn into SIMD: no
//! branches on data, and every table an array that no index can leave.
//!
//! Compiled once for each CPU feature set by `simd`. What needs more than its tables (escapes, raw bits, values that are
//! huge) is left to the code for one coordinate, which is the specification: every kernel has a twin that ends in `_each`.

use super::{
    keys::Key,
    lookups::{Pops, Pushes},
    push::Pushed,
    raw_bits::{RawBits, RawSink},
    tables::{FIRST_RAW, TOTAL_BITS, raw_bits_of},
};

/// Lanes of a chunk with many symbols, which is what the kernels are for.
pub(crate) const LANES: usize = 16;
/// Largest magnitude of q.
pub(super) const MOST: i32 = 1 << 24;
/// Least value of a state.
pub(super) const LOW: u32 = 1 << 16;

/// Quantizes values, which are in steps of Δ once multiplied by `scale`. `look_up` is [`look_up`], or does the same.
#[inline(always)]
pub(crate) fn quantize(
    tables: &Pushes,
    keys: &[Key],
    values: &[f32],
    scale: f32,
    symbols: &mut [Pushed],
    raw: &mut RawSink,
    look_up: impl Fn(&[Pushed; Pushes::LEN], &[u32; LANES], &mut [Pushed; LANES]),
) {
    let (groups, rest) = symbols.as_chunks_mut::<LANES>();
    let (key_groups, rest_keys) = keys.as_chunks::<LANES>();
    let (value_groups, rest_values) = values.as_chunks::<LANES>();
    for ((out, keys), x) in groups.iter_mut().zip(key_groups).zip(value_groups) {
        let [mut escapes, mut has_raw, mut huge, mut places] = [[0u32; LANES]; 4];
        let [mut low, mut high] = [[0; LANES]; 2];
        for lane in 0..LANES {
            let key = keys[lane];
            let value = x[lane] * scale + key.dither();
            let q = round_small(value);
            low[lane] = q;
            high[lane] = if key.is_turned() { q.wrapping_neg() } else { q >> raw_bits_of(key.table()) };
            places[lane] = Pushes::place(key.table(), high[lane]);
            huge[lane] = u32::from(value.abs() >= SMALL);
            has_raw[lane] = u32::from(key.table() >= FIRST_RAW);
        }
        look_up(tables.all(), &places, out);
        for lane in 0..LANES {
            escapes[lane] = u32::from(out[lane] == Pushed::NONE);
        }
        let any = |flags: [u32; LANES]| flags.iter().fold(0, |any, flag| any | flag) != 0;
        if any(huge) {
            quantize_each(tables, keys, x, scale, out, raw);
        } else if any(escapes) {
            for lane in 0..LANES {
                out[lane] = special_symbol(tables, keys[lane], high[lane], low[lane], raw);
            }
        } else if any(has_raw) {
            let [mut bits, mut counts] = [[0; LANES]; 2];
            for lane in 0..LANES {
                counts[lane] = raw_bits_of(keys[lane].table());
                bits[lane] = low[lane] as u32 & ((1 << counts[lane]) - 1);
            }
            raw.put_all(&bits, &counts);
        }
    }
    quantize_each(tables, rest_keys, rest_values, scale, rest, raw);
}

/// The symbols at their places.
#[inline(always)]
pub(crate) fn look_up(all: &[Pushed; Pushes::LEN], places: &[u32; LANES], symbols: &mut [Pushed; LANES]) {
    for lane in 0..LANES {
        symbols[lane] = all[places[lane] as usize & (Pushes::LEN - 1)];
    }
}

/// [`quantize`], one after the other.
pub(crate) fn quantize_each(
    tables: &Pushes,
    keys: &[Key],
    values: &[f32],
    scale: f32,
    symbols: &mut [Pushed],
    raw: &mut RawSink,
) {
    for ((symbol, &key), &value) in symbols.iter_mut().zip(keys).zip(values) {
        let q = round(value * scale + key.dither());
        let high = if key.is_turned() { -q } else { q >> raw_bits_of(key.table()) };
        *symbol = special_symbol(tables, key, high, q, raw);
    }
}

/// The symbol for `high`, an escape if it has none, and the raw bits of `q` that go with it.
#[inline(always)]
fn special_symbol(tables: &Pushes, key: Key, high: i32, q: i32, raw: &mut RawSink) -> Pushed {
    let mut symbol = tables.symbol(key.table(), high);
    if symbol == Pushed::NONE {
        let (escape, half) = tables.escape(key.table());
        raw.escape(high, half);
        symbol = escape;
    }
    let bits = raw_bits_of(key.table());
    raw.put(q as u32 & ((1 << bits) - 1), bits);
    symbol
}

/// What is left of a body.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(super) states: [u32; LANES],
    pub(super) words: &'a [u8],
    pub(super) raw: RawBits<'a>,
}

pub(super) const SHORT: &str = "symbols: too few bytes";
const BEYOND: &str = "symbol: beyond 2^24";

impl Reader<'_> {
    /// The value, in steps, of the next coordinate.
    #[inline(always)]
    fn next(&mut self, tables: &Pops, key: Key, lane: usize) -> Result<f32, &'static str> {
        let state = &mut self.states[lane];
        let (high, count, rest) = tables.pop(key.table(), *state);
        *state = count * (*state >> TOTAL_BITS) + rest;
        if *state < LOW {
            let (word, rest) = self.words.split_first_chunk::<2>().ok_or(SHORT)?;
            self.words = rest;
            *state = *state << 16 | u32::from(u16::from_le_bytes(*word));
        }
        let (high, low) = self.special(tables, key, high)?;
        let q = quantized(key, high, low);
        if q.unsigned_abs() > MOST as u32 { Err(BEYOND) } else { Ok(q as f32 + tables.offset(key)) }
    }

    /// The symbol, which may have been an escape, and the raw bits that go with it.
    #[inline(always)]
    fn special(&mut self, tables: &Pops, key: Key, high: i32) -> Result<(i32, i32), &'static str> {
        let high = if high == Pops::ESCAPE { self.raw.escaped(tables.half(key.table())).ok_or(SHORT)? } else { high };
        Ok((high, self.raw.take(raw_bits_of(key.table())).ok_or(SHORT)? as i32))
    }
}

/// q from its symbol and its raw bits.
#[inline(always)]
fn quantized(key: Key, high: i32, low: i32) -> i32 {
    let sent = (high << raw_bits_of(key.table())) + low;
    if key.is_turned() { -sent } else { sent }
}

/// Gives the states that are low a word each, in the order of the lanes; returns how many words that takes.
#[inline(always)]
pub(crate) fn refill(low: &[u32; LANES], words: &[u32; LANES], states: &mut [u32; LANES]) -> usize {
    let mut used = 0;
    for lane in 0..LANES {
        let empty = low[lane] < LOW;
        let word = words[used & (LANES - 1)];
        states[lane] = core::hint::select_unpredictable(empty, low[lane] << 16 | word, low[lane]);
        used += usize::from(empty);
    }
    used
}

/// Decodes symbols, symbol n in lane n mod `lanes`, to values in steps. `refill` is [`refill`], or does the same.
#[inline(always)]
pub(crate) fn pop(
    tables: &Pops,
    keys: &[Key],
    lanes: usize,
    reader: &mut Reader<'_>,
    values: &mut [f32],
    refill: impl Fn(&[u32; LANES], &[u32; LANES], &mut [u32; LANES]) -> usize,
) -> Result<(), &'static str> {
    let mut done = 0;
    let groups = keys.as_chunks::<LANES>().0.iter().zip(values.as_chunks_mut::<LANES>().0);
    for (keys, values) in groups.take(if lanes == LANES { keys.len() } else { 0 }) {
        // As long as there are words for all.
        let Some(front) = reader.words.first_chunk::<{ 2 * LANES }>() else { break };
        let mut fresh = [0; LANES];
        let words = fresh.iter_mut().zip(front.as_chunks::<2>().0);
        words.for_each(|(word, bytes)| *word = u16::from_le_bytes(*bytes).into());
        let states = reader.states;
        let [mut next, mut special] = [[0u32; LANES]; 2];
        let [mut high, mut low] = [[0; LANES]; 2];
        for lane in 0..LANES {
            let key = keys[lane];
            let (symbol, count, rest) = tables.pop(key.table(), states[lane]);
            high[lane] = symbol;
            next[lane] = count * (states[lane] >> TOTAL_BITS) + rest;
            special[lane] = u32::from(symbol == Pops::ESCAPE || key.table() >= FIRST_RAW);
        }
        let used = refill(&next, &fresh, &mut reader.states);
        reader.words = &reader.words[2 * used..];
        if special.iter().fold(0, |any, flag| any | flag) != 0 {
            for lane in 0..LANES {
                if special[lane] != 0 {
                    (high[lane], low[lane]) = reader.special(tables, keys[lane], high[lane])?;
                }
            }
        }
        let mut largest = 0;
        for lane in 0..LANES {
            let q = quantized(keys[lane], high[lane], low[lane]);
            largest = largest.max(q.unsigned_abs());
            values[lane] = q as f32 + tables.offset(keys[lane]);
        }
        if largest > MOST as u32 {
            return Err(BEYOND);
        }
        done += LANES;
    }
    pop_each(tables, &keys[done..], lanes, reader, &mut values[done..])
}

/// [`pop`], one after the other.
pub(crate) fn pop_each(
    tables: &Pops,
    keys: &[Key],
    lanes: usize,
    reader: &mut Reader<'_>,
    values: &mut [f32],
) -> Result<(), &'static str> {
    for (n, (&key, value)) in keys.iter().zip(values).enumerate() {
        *value = reader.next(tables, key, n & (lanes - 1))?;
    }
    Ok(())
}

/// Values from here on are not rounded by [`round_small`].
const SMALL: f32 = 4_194_304.0;

/// To the nearest integer, ties to even, if `x` is small.
#[inline(always)]
fn round_small(x: f32) -> i32 {
    /// Above it floats are integers, and their bits count them.
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits()) as i32
}

/// To the nearest integer, ties to even.
fn round(x: f32) -> i32 {
    if x.abs() < SMALL { round_small(x) } else { (libm::rintf(x) as i32).clamp(-MOST, MOST) }
}
