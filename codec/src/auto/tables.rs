//! What symbols a class has and how likely they are, from the shape of the payload: nothing of it is transmitted but the
//! shape.
//!
//! A value x of class k is x/Δ = y, whose distribution is a mixture of normals with deviations 2^(k/2) 2^(j/2). Its symbol
//! comes from q = round(y + u), and the decoder knows the dither u. So narrow classes have a table for every eighth of
//! |u|: the rate is the entropy of q *given u*, far below that of q alone where the step is coarse.

use alloc::{vec, vec::Vec};
use core::cell::Cell;

use super::normal::{ONE, tail};

/// Narrowest class: narrower ones are sampled, and then stand for this one.
pub(super) const NARROWEST: i32 = -4;
/// Widest class with tables for |u|.
pub(super) const WIDEST_DITHERED: i32 = 3;
/// Widest class of all.
pub(super) const WIDEST: i32 = 40;
/// Parts of |u| with tables of their own.
pub(super) const PARTS: usize = 8;
/// Pieces of the line that approximates the offset, over |u| from 0 to 1/2.
const PIECES: usize = 16;
/// Tails that are kept while tables are made: of all that can have symbols.
const SPAN: i64 = 32 * (MOST + 2);
/// Sum of the frequencies of a table.
const TOTAL_BITS: u32 = 12;
const TOTAL: u32 = 1 << TOTAL_BITS;
/// Largest magnitude that can have a symbol of its own.
const MOST: i64 = 31;
/// Components of a shape, half an octave apart, from 2^(-5/2) to 2^(6/2) of the class.
pub(super) const COMPONENTS: usize = 12;
/// The first of them.
pub(super) const FIRST: i32 = -5;
/// What the weights of a shape add up to.
pub(super) const WEIGHTS: u32 = 255;

/// Weights of the components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape(pub(super) [u8; COMPONENTS]);

/// What there is to know of a symbol to encode it: rANS with a reciprocal for the division (Alverson 1991; Giesen 2014).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Symbol {
    /// States from here on give up a word first.
    pub(super) most: u32,
    reciprocal: u64,
    bias: u32,
    complement: u32,
}

impl Symbol {
    fn new(start: u32, count: u32) -> Self {
        let most = if count == TOTAL { u32::MAX } else { count << (32 - TOTAL_BITS) };
        let complement = TOTAL - count;
        if count < 2 {
            // x / 1 as (x (2^64 - 1)) >> 64 = x - 1, for x of 1 and more.
            return Self { most, reciprocal: u64::MAX, bias: start + TOTAL - 1, complement };
        }
        // Exact for 32 bits: its error times the state is below 2^44.
        Self { most, reciprocal: u64::MAX / u64::from(count) + 1, bias: start, complement }
    }

    /// The state after this symbol.
    #[inline(always)]
    pub(super) fn push(&self, state: u32) -> u32 {
        let quotient = ((u128::from(state) * u128::from(self.reciprocal)) >> 64) as u32;
        state.wrapping_add(self.bias).wrapping_add(quotient * self.complement)
    }
}

/// Most symbols of a table, escape included.
const SYMBOLS: usize = 2 * MOST as usize + 2;

/// All tables that a payload needs, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    /// Symbols of a table are -half..=half, and the escape.
    halves: Vec<i32>,
    /// Where the frequencies begin, symbol after symbol from -half; the escape is the last; TOTAL at the end.
    starts: Vec<[u16; SYMBOLS + 2]>,
    /// The index of the symbol of every number below TOTAL.
    slots: Vec<[u8; TOTAL as usize]>,
    /// For every dithered class, the line that approximates the offset: at |u| = j/32, and from there to the next.
    offsets: Vec<[(f32, f32); PIECES]>,
}

/// What encoders need besides.
#[derive(Clone, Debug, Default)]
pub(super) struct Symbols {
    pub(super) halves: Vec<i32>,
    pub(super) symbols: Vec<[Symbol; SYMBOLS]>,
}

impl Shape {
    /// P(y > e / 32) for class `k`, times 2^24.
    fn tail(&self, e: i64, k: i32) -> u32 {
        let mut sum = 0;
        for (j, &weight) in (FIRST..).zip(&self.0) {
            if weight != 0 {
                sum += u32::from(weight) as u64 * u64::from(tail((e * scale(k + j)) >> 13));
            }
        }
        (sum / u64::from(WEIGHTS)) as u32
    }
}

/// 2^20 2^(-n/2), rounded to 20 binary digits.
fn scale(n: i32) -> i64 {
    let base = if n & 1 == 0 { 1 << 20 } else { 1_482_910 };
    let octaves = (n + 1) >> 1;
    if octaves >= 0 { base >> octaves } else { base << -octaves }
}

/// Low bits of q that are sent as they are: so many that what is left is of class 4 or 5.
pub(super) fn raw_bits(class: i32) -> u32 {
    (class.max(4) as u32 - 4) / 2
}

/// Which table: from the class, and the part of |u|.
#[inline(always)]
pub(super) fn index(class: i32, part: usize) -> usize {
    if class <= WIDEST_DITHERED {
        (class - NARROWEST) as usize * PARTS + part
    } else {
        DITHERED * PARTS + (class - WIDEST_DITHERED - 1) as usize
    }
}

const DITHERED: usize = (WIDEST_DITHERED - NARROWEST + 1) as usize;

impl Tables {
    /// The tables of all classes up to `widest`.
    pub(super) fn new(shape: &Shape, widest: i32) -> Self {
        let mut tables = Self { halves: Vec::new(), starts: Vec::new(), slots: Vec::new(), offsets: Vec::new() };
        for class in NARROWEST..=widest.max(NARROWEST) {
            if class > WIDEST_DITHERED {
                tables.push(wide(shape, class));
                continue;
            }
            // P(q >= m) at u = i/32, which several parts of |u| ask for.
            let known = vec![Cell::new(u32::MAX); 2 * SPAN as usize];
            let above = |m: i64, i: i64| {
                let e = 32 * m - 16 - i;
                let Some(known) = known.get((e + SPAN) as usize) else { return shape.tail(e, class) };
                if known.get() == u32::MAX {
                    known.set(shape.tail(e, class));
                }
                known.get()
            };
            for part in 0..PARTS as i64 {
                tables.push(|m| {
                    let at = |i| above(m, 2 * part + i);
                    (at(0) + 4 * at(1) + at(2)) / 6
                });
            }
            // E[q | u] = Σ P(q >= m) - P(q <= -m)
            let mean = |i: i64| {
                let terms = (1..).map(|m| (above(m, i), above(m, -i))).take_while(|&(up, down)| up + down != 0);
                let sum = terms.map(|(up, down)| i64::from(up) - i64::from(down)).sum::<i64>();
                (sum as f64 / f64::from(ONE)) as f32
            };
            let at: [f32; PIECES + 1] = core::array::from_fn(|i| mean(i as i64));
            tables.offsets.push(core::array::from_fn(|j| (at[j], at[j + 1] - at[j])));
        }
        tables
    }

    /// Adds the table of a symbol h of which `above` gives P(h >= m), times 2^24.
    fn push(&mut self, above: impl Fn(i64) -> u32) {
        let outside = |half: i64| above(half + 1) + (ONE - above(-half));
        let half = (1..MOST).find(|&half| outside(half) <= ONE >> 12).unwrap_or(MOST);
        let mut counts = [0; SYMBOLS];
        let len = 2 * half as usize + 2;
        let count = |chance: u32| (((chance >> 11) + 1) >> 1).max(1);
        let mut last = above(-half);
        for (count_of, m) in counts.iter_mut().zip(-half..=half) {
            let next = above(m + 1);
            *count_of = count(last - next);
            last = next;
        }
        counts[len - 1] = count(outside(half));
        let largest = (0..len).rev().max_by_key(|&at| counts[at]).unwrap_or_default();
        counts[largest] = TOTAL + counts[largest] - counts.iter().sum::<u32>();
        let mut starts = [TOTAL as u16; SYMBOLS + 2];
        let mut slots = [0; TOTAL as usize];
        let mut start = 0;
        for (symbol, &count) in counts[..len].iter().enumerate() {
            starts[symbol] = start as u16;
            let end = start + count as usize;
            slots[start..end].fill(symbol as u8);
            start = end;
        }
        self.halves.push(half as i32);
        self.starts.push(starts);
        self.slots.push(slots);
    }

    /// Symbols of table `index` are -half..=half, and then the escape.
    #[inline(always)]
    pub(super) fn half(&self, index: usize) -> i32 {
        self.halves[index]
    }

    /// The index of the symbol that a state says is next, and the state behind it.
    #[inline(always)]
    pub(super) fn pop(&self, index: usize, state: u32) -> (usize, u32) {
        let slot = state & (TOTAL - 1);
        let symbol = usize::from(self.slots[index][slot as usize]);
        let starts = &self.starts[index];
        let (from, to) = (u32::from(starts[symbol]), u32::from(starts[symbol + 1]));
        (symbol, (to - from) * (state >> TOTAL_BITS) + slot - from)
    }

    /// -E[q | u]: what the dither adds to q on average. Adding it to q leaves q unbiased, as it is odd in u, and has the
    /// least error of all that do. It tends to -u, subtractive dither, as classes grow wide.
    #[inline(always)]
    pub(super) fn offset(&self, class: i32, dither: Noise) -> f32 {
        let size = if class <= WIDEST_DITHERED {
            let (start, rise) = self.offsets[(class - NARROWEST) as usize][dither.size as usize >> 11];
            start + rise * (((dither.size & 2047) as f32 + 0.5) / 2048.0)
        } else {
            (dither.size as f32 + 0.5) / 65_536.0
        };
        if dither.negative { size } else { -size }
    }

    /// Mean bits of a symbol of table `index`, if the table is right.
    pub(super) fn entropy(&self, index: usize) -> f64 {
        let term = |pair: &[u16]| {
            let chance = f64::from(pair[1] - pair[0]) / f64::from(TOTAL);
            if chance > 0.0 { -chance * libm::log2(chance) } else { 0.0 }
        };
        self.starts[index].windows(2).map(term).sum()
    }

    /// What encoders need.
    pub(super) fn symbols(&self) -> Symbols {
        let of = |starts: &[u16; SYMBOLS + 2]| {
            core::array::from_fn(|at| match starts[at + 1] - starts[at] {
                0 => Symbol::default(),
                count => Symbol::new(starts[at].into(), count.into()),
            })
        };
        Symbols { halves: self.halves.clone(), symbols: self.starts.iter().map(of).collect() }
    }
}

/// The dither u = ± (size + 1/2) / 2^16.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    pub(super) negative: bool,
    size: u16,
}

impl Noise {
    #[inline(always)]
    pub(super) fn new(bits: u32) -> Self {
        let bits = bits as u16;
        let negative = bits < 0x8000;
        Self { negative, size: if negative { 0x7fff - bits } else { bits - 0x8000 } }
    }

    #[inline(always)]
    pub(super) fn part(self) -> usize {
        usize::from(self.size >> 12)
    }

    pub(super) fn value(self) -> f32 {
        let size = (f32::from(self.size) + 0.5) / 65_536.0;
        if self.negative { -size } else { size }
    }
}

/// P(h >= m) for the symbol h of a class without tables for |u|: q without its raw bits.
fn wide(shape: &Shape, class: i32) -> impl Fn(i64) -> u32 {
    let raw = raw_bits(class);
    move |m| {
        let edge = 32 * m - (16 >> raw);
        let at = |e: i64| shape.tail(e, class - 2 * raw as i32);
        let half = 16 >> raw;
        (at(edge - half) + 4 * at(edge) + at(edge + half)) / 6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes() -> [Shape; 3] {
        let normal = core::array::from_fn(|j| if j == 5 { 255 } else { 0 });
        let heavy = [10, 20, 30, 40, 40, 40, 30, 20, 10, 5, 5, 5];
        [Shape(normal), Shape(heavy), Shape(core::array::from_fn(|j| if j == 11 { 255 } else { 0 }))]
    }

    #[test]
    fn frequencies_fill_every_table_and_symbols_come_back() {
        for shape in shapes() {
            let tables = Tables::new(&shape, WIDEST);
            let symbols = tables.symbols();
            for (index, starts) in tables.starts.iter().enumerate() {
                let escape = 2 * tables.half(index) as usize + 1;
                assert_eq!(u32::from(starts[escape + 1]), TOTAL);
                assert!(starts[..escape + 2].is_sorted_by(|a, b| a < b), "every symbol has a frequency");
                for symbol in 0..=escape {
                    for state in [1 << 16, 65_537, 1_000_003, 1 << 20, u32::MAX] {
                        let state = state.min(symbols.symbols[index][symbol].most - 1);
                        assert_eq!(tables.pop(index, symbols.symbols[index][symbol].push(state)), (symbol, state));
                    }
                }
            }
        }
    }

    #[test]
    fn offsets_run_from_none_to_half_a_step() {
        for shape in shapes() {
            for line in Tables::new(&shape, WIDEST).offsets {
                assert_eq!(line[0].0, 0.0);
                let (start, rise) = line[PIECES - 1];
                assert!((start + rise - 0.5).abs() < 1e-3, "{line:?}");
            }
        }
    }
}
