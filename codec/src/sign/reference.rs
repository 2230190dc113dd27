//! What every bit of a block of signs means: textbook loops, slow and plain.

use alloc::{vec, vec::Vec};

use super::{Block, PIECE, rows};
use crate::dither::{Dither, SAMPLE};

/// Keeps 8 `signs.len()` rows of the rotated `x` times `factor`. Returns the sum of their magnitudes.
pub(crate) fn encode(block: Block, x: &[f32], factor: f32, dither: Dither, signs: &mut [u8]) -> f64 {
    let mut turned = vec![0.0; block.size];
    turned.iter_mut().zip(x).for_each(|(turned, x)| *turned = x * factor);
    flip(dither, 0, &mut turned);
    turned.chunks_mut(PIECE).for_each(hadamard);
    flip(dither, SAMPLE, &mut turned);
    let mut kept = vec![0.0; rows(signs.len())];
    for (at, value) in turned.into_iter().enumerate() {
        let row = at % kept.len();
        kept[row] += value;
    }
    hadamard(&mut kept);
    kept.truncate(8 * signs.len());
    signs.fill(0);
    let mut sums = [0.0; 16];
    for (row, &value) in kept.iter().enumerate() {
        sums[row % 16] += f64::from(value.abs());
        signs[row % signs.len()] |= u8::from(value < 0.0) << (row / signs.len());
    }
    sums.iter().sum()
}

/// Calls `each` with all values of a block.
pub(crate) fn decode(block: Block, signs: &[u8], unit: f32, dither: Dither, mut each: impl FnMut(usize, f32)) {
    let mut kept = vec![0.0; rows(signs.len())];
    for (row, kept) in kept.iter_mut().enumerate().take(8 * signs.len()) {
        *kept = if signs[row % signs.len()] >> (row / signs.len()) & 1 == 1 { -1.0 } else { 1.0 };
    }
    hadamard(&mut kept);
    let mut turned: Vec<f32> = (0..block.size).map(|at| kept[at % kept.len()]).collect();
    flip(dither, SAMPLE, &mut turned);
    turned.chunks_mut(PIECE).for_each(hadamard);
    flip(dither, 0, &mut turned);
    // A sum of nothing is +0, whatever was added.
    turned.iter().take(block.len).enumerate().for_each(|(at, value)| each(at, (value + 0.0) * unit));
}

/// Turns the signs of those coordinates whose bit in `stream` is 1: bit floor(i / 16) mod 32 of a hash that serves 32
/// coordinates, 16 apart.
fn flip(dither: Dither, stream: u32, values: &mut [f32]) {
    for (at, value) in values.iter_mut().enumerate() {
        let bits = dither.hash((16 * (at / 512) + at % 16) as u32 | stream);
        if bits >> (at / 16 % 32) & 1 == 1 {
            *value = -*value;
        }
    }
}

/// Times the Hadamard matrix, in natural order: sums and differences of neighbours first.
fn hadamard(values: &mut [f32]) {
    let mut apart = 1;
    while apart < values.len() {
        for pair in values.chunks_mut(2 * apart) {
            for at in 0..apart {
                let (a, b) = (pair[at], pair[at + apart]);
                (pair[at], pair[at + apart]) = (a + b, a - b);
            }
        }
        apart *= 2;
    }
}
