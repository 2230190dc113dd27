//! What is done to every coordinate that has a symbol, sixteen at a time in a shape that compilers turn into SIMD: no
//! branches on data, and every table an array that no index can leave.
//!
//! Compiled once for each CPU feature set by `simd`. What needs more than its tables (escapes, raw bits, values that are
//! huge) is left to the code for one coordinate, which is the specification: every kernel has a twin that ends in `_each`.

use super::{
    keys::Key,
    logarithm::log2_of_count,
    raw_bits::{RawBits, RawSink},
    tables::{FIRST_RAW, Pops, Pushes, TOTAL_BITS, raw_bits_of},
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
            let value = x[lane] * scale + key.noise().value();
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
            for lane in 0..LANES {
                let bits = raw_bits_of(keys[lane].table());
                raw.put(low[lane] as u32 & ((1 << bits) - 1), bits);
            }
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
        let q = round(value * scale + key.noise().value());
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

/// What the coder has to know of a symbol: where its frequency begins, and in the upper half what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Pushed(u32);

impl Pushed {
    /// Stands for what has no symbol.
    pub(super) const NONE: Self = Self(0);

    pub(super) fn new(start: u32, count: u32) -> Self {
        Self(start | count << 16)
    }

    #[inline(always)]
    fn start(self) -> u32 {
        self.0 & 0xffff
    }

    #[inline(always)]
    fn count(self) -> u32 {
        self.0 >> 16
    }

    /// Bits that it takes, about.
    #[inline(always)]
    fn bits(self) -> f32 {
        TOTAL_BITS as f32 - log2_of_count(self.count())
    }
}

/// Bits that symbols take, about, without their raw bits.
#[inline(always)]
pub(crate) fn bits(symbols: &[Pushed]) -> f64 {
    let (groups, rest) = symbols.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for group in groups {
        for lane in 0..LANES {
            sums[lane] += group[lane].bits();
        }
    }
    let rest = rest.iter().map(|symbol| symbol.bits()).sum::<f32>();
    sums.iter().chain(&[rest]).map(|&sum| f64::from(sum)).sum()
}

/// [`bits`], each as often as its weight says.
#[inline(always)]
pub(crate) fn weighted_bits(symbols: &[Pushed], weights: &[f32]) -> f64 {
    let (groups, rest) = symbols.as_chunks::<LANES>();
    let (weight_groups, rest_weights) = weights.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (group, weights) in groups.iter().zip(weight_groups) {
        for lane in 0..LANES {
            sums[lane] += f64::from(group[lane].bits() * weights[lane]);
        }
    }
    let rest = rest.iter().zip(rest_weights).map(|(symbol, &weight)| f64::from(symbol.bits() * weight)).sum::<f64>();
    sums.iter().sum::<f64>() + rest
}

/// Codes `symbols` from the last to the first, symbol n in lane n mod `lanes`. Words go to the end of `words`, which has room for
/// one a symbol; returns how many there are. `emit` is [`emit`], or does the same.
#[inline(always)]
pub(crate) fn push(
    symbols: &[Pushed],
    lanes: usize,
    states: &mut [u32; LANES],
    words: &mut [Word],
    emit: impl Fn(&[u32; LANES], &[u32; LANES], &mut [Word]) -> usize,
) -> usize {
    if lanes < LANES {
        return push_each(symbols, lanes, states, words);
    }
    let (groups, tail) = symbols.as_chunks::<LANES>();
    let mut free = words.len() - push_each(tail, LANES, states, words);
    for group in groups.iter().rev() {
        let mut next = [0; LANES];
        let [mut full, mut low] = [[0; LANES]; 2];
        for lane in 0..LANES {
            let symbol = group[lane];
            let state = states[lane];
            full[lane] = u32::from(state >= symbol.count() << (32 - TOTAL_BITS));
            low[lane] = state;
            let state = if full[lane] != 0 { state >> 16 } else { state };
            next[lane] = advance(state, symbol);
        }
        *states = next;
        free -= emit(&full, &low, &mut words[..free]);
    }
    words.len() - free
}

/// Sixteen bits of a body.
pub(crate) type Word = [u8; 2];

/// Puts the low halves of the states that are full at the end of `room`, in the order of the lanes; returns how many.
#[inline(always)]
pub(crate) fn emit(full: &[u32; LANES], states: &[u32; LANES], room: &mut [Word]) -> usize {
    // A word of every lane is written, whether it counts or not.
    let Some(room) = room.last_chunk_mut::<LANES>() else { return 0 };
    let mut at = LANES;
    for lane in (0..LANES).rev() {
        room[(at - 1) & (LANES - 1)] = (states[lane] as u16).to_le_bytes();
        at -= full[lane] as usize;
    }
    LANES - at
}

/// [`push`], one after the other.
pub(crate) fn push_each(symbols: &[Pushed], lanes: usize, states: &mut [u32; LANES], words: &mut [Word]) -> usize {
    let mut free = words.len();
    for (n, &symbol) in symbols.iter().enumerate().rev() {
        if let Some(word) = push_one(symbol, &mut states[n & (lanes - 1)]) {
            free -= 1;
            words[free] = word.to_le_bytes();
        }
    }
    words.len() - free
}

/// Codes one symbol, and gives the word that its state had to give up.
#[inline(always)]
pub(super) fn push_one(symbol: Pushed, state: &mut u32) -> Option<u16> {
    let full = *state >= symbol.count() << (32 - TOTAL_BITS);
    let word = *state as u16;
    if full {
        *state >>= 16;
    }
    *state = advance(*state, symbol);
    full.then_some(word)
}

/// The state after a symbol: (state / count) 2^12 + state mod count + start. The state is below 2^20 count.
///
/// The quotient is below 2^20, so that a product of floats is within a fifth of it, and to the nearest integer it is right or
/// one too large.
#[inline(always)]
fn advance(state: u32, symbol: Pushed) -> u32 {
    /// Above it floats are integers, and their bits count them.
    const SHIFT: f32 = 8_388_608.0;
    let count = symbol.count();
    let quotient = (state as f32 * (1.0 / count as f32) + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits());
    let rest = state.wrapping_sub(quotient.wrapping_mul(count));
    let less = rest >> 31;
    // Where less is 1, count is added to what wrapped around.
    (quotient.wrapping_sub(less) << TOTAL_BITS)
        .wrapping_add(rest.wrapping_add(less.wrapping_neg() & count))
        .wrapping_add(symbol.start())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_after_a_symbol_is_that_of_a_division_up_to_the_highest() {
        let total = 1 << TOTAL_BITS;
        for count in 1..total {
            let limit = count << (32 - TOTAL_BITS);
            let near = (0..3 * count).step_by(count as usize / 7 + 1).map(|below| limit - 1 - below);
            for state in near.chain([LOW, LOW + 1, limit / 2]).filter(|state| *state < limit) {
                let start = total - count;
                let expected = u64::from(state / count) * u64::from(total) + u64::from(state % count + start);
                assert_eq!(u64::from(advance(state, Pushed::new(start, count))), expected, "{state} by {count}");
            }
        }
    }
}
