//! What symbols a class has and how likely they are, from the shape of the payload: nothing of it is transmitted but the
//! shape.
//!
//! A value x of class k is x/Δ = y, whose distribution is a mixture of normals with deviations 2^(k/2) 2^(j/2). Its symbol
//! comes from q = round(y + u), and the decoder knows the dither u. So narrow classes have a table for every eighth of
//! |u|: the rate is the entropy of q *given u*, far below that of q alone where the step is coarse.

use alloc::{boxed::Box, vec, vec::Vec};

use super::{
    kernel::Pushed,
    keys::Key,
    normal::{NARROWEST_DEVIATION, ONE, SPAN, TAILS, Tails, tail_at},
};
use crate::simd::Kernels;

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
/// Sum of the frequencies of a table.
pub(super) const TOTAL_BITS: u32 = 12;
const TOTAL: u32 = 1 << TOTAL_BITS;
/// Largest magnitude that can have a symbol of its own.
const MOST: i64 = 31;
/// Components of a shape, half an octave apart, from 2^(-5/2) to 2^(6/2) of the class.
pub(crate) const COMPONENTS: usize = 12;
/// The first of them.
pub(super) const FIRST: i32 = -5;
/// What the weights of a shape add up to.
pub(super) const WEIGHTS: u32 = 255;

/// Weights of the components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape(pub(super) [u8; COMPONENTS]);

/// Most symbols of a table, escape included.
const SYMBOLS: usize = 2 * MOST as usize + 2;

/// All tables that a payload needs, one after the other. Holds memory from one payload to the next.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    /// Symbols of a table are -half..=half, and the escape.
    halves: Vec<i32>,
    /// Where the frequencies begin, symbol after symbol from -half; the escape is the last; TOTAL at the end.
    starts: Vec<[u16; SYMBOLS + 2]>,
    /// What classes are made of: all that have no tables for |u|, without their raw bits, are one of two.
    tails: [Tails; 2],
}

/// What decoders look up.
#[derive(Clone, Debug)]
pub(crate) struct Pops {
    /// The index of the symbol of every number below TOTAL, four in one.
    slots: Box<[u32; Self::LEN]>,
    /// For every symbol of every table: its frequency, where that begins, and the symbol or [`Pops::ESCAPE`], in 12, 12 and
    /// 8 bits.
    symbols: Box<[u32; Pushes::LEN]>,
    halves: [i32; MOST_TABLES],
    /// The offset: at the beginning of every piece, and how much more at the next.
    offsets: [f32; LINES],
    rises: [f32; LINES],
}

/// What encoders look up.
#[derive(Clone, Debug)]
pub(crate) struct Pushes {
    /// For every table, [`Pushed::NONE`] and then the symbols from -31 to 31, where there are such.
    symbols: Box<[Pushed; Self::LEN]>,
    escapes: [Pushed; MOST_TABLES],
    halves: [i32; MOST_TABLES],
}

impl Default for Pushes {
    fn default() -> Self {
        Self { symbols: zeros(), escapes: [Pushed::NONE; MOST_TABLES], halves: [0; MOST_TABLES] }
    }
}

impl Pushes {
    /// Takes on the symbols of `tables`.
    pub(super) fn fill(&mut self, tables: &Tables) {
        for (table, (to, &half)) in self.symbols.as_chunks_mut::<64>().0.iter_mut().zip(&tables.halves).enumerate() {
            let mut all = tables.ranges(table).map(|(start, count)| Pushed::new(start, count));
            let first = 1 + (MOST as i32 - half) as usize;
            to.fill(Pushed::NONE);
            to[first..].iter_mut().zip(all.by_ref().take(2 * half as usize + 1)).for_each(|(to, symbol)| *to = symbol);
            self.escapes[table] = all.next().unwrap_or_default();
            self.halves[table] = half;
        }
    }

    /// The symbol for `high` in a table, or [`Pushed::NONE`].
    #[inline(always)]
    pub(super) fn symbol(&self, table: usize, high: i32) -> Pushed {
        self.symbols[Self::place(table, high) as usize & (Self::LEN - 1)]
    }

    /// Where the symbol for `high` in a table is.
    #[inline(always)]
    pub(super) fn place(table: usize, high: i32) -> u32 {
        let high = high.wrapping_add(MOST as i32 + 1) as u32;
        let inside = high.wrapping_sub(1) <= 2 * MOST as u32;
        (table as u32) << 6 | if inside { high } else { 0 }
    }

    /// The symbols at all places.
    pub(super) fn all(&self) -> &[Pushed; Self::LEN] {
        &self.symbols
    }

    /// The escape of a table, and how far its symbols go.
    pub(super) fn escape(&self, table: usize) -> (Pushed, i32) {
        (self.escapes[table & (MOST_TABLES - 1)], self.halves[table & (MOST_TABLES - 1)])
    }
}

impl Default for Shape {
    /// That of a normal distribution.
    fn default() -> Self {
        Self(core::array::from_fn(|j| if j as i32 == -FIRST { WEIGHTS as u8 } else { 0 }))
    }
}

impl Shape {
    /// P(y > e / 32) for class `k`, times 2^24.
    fn tail(&self, e: i64, k: i32) -> u32 {
        let terms = (FIRST..).zip(&self.0).map(|(j, &weight)| u32::from(weight) * tail_at(e, k + j));
        terms.sum::<u32>() / WEIGHTS
    }

    /// E[q | u = i / 32] for class `k`, whose tails are `tails`: Σ P(q >= m) - P(q <= -m).
    fn mean(&self, tails: &Tails, i: i64, k: i32) -> f32 {
        let at = |e: i64| match tails.get((e + SPAN as i64) as usize) {
            Some(&tail) => tail,
            None => self.tail(e, k),
        };
        let terms = (1..).map(|m| (at(32 * m - 16 - i), at(32 * m - 16 + i)));
        let terms = terms.take_while(|&(up, down)| up + down != 0);
        let sum = terms.map(|(up, down)| i64::from(up) - i64::from(down)).sum::<i64>();
        (sum as f64 / f64::from(ONE)) as f32
    }

    /// [`Shape::tail`] for all e that symbols need.
    fn tails(&self, kernels: Kernels, k: i32, out: &mut Tails) {
        let first = (k + FIRST - NARROWEST_DEVIATION) as usize;
        let Some(components) = TAILS[first..].first_chunk() else { return };
        kernels.mix(components, &self.0, out);
    }
}

/// Mixes the tails of components by their weights. No sum is beyond 32 bits.
#[inline(always)]
pub(crate) fn mix(components: &[Tails; COMPONENTS], weights: &[u8; COMPONENTS], out: &mut Tails) {
    for (at, out) in out.iter_mut().enumerate() {
        let mut sum = 0;
        for (tails, &weight) in components.iter().zip(weights) {
            sum += u32::from(weight) * tails[at];
        }
        *out = sum / WEIGHTS;
    }
}

/// Low bits of q that are sent as they are: so many that what is left is of class 4 or 5.
pub(super) fn raw_bits(class: i32) -> u32 {
    (class.max(4) as u32 - 4) / 2
}

/// Which table: from the class, as if it were the narrowest if it is narrower, and the part of |u|.
#[inline(always)]
pub(super) fn index(class: i32, part: usize) -> usize {
    if class <= WIDEST_DITHERED {
        (class - NARROWEST).max(0) as usize * PARTS + part
    } else {
        UNDITHERED + (class - WIDEST_DITHERED - 1) as usize
    }
}

/// Raw bits of the class of a table.
#[inline(always)]
pub(super) fn raw_bits_of(table: usize) -> u32 {
    table.saturating_sub(UNDITHERED) as u32 / 2
}

/// Classes with tables for |u|.
const DITHERED: usize = (WIDEST_DITHERED - NARROWEST + 1) as usize;
/// The first table that is not for a part of |u|.
pub(super) const UNDITHERED: usize = DITHERED * PARTS;
/// The first table of a class with raw bits.
pub(super) const FIRST_RAW: usize = UNDITHERED + 2;
/// More than there are tables, and than pieces of offsets: masks keep indices below.
pub(super) const MOST_TABLES: usize = 128;
const LINES: usize = 256;

impl Default for Tables {
    fn default() -> Self {
        Self { halves: Vec::new(), starts: Vec::new(), tails: [[0; 2 * SPAN + 1]; 2] }
    }
}

impl Tables {
    /// Makes the tables of all classes up to `widest`.
    pub(super) fn make(&mut self, kernels: Kernels, shape: &Shape, widest: i32) {
        self.halves.clear();
        self.starts.clear();
        let mut tails = self.tails;
        let at = |tails: &Tails, e: i64| tails[(e + SPAN as i64) as usize];
        for class in NARROWEST..=widest.clamp(NARROWEST, WIDEST_DITHERED) {
            shape.tails(kernels, class, &mut tails[0]);
            for part in 0..PARTS as i64 {
                self.push(|m| {
                    // P(q >= m) at u = i/32
                    let at = |i| at(&tails[0], 32 * m - 16 - i);
                    (at(2 * part) + 4 * at(2 * part + 1) + at(2 * part + 2)) / 6
                });
            }
        }
        let wide = WIDEST_DITHERED + 1..=widest;
        for (class, tails) in wide.clone().zip(&mut tails) {
            shape.tails(kernels, class, tails);
        }
        for class in wide {
            // P(h >= m) for q without its raw bits.
            let (half, tails) = (16 >> raw_bits(class), &tails[(class - WIDEST_DITHERED - 1) as usize & 1]);
            self.push(|m| {
                let edge = 32 * m - half;
                (at(tails, edge - half) + 4 * at(tails, edge) + at(tails, edge + half)) / 6
            });
        }
        self.tails = tails;
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
        let mut start = 0;
        for (symbol, &count) in counts[..len].iter().enumerate() {
            starts[symbol] = start as u16;
            start += count;
        }
        self.halves.push(half as i32);
        self.starts.push(starts);
    }

    /// The frequencies of table `index`, with where they begin.
    fn ranges(&self, index: usize) -> impl Iterator<Item = (u32, u32)> {
        let symbols = 2 * self.halves[index] as usize + 2;
        self.starts[index][..=symbols].windows(2).map(|pair| (pair[0].into(), u32::from(pair[1] - pair[0])))
    }

    fn all_halves(&self) -> [i32; MOST_TABLES] {
        core::array::from_fn(|table| self.halves.get(table).copied().unwrap_or_default())
    }

    /// What decoders look up, of tables of this shape up to this class.
    pub(super) fn pops(&mut self, kernels: Kernels, shape: &Shape, widest: i32) -> Pops {
        let mut slots = zeros();
        let mut symbols = [0; TOTAL as usize];
        for (table, slots) in slots.chunks_exact_mut(TOTAL as usize / 4).enumerate().take(self.halves.len()) {
            for (symbol, (start, count)) in (0..).zip(self.ranges(table)) {
                symbols[start as usize..][..count as usize].fill(symbol);
            }
            for (slot, symbols) in slots.iter_mut().zip(symbols.as_chunks::<4>().0) {
                *slot = u32::from_le_bytes(*symbols);
            }
        }
        let symbols = self.each_symbol(|half, symbol, start, count| {
            let high = if symbol > 2 * half { Pops::ESCAPE } else { symbol - half };
            count << 20 | start << 8 | u32::from(high as u8)
        });
        let mut pops = Pops { slots, symbols, halves: self.all_halves(), offsets: [0.0; LINES], rises: [0.0; LINES] };
        for (class, at) in (NARROWEST..=widest.clamp(NARROWEST, WIDEST_DITHERED)).zip((0..).step_by(PIECES)) {
            shape.tails(kernels, class, &mut self.tails[0]);
            let means: [f32; PIECES + 1] = core::array::from_fn(|i| shape.mean(&self.tails[0], i as i64, class));
            for (at, piece) in (at..).zip(means.windows(2)) {
                (pops.offsets[at], pops.rises[at]) = (piece[0], piece[1] - piece[0]);
            }
        }
        // Behind the dithered classes, the offset of all others: |u|.
        for (at, piece) in (DITHERED * PIECES..).zip(0..PIECES) {
            (pops.offsets[at], pops.rises[at]) = (piece as f32 / 32.0, 1.0 / 32.0);
        }
        pops
    }

    /// What `f` makes of half, symbol, start and count, 64 for every table.
    fn each_symbol(&self, f: impl Fn(i32, i32, u32, u32) -> u32) -> Box<[u32; Pushes::LEN]> {
        let mut out = zeros();
        for (table, &half) in self.halves.iter().enumerate() {
            for ((out, symbol), (start, count)) in out[64 * table..].iter_mut().zip(0..).zip(self.ranges(table)) {
                *out = f(half, symbol, start, count);
            }
        }
        out
    }
}

/// An array of defaults on the heap.
fn zeros<T: Clone + Default, const LEN: usize>() -> Box<[T; LEN]> {
    let Ok(array) = vec![T::default(); LEN].into_boxed_slice().try_into() else { unreachable!("it has this length") };
    array
}

impl Pushes {
    /// Places: 64 for every table.
    pub(crate) const LEN: usize = 64 * MOST_TABLES;
}

impl Pops {
    const LEN: usize = MOST_TABLES << (TOTAL_BITS - 2);
    /// Stands for the symbol that is none of -half..=half.
    pub(super) const ESCAPE: i32 = -128;

    /// Of the symbol that a state says is next: itself, its frequency, and how far into it the state is.
    #[inline(always)]
    pub(super) fn pop(&self, table: usize, state: u32) -> (i32, u32, u32) {
        let slot = state & (TOTAL - 1);
        let four = self.slots[((table as u32) << (TOTAL_BITS - 2) | slot >> 2) as usize & (Self::LEN - 1)];
        let symbol = four >> (8 * (slot & 3)) & 63;
        let symbol = self.symbols[((table as u32) << 6 | symbol) as usize & (Pushes::LEN - 1)];
        (i32::from(symbol as i8), symbol >> 20, slot.wrapping_sub(symbol >> 8 & (TOTAL - 1)))
    }

    /// Symbols of a table are -half..=half, and then the escape.
    #[inline(always)]
    pub(super) fn half(&self, table: usize) -> i32 {
        self.halves[table & (MOST_TABLES - 1)]
    }

    /// -E[q | u]: what the dither adds to q on average. Adding it to q leaves q unbiased, as it is odd in u, and has the
    /// least error of all that do. It tends to -u, subtractive dither, as classes grow wide.
    #[inline(always)]
    pub(super) fn offset(&self, key: Key) -> f32 {
        let noise = key.noise();
        let line = ((key.table() / PARTS).min(DITHERED) * PIECES + (noise.size >> 11) as usize) & (LINES - 1);
        let within = ((noise.size & 2047) as f32 + 0.5) / 2048.0;
        let size = self.offsets[line] + self.rises[line] * within;
        if noise.negative { size } else { -size }
    }
}

/// The dither u = ± (size + 1/2) / 2^16.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    pub(super) negative: bool,
    size: u32,
}

impl Noise {
    #[inline(always)]
    pub(super) fn new(bits: u32) -> Self {
        let negative = bits < 0x8000;
        Self { negative, size: bits ^ if negative { 0x7fff } else { 0x8000 } }
    }

    #[inline(always)]
    pub(super) fn part(self) -> usize {
        (self.size >> 12) as usize
    }

    #[inline(always)]
    pub(super) fn value(self) -> f32 {
        let size = (self.size as f32 + 0.5) / 65_536.0;
        if self.negative { -size } else { size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auto::kernel::push_one, simd::Backend};

    fn shapes() -> [Shape; 3] {
        let normal = core::array::from_fn(|j| if j == 5 { 255 } else { 0 });
        let heavy = [10, 20, 30, 40, 40, 40, 30, 20, 10, 5, 5, 5];
        [Shape(normal), Shape(heavy), Shape(core::array::from_fn(|j| if j == 11 { 255 } else { 0 }))]
    }

    #[test]
    fn frequencies_fill_every_table_and_symbols_come_back() {
        for shape in shapes() {
            let mut tables = Tables::default();
            let kernels = Kernels::new(Backend::detect());
            tables.make(kernels, &shape, WIDEST);
            let mut pushes = Pushes::default();
            pushes.fill(&tables);
            let pops = tables.pops(kernels, &shape, WIDEST);
            assert!(tables.halves.len() <= MOST_TABLES);
            for table in 0..tables.halves.len() {
                let half = tables.halves[table];
                assert_eq!(tables.ranges(table).map(|(_, count)| count).sum::<u32>(), TOTAL);
                for (symbol, (start, count)) in tables.ranges(table).enumerate() {
                    assert!(count > 0, "every symbol has a frequency");
                    for state in [1 << 16, 65_537, 1_000_003, 1 << 20, u32::MAX] {
                        let state = state.min((count << (32 - TOTAL_BITS)) - 1);
                        let mut next = state;
                        let found = if symbol as i32 > 2 * half {
                            pushes.escape(table)
                        } else {
                            (pushes.symbol(table, symbol as i32 - half), half)
                        };
                        assert_eq!(found, (Pushed::new(start, count), half));
                        assert_eq!(push_one(found.0, &mut next), None);
                        let (found, count, rest) = pops.pop(table, next);
                        let high = if symbol as i32 > 2 * half { Pops::ESCAPE } else { symbol as i32 - half };
                        assert_eq!((found, count * (next >> TOTAL_BITS) + rest), (high, state));
                    }
                }
            }
        }
    }

    #[test]
    fn offsets_run_from_none_to_half_a_step() {
        for shape in shapes() {
            for class in NARROWEST..=WIDEST_DITHERED {
                let mut tails = [0; 2 * SPAN + 1];
                shape.tails(Kernels::new(Backend::detect()), class, &mut tails);
                assert_eq!(shape.mean(&tails, 0, class), 0.0);
                assert!((shape.mean(&tails, PIECES as i64, class) - 0.5).abs() < 1e-3, "{class}");
            }
        }
    }
}
