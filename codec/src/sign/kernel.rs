//! The turns of `sign` in a form that compilers turn into SIMD: sixteen lanes, two levels of sums and differences a pass, and
//! pieces that stay in the first cache.
//!
//! Every sum is that of [`super::reference`], in the same order of levels, and so the same float.

use super::{Block, PIECE, Rows, rows};
use crate::dither::{Dither, SAMPLE};

const LANES: usize = 16;
/// Coordinates that sixteen hashes have signs for.
const GROUP: usize = 32 * LANES;

/// Whole registers at whole cache lines.
#[repr(align(64))]
struct Aligned<T>(T);

/// The sum of squares, in f64.
#[inline(always)]
pub(crate) fn energy(x: &[f32]) -> f64 {
    let (groups, tail) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for group in groups {
        for (sum, &x) in sums.iter_mut().zip(group) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    for (sum, &x) in sums.iter_mut().zip(tail) {
        *sum += f64::from(x) * f64::from(x);
    }
    sums.iter().sum()
}

/// See [`super::reference::encode`]; `kept` is memory.
#[inline(always)]
pub(crate) fn encode(
    block: Block,
    x: &[f32],
    factor: f32,
    dither: Dither,
    (kept, signs): (&mut Rows, &mut [u8]),
) -> f64 {
    kept.clear();
    kept.resize(rows(signs.len()), 0.0);
    let mut piece = Aligned([0.0; PIECE]);
    let piece = &mut piece.0[..block.size.min(PIECE)];
    for (index, x) in x.chunks(piece.len()).enumerate() {
        piece.iter_mut().zip(x).for_each(|(turned, x)| *turned = x * factor);
        piece[x.len()..].fill(0.0);
        let group = (index * PIECE / GROUP) as u32;
        flip(dither, 0, group, piece);
        hadamard_piece(piece);
        flip(dither, SAMPLE, group, piece);
        let at = index * PIECE % kept.len();
        for part in piece.chunks(kept.len()) {
            kept[at..][..part.len()].iter_mut().zip(part).for_each(|(kept, value)| *kept += value);
        }
    }
    hadamard(kept);
    let kept = &kept[..8 * signs.len()];
    pack(kept, signs);
    let mut sums = [0.0; LANES];
    let (groups, tail) = kept.as_chunks::<LANES>();
    for group in groups {
        sums.iter_mut().zip(group).for_each(|(sum, value)| *sum += f64::from(value.abs()));
    }
    sums.iter_mut().zip(tail).for_each(|(sum, value)| *sum += f64::from(value.abs()));
    sums.iter().sum()
}

/// See [`super::reference::decode`]; `kept` is memory.
#[inline(always)]
pub(crate) fn decode<T>(
    block: Block,
    (signs, unit): (&[u8], f32),
    dither: Dither,
    kept: &mut Rows,
    out: &mut [T],
    each: impl Fn(&mut T, f32),
) {
    kept.resize(rows(signs.len()), 0.0);
    let (of_signs, others) = kept.split_at_mut(8 * signs.len());
    unpack(signs, of_signs);
    others.fill(0.0);
    hadamard(kept);
    let mut piece = Aligned([0.0; PIECE]);
    let piece = &mut piece.0[..block.size.min(PIECE)];
    for (index, out) in out.chunks_mut(piece.len()).enumerate() {
        let at = index * PIECE % kept.len();
        for part in piece.chunks_mut(kept.len()) {
            part.copy_from_slice(&kept[at..][..part.len()]);
        }
        let group = (index * PIECE / GROUP) as u32;
        flip(dither, SAMPLE, group, piece);
        hadamard_piece(piece);
        flip(dither, 0, group, piece);
        out.iter_mut().zip(&*piece).for_each(|(out, value)| each(out, (value + 0.0) * unit));
    }
}

/// Turns signs; `group` counts coordinates before, 512 at a time.
#[inline(always)]
fn flip(dither: Dither, stream: u32, group: u32, values: &mut [f32]) {
    for (group, values) in (group..).zip(values.chunks_mut(GROUP)) {
        let mut bits = [0; LANES];
        for (lane, bits) in bits.iter_mut().enumerate() {
            *bits = dither.hash((16 * group + lane as u32) | stream);
        }
        for (turn, values) in values.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            for (value, bits) in values.iter_mut().zip(bits) {
                *value = f32::from_bits(value.to_bits() ^ (bits << (31 - turn) & 1 << 31));
            }
        }
    }
}

/// Times the Hadamard matrix; of 64 values or more.
#[inline(always)]
fn hadamard(values: &mut [f32]) {
    for piece in values.chunks_mut(PIECE) {
        hadamard_piece(piece);
    }
    levels(values, PIECE);
}

#[inline(always)]
fn hadamard_piece(values: &mut [f32]) {
    for lanes in values.as_chunks_mut::<LANES>().0 {
        *lanes = level::<8>(level::<4>(level::<2>(level::<1>(*lanes))));
    }
    levels(values, LANES);
}

/// One level inside a register.
#[inline(always)]
fn level<const APART: usize>(lanes: [f32; LANES]) -> [f32; LANES] {
    let other: [f32; LANES] = core::array::from_fn(|at| lanes[at ^ APART]);
    let signed: [f32; LANES] = core::array::from_fn(|at| if at & APART == 0 { lanes[at] } else { -lanes[at] });
    core::array::from_fn(|at| other[at] + signed[at])
}

/// All levels from `apart` up, two at a time.
#[inline(always)]
fn levels(values: &mut [f32], mut apart: usize) {
    while 4 * apart <= values.len() {
        for four in values.chunks_exact_mut(4 * apart) {
            let (low, high) = four.split_at_mut(2 * apart);
            let ((a, b), (c, d)) = (low.split_at_mut(apart), high.split_at_mut(apart));
            for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                let (ab, a_b, cd, c_d) = (*a + *b, *a - *b, *c + *d, *c - *d);
                (*a, *b, *c, *d) = (ab + cd, a_b + c_d, ab - cd, a_b - c_d);
            }
        }
        apart *= 4;
    }
    if 2 * apart <= values.len() {
        for pair in values.chunks_exact_mut(2 * apart) {
            let (a, b) = pair.split_at_mut(apart);
            for (a, b) in a.iter_mut().zip(b) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
    }
}

/// Bit k of byte j is 1 if row j + k S is negative, of S bytes.
#[inline(always)]
fn pack(rows: &[f32], signs: &mut [u8]) {
    signs.fill(0);
    for (bit, rows) in rows.chunks_exact(signs.len()).enumerate() {
        for (sign, row) in signs.iter_mut().zip(rows) {
            *sign |= u8::from(*row < 0.0) << bit;
        }
    }
}

/// Ones of the signs that [`pack`] wrote.
#[inline(always)]
fn unpack(signs: &[u8], rows: &mut [f32]) {
    for (bit, rows) in rows.chunks_exact_mut(signs.len()).enumerate() {
        for (sign, row) in signs.iter().zip(rows) {
            let negative = u32::from(sign >> bit & 1) << 31;
            *row = f32::from_bits(1f32.to_bits() | negative);
        }
    }
}
