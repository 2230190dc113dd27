//! What symbols a class has and how likely they are, from the shape of the payload: nothing of it is transmitted but the
//! shape.
//!
//! A value x of class k is x/Δ = y, whose distribution is a mixture of normals with deviations 2^(k/2) 2^(j/2). Its symbol
//! comes from q = round(y + u), and the decoder knows the dither u. So narrow classes have a table for every eighth of
//! |u|: the rate is the entropy of q *given u*, far below that of q alone where the step is coarse.

use alloc::{boxed::Box, vec, vec::Vec};

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
/// Sum of the frequencies of a table.
pub(super) const TOTAL_BITS: u32 = 12;
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

/// One table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Symbols are -half..=half, and the escape.
    pub(super) half: i32,
    /// Where the frequencies begin, symbol after symbol from -half; the escape is the last; TOTAL at the end.
    pub(super) starts: Vec<u16>,
    /// The index of the symbol of every number below TOTAL.
    pub(super) slots: Box<[u8]>,
}

/// All tables that a payload needs.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    tables: Vec<Table>,
    /// For every dithered class, the line that approximates the offset: at |u| = j/32, and from there to the next.
    offsets: Vec<[(f32, f32); PIECES]>,
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
        let mut tables = Vec::new();
        let mut offsets = Vec::new();
        for class in NARROWEST..=widest.max(NARROWEST) {
            if class > WIDEST_DITHERED {
                tables.push(wide(shape, class));
                continue;
            }
            // P(q >= m) at u = i/32.
            let above = |m: i64, i: i64| shape.tail(32 * m - 16 - i, class);
            for part in 0..PARTS as i64 {
                tables.push(Table::new(|m| {
                    let at = |i| above(m, 2 * part + i);
                    (at(0) + 4 * at(1) + at(2)) / 6
                }));
            }
            // E[q | u] = Σ P(q >= m) - P(q <= -m)
            let mean = |i: i64| {
                let terms = (1..).map(|m| (above(m, i), above(m, -i))).take_while(|&(up, down)| up + down != 0);
                let sum = terms.map(|(up, down)| i64::from(up) - i64::from(down)).sum::<i64>();
                (sum as f64 / f64::from(ONE)) as f32
            };
            let at: [f32; PIECES + 1] = core::array::from_fn(|i| mean(i as i64));
            offsets.push(core::array::from_fn(|j| (at[j], at[j + 1] - at[j])));
        }
        Self { tables, offsets }
    }

    #[inline(always)]
    pub(super) fn get(&self, index: usize) -> &Table {
        &self.tables[index]
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

/// The table of a class without tables for |u|: of q without its raw bits.
fn wide(shape: &Shape, class: i32) -> Table {
    let raw = raw_bits(class);
    Table::new(|m| {
        let edge = 32 * m - (16 >> raw);
        let at = |e: i64| shape.tail(e, class - 2 * raw as i32);
        let half = 16 >> raw;
        (at(edge - half) + 4 * at(edge) + at(edge + half)) / 6
    })
}

impl Table {
    /// The table of a symbol h of which `above` gives P(h >= m), times 2^24.
    fn new(above: impl Fn(i64) -> u32) -> Self {
        let outside = |half: i64| above(half + 1) + (ONE - above(-half));
        let half = (1..MOST).find(|&half| outside(half) <= ONE >> 12).unwrap_or(MOST);
        let mut chances: Vec<u32> = (-half..=half).map(|m| above(m) - above(m + 1)).collect();
        chances.push(outside(half));
        let mut counts: Vec<u32> = chances.iter().map(|&chance| (((chance >> 11) + 1) >> 1).max(1)).collect();
        let largest = (0..counts.len()).rev().max_by_key(|&at| counts[at]).unwrap_or_default();
        counts[largest] = TOTAL - (counts.iter().sum::<u32>() - counts[largest]);
        let mut starts = vec![0];
        let mut slots = Vec::with_capacity(TOTAL as usize);
        for (symbol, &count) in counts.iter().enumerate() {
            slots.resize(slots.len() + count as usize, symbol as u8);
            starts.push(slots.len() as u16);
        }
        Self { half: half as i32, starts, slots: slots.into() }
    }

    /// Index of the escape.
    #[inline(always)]
    pub(super) fn escape(&self) -> usize {
        2 * self.half as usize + 1
    }

    /// Mean bits of a symbol, if the table is right.
    pub(super) fn entropy(&self) -> f64 {
        let term = |pair: &[u16]| {
            let chance = f64::from(pair[1] - pair[0]) / f64::from(TOTAL);
            -chance * libm::log2(chance)
        };
        self.starts.windows(2).map(term).sum()
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
    fn frequencies_fill_every_table() {
        for shape in shapes() {
            for table in Tables::new(&shape, WIDEST).tables {
                assert_eq!(u32::from(*table.starts.last().unwrap()), TOTAL);
                assert!(table.starts.is_sorted_by(|a, b| a < b), "every symbol has a frequency");
                assert_eq!(table.starts.len(), table.escape() + 2);
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
