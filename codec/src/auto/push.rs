//! From symbols to words: the encoding half of rANS (Duda 2013), sixteen states side by side, or twice sixteen.
//!
//! Compiled once for each CPU feature set by `simd`. Absent on purpose: which symbols (`kernel`), and where words go (`chunk`).

use super::{kernel::LANES, lanes::States, logarithm::log2_of_count, tables::TOTAL_BITS};

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

    /// Where its frequency begins, and what it is.
    #[cfg(test)]
    pub(super) fn place(self) -> (u32, u32) {
        (self.start(), self.count())
    }

    /// Bits that it takes, about.
    pub(super) fn bits(self) -> f32 {
        TOTAL_BITS as f32 - log2_of_count(self.count())
    }
}

/// Codes `symbols` from the last to the first, symbol n in lane n mod `lanes`. Words go to the end of `words`, which has room for
/// one a symbol; returns how many there are. `emit` is [`emit`], or does the same.
#[inline(always)]
pub(crate) fn push(
    symbols: &[Pushed],
    lanes: usize,
    states: &mut States,
    words: &mut [Word],
    emit: impl Fn(&[u32; LANES], &[u32; LANES], &mut [Word]) -> usize,
) -> usize {
    match lanes / LANES {
        0 => push_each(symbols, lanes, states, words),
        1 => push_groups::<1>(symbols, states, words, emit),
        _ => push_groups::<2>(symbols, states, words, emit),
    }
}

/// [`push`] in N times sixteen lanes.
#[inline(always)]
fn push_groups<const N: usize>(
    symbols: &[Pushed],
    states: &mut States,
    words: &mut [Word],
    emit: impl Fn(&[u32; LANES], &[u32; LANES], &mut [Word]) -> usize,
) -> usize {
    let (rows, tail) = symbols.split_at(symbols.len() / (N * LANES) * (N * LANES));
    let mut free = words.len() - push_each(tail, N * LANES, states, words);
    let Some(states) = states.as_chunks_mut::<LANES>().0.first_chunk_mut::<N>() else { return 0 };
    for row in rows.rchunks_exact(N * LANES) {
        for (state, group) in states.iter_mut().zip(row.as_chunks::<LANES>().0).rev() {
            let mut next = [0; LANES];
            let [mut full, mut low] = [[0; LANES]; 2];
            for lane in 0..LANES {
                let symbol = group[lane];
                let state = state[lane];
                full[lane] = u32::from(state >= symbol.count() << (32 - TOTAL_BITS));
                low[lane] = state;
                let state = if full[lane] != 0 { state >> 16 } else { state };
                next[lane] = advance(state, symbol);
            }
            *state = next;
            free -= emit(&full, &low, &mut words[..free]);
        }
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
#[inline(always)]
pub(crate) fn push_each(symbols: &[Pushed], lanes: usize, states: &mut States, words: &mut [Word]) -> usize {
    let mut free = words.len();
    for (n, &symbol) in symbols.iter().enumerate().rev() {
        // A word is written, whether it counts or not.
        let (word, is_full) = push_one(symbol, &mut states[n & (lanes - 1)]);
        words[free - 1] = word.to_le_bytes();
        free -= usize::from(is_full);
    }
    words.len() - free
}

/// Codes one symbol; gives the low half of its state, and whether the state had to give it up.
#[inline(always)]
pub(super) fn push_one(symbol: Pushed, state: &mut u32) -> (u16, bool) {
    let before = *state;
    let is_full = before >= symbol.count() << (32 - TOTAL_BITS);
    *state = advance(core::hint::select_unpredictable(is_full, before >> 16, before), symbol);
    (before as u16, is_full)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auto::kernel::LOW;

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
