//! What symbols a class has and how likely they are, from the shape of the payload: nothing of it is transmitted but the
//! shape.
//!
//! A value x of class k is x/Δ = y, whose distribution is a mixture of normals with deviations 2^(k/2) 2^(j/2). Its symbol
//! comes from q = round(y + u), and the decoder knows the dither u. So narrow classes have a table for every eighth of
//! |u|: the rate is the entropy of q *given u*, far below that of q alone where the step is coarse.

use alloc::vec::Vec;

use super::normal::{NARROWEST_DEVIATION, ONE, SPAN, TAILS, Tails, tail_at};
use crate::simd::Kernels;

/// Narrowest class: narrower ones are sampled, and then stand for this one.
pub(super) const NARROWEST: i32 = -4;
/// Widest class with tables for |u|.
pub(super) const WIDEST_DITHERED: i32 = 3;
/// Widest class of all.
pub(super) const WIDEST: i32 = 40;
/// Parts of |u| with tables of their own.
pub(super) const PARTS: usize = 8;
/// Sum of the frequencies of a table.
pub(super) const TOTAL_BITS: u32 = 12;
pub(super) const TOTAL: u32 = 1 << TOTAL_BITS;
/// Largest magnitude that can have a symbol of its own.
pub(super) const MOST: i64 = 31;
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
    pub(super) halves: Vec<i32>,
    /// Where the frequencies begin, symbol after symbol from -half; the escape is the last; TOTAL at the end.
    starts: Vec<[u16; SYMBOLS + 2]>,
    /// What classes are made of: all that have no tables for |u|, without their raw bits, are one of two.
    pub(super) tails: [Tails; 2],
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
    pub(super) fn mean(&self, tails: &Tails, i: i64, k: i32) -> f32 {
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
    pub(super) fn tails(&self, kernels: Kernels, k: i32, out: &mut Tails) {
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

/// Most raw bits of a class.
pub(super) const MOST_RAW_BITS: u32 = (WIDEST as u32 - 4) / 2;

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
pub(super) const DITHERED: usize = (WIDEST_DITHERED - NARROWEST + 1) as usize;
/// The first table that is not for a part of |u|.
pub(super) const UNDITHERED: usize = DITHERED * PARTS;
/// The first table of a class with raw bits.
pub(super) const FIRST_RAW: usize = UNDITHERED + 2;
/// More than there are tables: masks keep indices below.
pub(super) const MOST_TABLES: usize = 128;

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
    pub(super) fn ranges(&self, index: usize) -> impl Iterator<Item = (u32, u32)> {
        let symbols = 2 * self.halves[index] as usize + 2;
        self.starts[index][..=symbols].windows(2).map(|pair| (pair[0].into(), u32::from(pair[1] - pair[0])))
    }
}
