//! What is looked up of the tables: by decoders from a state, by encoders from a number.
//!
//! Absent on purpose: where frequencies come from (`tables`), and what is done with them (`kernel`, `push`).

use alloc::{boxed::Box, vec};

use super::{
    keys::Key,
    push::Pushed,
    tables::{DITHERED, MOST, MOST_TABLES, NARROWEST, PARTS, Shape, TOTAL, TOTAL_BITS, Tables, WIDEST_DITHERED},
};
use crate::simd::Kernels;

/// Pieces of the line that approximates the offset, over |u| from 0 to 1/2.
pub(super) const PIECES: usize = 16;
/// More than there are pieces of offsets: a mask keeps indices below.
const LINES: usize = 256;

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
    /// Bits of each of them, or [`Pushes::NO_COST`].
    costs: Box<[f32; Self::LEN]>,
    escapes: [Pushed; MOST_TABLES],
    halves: [i32; MOST_TABLES],
}

impl Default for Pushes {
    fn default() -> Self {
        Self { symbols: zeros(), costs: zeros(), escapes: [Pushed::NONE; MOST_TABLES], halves: [0; MOST_TABLES] }
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
            for (cost, &symbol) in self.costs[64 * table..].iter_mut().zip(&*to) {
                *cost = if symbol == Pushed::NONE { Self::NO_COST } else { symbol.bits() };
            }
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
        Self::no_place(table) | if inside { high } else { 0 }
    }

    /// Where [`Pushed::NONE`] is in a table.
    #[inline(always)]
    pub(super) fn no_place(table: usize) -> u32 {
        (table as u32) << 6
    }

    /// The symbols at all places.
    pub(super) fn all(&self) -> &[Pushed; Self::LEN] {
        &self.symbols
    }

    /// What they cost.
    pub(super) fn costs(&self) -> &[f32; Self::LEN] {
        &self.costs
    }

    /// The escape of a table, and how far its symbols go.
    pub(super) fn escape(&self, table: usize) -> (Pushed, i32) {
        (self.escapes[table & (MOST_TABLES - 1)], self.halves[table & (MOST_TABLES - 1)])
    }
}

impl Tables {
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
    /// The cost of what has no symbol.
    const NO_COST: f32 = -1.0;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auto::{normal::SPAN, push::push_one, tables::WIDEST},
        simd::Backend,
    };

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
                        assert!(!push_one(found.0, &mut next).1);
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
