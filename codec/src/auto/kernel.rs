//! What is done to every coordinate that has a symbol, sixteen at a time in a shape that compilers turn into SIMD: no
//! branches on data, and every table an array that no index can leave.
//!
//! Compiled once for each CPU feature set by `simd`. What needs more than its tables (escapes, raw bits, values that are
//! huge) is left to the code for one coordinate, which is the specification: every kernel has a twin that ends in `_each`.

use super::{
    keys::Key,
    lanes::States,
    lookups::{Pops, Pushes},
    push::Pushed,
    raw_bits::{RawBits, RawSink, Spread},
    tables::{FIRST_RAW, MOST as MOST_HIGH, MOST_RAW_BITS, TOTAL_BITS, raw_bits_of},
};
use crate::simd::prefetch;

/// What the kernels take at once.
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
        let [mut special, mut huge, mut places] = [[0u32; LANES]; 3];
        let [mut low, mut high] = [[0; LANES]; 2];
        prefetch(x);
        for lane in 0..LANES {
            let key = keys[lane];
            let value = x[lane] * scale + key.dither();
            let q = round_small(value);
            low[lane] = q;
            high[lane] = key.high(q);
            places[lane] = Pushes::place(key.table(), high[lane]);
            huge[lane] = u32::from(value.abs() >= SMALL);
        }
        look_up(tables.all(), &places, out);
        for lane in 0..LANES {
            special[lane] = u32::from(out[lane] == Pushed::NONE) | u32::from(keys[lane].table() >= FIRST_RAW);
        }
        if any(&huge) {
            quantize_each(tables, keys, x, scale, out, raw);
        } else if any(&special) {
            put_special(tables, keys, (&high, &low), out, raw);
        }
    }
    quantize_each(tables, rest_keys, rest_values, scale, rest, raw);
}

/// Whether a flag is set.
#[inline(always)]
pub(super) fn any(flags: &[u32; LANES]) -> bool {
    flags.iter().fold(0, |any, flag| any | flag) != 0
}

/// What is at some places.
#[inline(always)]
pub(crate) fn look_up<T: Copy>(all: &[T; Pushes::LEN], places: &[u32; LANES], found: &mut [T; LANES]) {
    for lane in 0..LANES {
        found[lane] = all[places[lane] as usize & (Pushes::LEN - 1)];
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
        let high = key.high(q);
        *symbol = tables.symbol(key.table(), high);
        if *symbol == Pushed::NONE {
            *symbol = escape(tables, key, high, raw);
        }
        let bits = raw_bits_of(key.table());
        raw.put(q as u32 & ((1 << bits) - 1), bits);
    }
}

/// Puts escapes in the place of what has no symbol, and the raw bits of all.
#[inline(always)]
fn put_special(
    tables: &Pushes,
    keys: &[Key; LANES],
    (high, low): (&[i32; LANES], &[i32; LANES]),
    out: &mut [Pushed; LANES],
    raw: &mut RawSink,
) {
    let [mut escapes, mut counts, mut bits] = [[0; LANES]; 3];
    for lane in 0..LANES {
        escapes[lane] = u32::from(out[lane] == Pushed::NONE);
        counts[lane] = raw_bits_of(keys[lane].table());
        bits[lane] = low[lane] as u32 & ((1 << counts[lane]) - 1);
    }
    if !any(&escapes) {
        return raw.put_all(&bits, &counts);
    }
    for lane in 0..LANES {
        if out[lane] == Pushed::NONE {
            out[lane] = escape(tables, keys[lane], high[lane], raw);
        }
        raw.put(bits[lane], counts[lane]);
    }
}

/// The escape that stands for `high`, which has no symbol, and goes with raw bits.
#[inline(always)]
fn escape(tables: &Pushes, key: Key, high: i32, raw: &mut RawSink) -> Pushed {
    let (escape, half) = tables.escape(key.table());
    raw.escape(high, half);
    escape
}

/// What is left of a body.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(super) states: States,
    pub(super) words: &'a [u8],
    pub(super) raw: RawBits<'a>,
}

pub(super) const SHORT: &str = "symbols: too few bytes";
const BEYOND: &str = "symbol: beyond 2^24";

impl Reader<'_> {
    /// The value, in steps, of the next coordinate.
    #[inline(always)]
    fn next(&mut self, tables: &Pops, key: Key, lane: usize) -> Result<f32, &'static str> {
        let state = self.states[lane];
        let (high, count, rest) = tables.pop(key.table(), state);
        let state = count * (state >> TOTAL_BITS) + rest;
        let is_low = state < LOW;
        let word = match self.words.first_chunk::<2>() {
            Some(word) => u16::from_le_bytes(*word),
            None if is_low => return Err(SHORT),
            None => 0,
        };
        self.words = &self.words[2 * usize::from(is_low)..];
        self.states[lane] = core::hint::select_unpredictable(is_low, state << 16 | u32::from(word), state);
        let (high, low) = self.special(tables, key, high)?;
        Ok(quantized(key, high, low) as f32 + tables.offset(key))
    }

    /// The raw bits of sixteen; what was an escape becomes what it stands for.
    #[inline(always)]
    fn take_special(
        &mut self,
        tables: &Pops,
        keys: &[Key; LANES],
        high: &mut [i32; LANES],
        spread: impl Spread,
    ) -> Result<[u32; LANES], &'static str> {
        let [mut escapes, mut counts, mut low] = [[0; LANES]; 3];
        for lane in 0..LANES {
            escapes[lane] = u32::from(high[lane] == Pops::ESCAPE);
            counts[lane] = raw_bits_of(keys[lane].table());
        }
        let all = if any(&escapes) { None } else { self.raw.take_all(&counts, spread) };
        if let Some(all) = all {
            return Ok(all);
        }
        for lane in 0..LANES {
            (high[lane], low[lane]) = self.special(tables, keys[lane], high[lane])?;
        }
        Ok(low)
    }

    /// The symbol, which may have been an escape, and the raw bits that go with it.
    #[inline(always)]
    fn special(&mut self, tables: &Pops, key: Key, high: i32) -> Result<(i32, u32), &'static str> {
        let count = raw_bits_of(key.table());
        if high != Pops::ESCAPE {
            // Such are never beyond what a symbol may be.
            const { assert!((MOST_HIGH as i32 + 1) << MOST_RAW_BITS <= MOST) };
            return Ok((high, if count == 0 { 0 } else { self.raw.take(count).ok_or(SHORT)? }));
        }
        let high = self.raw.escaped(tables.half(key.table())).ok_or(SHORT)?;
        let low = self.raw.take(count).ok_or(SHORT)?;
        let sent = (i64::from(high) << count) + i64::from(low);
        if sent.unsigned_abs() > MOST as u64 { Err(BEYOND) } else { Ok((high, low)) }
    }
}

/// q from its symbol and its raw bits.
#[inline(always)]
fn quantized(key: Key, high: i32, low: u32) -> i32 {
    let sent = (high << raw_bits_of(key.table())) + low as i32;
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

/// Decodes symbols, symbol n in lane n mod `lanes`, to values in steps. `refill` is [`refill`], or does the same; so is `spread`.
#[inline(always)]
pub(crate) fn pop(
    tables: &Pops,
    keys: &[Key],
    lanes: usize,
    reader: &mut Reader<'_>,
    values: &mut [f32],
    refill: impl Fn(&[u32; LANES], &[u32; LANES], &mut [u32; LANES]) -> usize,
    spread: impl Spread + Copy,
) -> Result<(), &'static str> {
    let done = match lanes / LANES {
        0 => 0,
        1 => pop_groups::<1>(tables, keys, reader, values, refill, spread)?,
        _ => pop_groups::<2>(tables, keys, reader, values, refill, spread)?,
    };
    pop_each(tables, &keys[done..], lanes, reader, &mut values[done..])
}

/// [`pop`] in N times sixteen lanes, as long as there are words for all; returns for how many symbols.
#[inline(always)]
fn pop_groups<const N: usize>(
    tables: &Pops,
    keys: &[Key],
    reader: &mut Reader<'_>,
    values: &mut [f32],
    refill: impl Fn(&[u32; LANES], &[u32; LANES], &mut [u32; LANES]) -> usize,
    spread: impl Spread + Copy,
) -> Result<usize, &'static str> {
    // What lives across groups is no part of the reader, so that it stays in registers.
    let Some(mut states) = reader.states.as_chunks::<LANES>().0.first_chunk::<N>().copied() else { return Ok(0) };
    let mut done = 0;
    let rows = keys.chunks_exact(N * LANES).zip(values.chunks_exact_mut(N * LANES));
    for (keys, values) in rows {
        if reader.words.len() < 2 * N * LANES {
            break;
        }
        let groups = keys.as_chunks::<LANES>().0.iter().zip(values.as_chunks_mut::<LANES>().0);
        for (states, (keys, values)) in states.iter_mut().zip(groups) {
            let Some(front) = reader.words.first_chunk::<{ 2 * LANES }>() else { break };
            let mut fresh = [0; LANES];
            let words = fresh.iter_mut().zip(front.as_chunks::<2>().0);
            words.for_each(|(word, bytes)| *word = u16::from_le_bytes(*bytes).into());
            let [mut next, mut special, mut low] = [[0u32; LANES]; 3];
            let mut high = [0; LANES];
            for lane in 0..LANES {
                let key = keys[lane];
                let (symbol, count, rest) = tables.pop(key.table(), states[lane]);
                high[lane] = symbol;
                next[lane] = count * (states[lane] >> TOTAL_BITS) + rest;
                special[lane] = u32::from(symbol == Pops::ESCAPE) | u32::from(key.table() >= FIRST_RAW);
            }
            let used = refill(&next, &fresh, states);
            reader.words = &reader.words[2 * used..];
            if any(&special) {
                low = reader.take_special(tables, keys, &mut high, spread)?;
            }
            for lane in 0..LANES {
                values[lane] = quantized(keys[lane], high[lane], low[lane]) as f32 + tables.offset(keys[lane]);
            }
        }
        done += N * LANES;
    }
    reader.states.as_chunks_mut::<LANES>().0.iter_mut().zip(states).for_each(|(to, states)| *to = states);
    Ok(done)
}

/// [`pop`], one after the other.
#[inline(always)]
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
pub(super) const SMALL: f32 = 4_194_304.0;

/// To the nearest integer, ties to even, if `x` is small.
#[inline(always)]
pub(super) fn round_small(x: f32) -> i32 {
    /// Above it floats are integers, and their bits count them.
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits()) as i32
}

/// To the nearest integer, ties to even.
pub(super) fn round(x: f32) -> i32 {
    if x.abs() < SMALL { round_small(x) } else { (libm::rintf(x) as i32).clamp(-MOST, MOST) }
}
