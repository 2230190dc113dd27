//! The lanes of a chunk: how many rANS states it has side by side, and how these begin and end.
//!
//! A decoder's states begin with what an encoder's ended with, anything from 2^16 on; they end between 2^16 and 2^17, with what
//! the encoder's began with. These sixteen bits a lane are free: where lanes are many, they hold the *tail*, the last symbols of
//! the chunk, coded in one lane of their own.
//!
//! ```text
//! heads:  low half of every state: u16 ... | symbols of the tail: 10 bits | upper half of every state: its length, 4 bits, and
//!         as many bits ... | zeros up to a whole byte
//! tail:   state: u32 | words: u16 ... | zeros
//! ```
//!
//! Absent on purpose: symbols (`kernel`, `push`), and the words between the ends (`chunk`).

use alloc::vec::Vec;

use super::{
    kernel::{LANES, LOW, SHORT},
    push::{Pushed, Word, push_one},
};

/// Lanes of a chunk with many symbols: two of what kernels take at once, so that one need not wait for the other.
pub(crate) const MOST_LANES: usize = 2 * LANES;
/// From how many symbols on a chunk has twice as many lanes as one of fewer: the more, the faster, and each costs half a byte.
const DOUBLED_AT: [usize; 5] = [4096, 8192, 12_288, 16_384, 32_768];
/// Fewer lanes than these have no tail: it would hold little more than its own state.
const LEAST_WITH_TAIL: usize = 4;
/// Bits of the number of symbols in a tail.
const TAIL_BITS: u32 = 10;
/// Bits of the length of a state's upper half.
const LENGTH_BITS: u32 = 4;

/// The states of all lanes.
pub(crate) type States = [u32; MOST_LANES];

/// Lanes of a chunk with so many symbols.
pub(super) fn lanes(symbols: usize) -> usize {
    DOUBLED_AT.iter().fold(1, |lanes, &from| if symbols >= from { 2 * lanes } else { lanes })
}

/// What the lanes of a chunk with so many symbols cost, beyond what symbols do, about.
pub(super) fn bytes_of_lanes(symbols: usize) -> f64 {
    let lanes = lanes(symbols);
    match symbols {
        0 => 0.0,
        // Of every state, sixteen bits at its beginning or half a byte at its end.
        _ if lanes < LEAST_WITH_TAIL => 1.5 * lanes as f64,
        _ => 4.0 + 0.5 * lanes as f64,
    }
}

/// Appends the heads of so many lanes, and how many symbols are in their tail.
pub(super) fn put_heads(states: &States, lanes: usize, tail: usize, out: &mut Vec<u8>) {
    let (mut held, mut count) = (0u32, 0);
    let mut put = |bits: u32, more: u32, out: &mut Vec<u8>| {
        held |= bits << count;
        count += more;
        while count >= 8 {
            out.push(held as u8);
            (held, count) = (held >> 8, count - 8);
        }
    };
    out.extend(states[..lanes].iter().flat_map(|state| (*state as u16).to_le_bytes()));
    if lanes >= LEAST_WITH_TAIL {
        put(tail as u32, TAIL_BITS, out);
    }
    for state in &states[..lanes] {
        let upper = state >> 16;
        let len = upper.ilog2();
        put(len, LENGTH_BITS, out);
        put(upper ^ 1 << len, len, out);
    }
    put(0, 7, out);
}

/// Reads the heads of so many lanes: their states, how many symbols are in their tail, and what is behind them.
pub(super) fn read_heads(body: &[u8], lanes: usize) -> Result<(States, usize, &[u8]), &'static str> {
    let (lows, bits) = body.split_at_checked(2 * lanes).ok_or(SHORT)?;
    let mut bits = Bits { bytes: bits, at: 0 };
    let tail = if lanes >= LEAST_WITH_TAIL { bits.take(TAIL_BITS) as usize } else { 0 };
    let mut states = [LOW; MOST_LANES];
    for (state, low) in states.iter_mut().zip(lows.as_chunks::<2>().0) {
        let len = bits.take(LENGTH_BITS);
        *state = (1 << len | bits.take(len)) << 16 | u32::from(u16::from_le_bytes(*low));
    }
    Ok((states, tail, bits.rest()?))
}

/// Bits from the front, lowest first; behind the end there are zeros.
struct Bits<'a> {
    bytes: &'a [u8],
    /// Bits that were taken.
    at: usize,
}

impl<'a> Bits<'a> {
    /// The next `count` bits, at most 17.
    fn take(&mut self, count: u32) -> u32 {
        let byte = |more: usize| self.bytes.get(self.at / 8 + more).copied().unwrap_or_default();
        let three = u32::from_le_bytes([byte(0), byte(1), byte(2), 0]);
        let taken = three >> (self.at % 8) & ((1 << count) - 1);
        self.at += count as usize;
        taken
    }

    /// The bytes behind the last bit, in whose byte nothing but zeros may follow.
    fn rest(mut self) -> Result<&'a [u8], &'static str> {
        let left = self.at.next_multiple_of(8) - self.at;
        match self.take(left as u32) {
            0 => self.bytes.get(self.at / 8..).ok_or(SHORT),
            _ => Err("states: bits left over"),
        }
    }
}

/// Begins the states of so many lanes with as many of the last symbols as they hold; returns how many those are.
pub(super) fn put_tail(symbols: &[Pushed], lanes: usize, states: &mut States) -> usize {
    *states = [LOW; MOST_LANES];
    if lanes < LEAST_WITH_TAIL {
        return 0;
    }
    let (mut state, mut words, mut used) = (LOW, [0; MOST_LANES], 0);
    let mut tail = 0;
    for &symbol in symbols.iter().rev().take((1 << TAIL_BITS) - 1) {
        let mut next = state;
        let (word, is_full) = push_one(symbol, &mut next);
        if is_full {
            if used == lanes - 2 {
                break;
            }
            words[used] = word;
            used += 1;
        }
        state = next;
        tail += 1;
    }
    let own = [state as u16, (state >> 16) as u16];
    let all = own.iter().chain(words[..used].iter().rev());
    states.iter_mut().zip(all).for_each(|(state, &word)| *state = LOW | u32::from(word));
    tail
}

/// What a decoder's states ended with.
pub(super) struct Tail {
    /// The state of its one lane.
    pub(super) state: u32,
    words: [Word; MOST_LANES],
    len: usize,
}

impl Tail {
    /// Reads the ends of so many lanes; of few, there is nothing in them.
    pub(super) fn read(states: &States, lanes: usize) -> Result<Self, &'static str> {
        if states[..lanes].iter().any(|state| state >> 16 != 1) {
            return Err("state: not where it may begin");
        }
        let word = |lane: usize| states[lane] & 0xffff;
        if lanes < LEAST_WITH_TAIL {
            let ends = states[..lanes].iter().all(|&state| state == LOW);
            let none = Self { state: LOW, words: [[0; 2]; MOST_LANES], len: 0 };
            return if ends { Ok(none) } else { Err("state: not where it began") };
        }
        let state = word(0) | word(1) << 16;
        if state < LOW {
            return Err("state: below 2^16");
        }
        let mut words = [[0; 2]; MOST_LANES];
        let len = lanes - 2;
        for (to, lane) in words[..len].iter_mut().zip(2..) {
            *to = (word(lane) as u16).to_le_bytes();
        }
        Ok(Self { state, words, len })
    }

    /// The words that its lane takes.
    pub(super) fn words(&self) -> &[u8] {
        self.words[..self.len].as_flattened()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back() {
        for lanes in [1, 2, 4, 8, 16, 32] {
            let mut states = [LOW; MOST_LANES];
            for (at, state) in states[..lanes].iter_mut().enumerate() {
                *state = u32::MAX >> (at % 16) ^ (at as u32 * 77);
            }
            let tail = if lanes >= LEAST_WITH_TAIL { 397 } else { 0 };
            let mut bytes = Vec::new();
            put_heads(&states, lanes, tail, &mut bytes);
            let len = bytes.len();
            bytes.extend([1, 2, 3]);
            assert_eq!(read_heads(&bytes, lanes), Ok((states, tail, &[1u8, 2, 3][..])), "{lanes}");
            assert!(read_heads(&bytes[..len - 1], lanes).is_err());
        }
    }

    #[test]
    fn a_tail_comes_back_from_the_states_that_it_began() {
        let symbols: Vec<Pushed> = (0..600).map(|at| Pushed::new(at % 7 * 300, 1 + at % 300)).collect();
        for lanes in [1, 2, 4, 8, 16, 32] {
            let mut states = [0; MOST_LANES];
            let tail = put_tail(&symbols, lanes, &mut states);
            assert!(tail >= lanes / LEAST_WITH_TAIL, "{lanes}: {tail}");
            let Tail { state, words, len } = Tail::read(&states, lanes).unwrap();
            let (mut state, mut words) = (state, words[..len].iter());
            for symbol in &symbols[symbols.len() - tail..] {
                let (start, count) = symbol.place();
                assert!((start..start + count).contains(&(state & 0xfff)));
                state = count * (state >> 12) + (state & 0xfff) - start;
                if state < LOW {
                    state = state << 16 | u32::from(u16::from_le_bytes(*words.next().unwrap()));
                }
            }
            assert_eq!((state, words.all(|word| *word == [0; 2])), (LOW, true), "{lanes}");
        }
    }
}
