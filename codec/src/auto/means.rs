//! Mean magnitudes of rows and columns, one pass over memory at a time; compiled once for each CPU feature set, as `kernel` is.
//!
//! Absent on purpose: what scales follow from the means (`fit`).

use super::kernel::LANES;
use crate::simd::prefetch;

/// One pass over a matrix with as many columns as there are weights: puts the mean of |x| weight of every row into `rows`,
/// and adds |x| over its row's mean to the `balanced` sums of columns, and |x| to the `plain` ones if there are any. Rows are
/// summed in sixteen interleaved sums, one order on every machine. Returns the largest magnitude as the bits of a float.
#[inline(always)]
pub(crate) fn means(x: &[f32], weights: &[f32], rows: &mut [f64], balanced: &mut [f64], plain: &mut [f64]) -> u32 {
    let mut largest = [0; LANES];
    for (mean, row) in rows.iter_mut().zip(x.chunks(weights.len())) {
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
        for ((lane, largest), (x, weight)) in lanes.iter_mut().zip(&mut largest).zip(rest) {
            *lane += x.abs() * weight;
            *largest = x.abs().to_bits().max(*largest);
        }
        *mean = lanes.iter().map(|&lane: &f32| f64::from(lane)).sum::<f64>() / row.len() as f64;
        let inverse = inverse(*mean);
        for (sum, x) in balanced.iter_mut().zip(row) {
            *sum += f64::from(x.abs() * inverse);
        }
        for (sum, x) in plain.iter_mut().zip(row) {
            *sum += f64::from(x.abs());
        }
    }
    largest.into_iter().fold(0, u32::max)
}

/// 1 over a mean: finite, and small enough for sums. What has a smaller mean has the scale of the smallest.
#[inline(always)]
pub(crate) fn inverse(mean: f64) -> f32 {
    if mean > 0.0 { (1.0 / mean).min(1e32) as f32 } else { 0.0 }
}
