//! Mean magnitudes of rows and columns, one pass over memory at a time; compiled once for each CPU feature set, as `kernel` is.
//!
//! Absent on purpose: what scales follow from the means (`fit`).

use alloc::vec::Vec;

use super::kernel::LANES;
use crate::simd::prefetch;

/// Rows whose columns are added up in f32 before they are in f64.
const ROWS: usize = 8;

/// Sums of columns, in f32 for a few rows: room that is kept from pass to pass.
#[derive(Debug, Default)]
pub(crate) struct Room {
    balanced: Vec<f32>,
    plain: Vec<f32>,
}

/// One pass over a matrix with as many columns as there are weights: puts the mean of |x| weight of every row into `rows`,
/// and adds |x| over its row's mean to the `balanced` sums of columns, and |x| to the `plain` ones if there are any. Rows are
/// summed in sixteen interleaved sums, one order on every machine. Returns the largest magnitude as the bits of a float.
#[inline(always)]
pub(crate) fn means(
    x: &[f32],
    weights: &[f32],
    rows: &mut [f64],
    (balanced, plain): (&mut [f64], &mut [f64]),
    room: &mut Room,
) -> u32 {
    let mut largest = [0; LANES];
    room.balanced.clear();
    room.balanced.resize(balanced.len(), 0.0);
    room.plain.clear();
    room.plain.resize(plain.len(), 0.0);
    for (rows, x) in rows.chunks_mut(ROWS).zip(x.chunks(ROWS * weights.len())) {
        for (mean, row) in rows.iter_mut().zip(x.chunks(weights.len())) {
            *mean = mean_of_row(row, weights, &mut largest);
            let inverse = inverse(*mean);
            for (sum, x) in room.balanced.iter_mut().zip(row) {
                *sum += x.abs() * inverse;
            }
            for (sum, x) in room.plain.iter_mut().zip(row) {
                *sum += x.abs();
            }
        }
        for (sums, all) in [(&mut room.balanced, &mut *balanced), (&mut room.plain, &mut *plain)] {
            for (sum, all) in sums.iter_mut().zip(all) {
                *all += f64::from(core::mem::take(sum));
            }
        }
    }
    largest.into_iter().fold(0, u32::max)
}

/// The mean of |x| weight.
#[inline(always)]
fn mean_of_row(row: &[f32], weights: &[f32], largest: &mut [u32; LANES]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (groups, rest) = row.as_chunks::<LANES>();
    for (x, weights) in groups.iter().zip(weights.as_chunks::<LANES>().0) {
        prefetch(x);
        for lane in 0..LANES {
            let magnitude = x[lane].abs();
            lanes[lane] += magnitude * weights[lane];
            largest[lane] = magnitude.to_bits().max(largest[lane]);
        }
    }
    // A last row may be shorter.
    let rest = rest.iter().zip(&weights[row.len() - rest.len()..]);
    for ((lane, largest), (x, weight)) in lanes.iter_mut().zip(largest).zip(rest) {
        *lane += x.abs() * weight;
        *largest = x.abs().to_bits().max(*largest);
    }
    lanes.iter().map(|&lane: &f32| f64::from(lane)).sum::<f64>() / row.len() as f64
}

/// 1 over a mean: finite, and small enough for sums. What has a smaller mean has the scale of the smallest.
#[inline(always)]
pub(crate) fn inverse(mean: f64) -> f32 {
    if mean > 0.0 { (1.0 / mean).min(1e32) as f32 } else { 0.0 }
}
