//! From decoded values in steps to values, and to sums of values: of all coordinates of a chunk, or of those at some places;
//! compiled once for each CPU feature set, as `kernel` is.
//!
//! Absent on purpose: zeros. What has no symbol is left as it is.

use super::kernel::LANES;

/// Puts values into `out`, all of them.
#[inline(always)]
pub(crate) fn scale(steps: &[f32], unit: f32, out: &mut [f32]) {
    for (out, steps) in out.iter_mut().zip(steps) {
        *out = steps * unit;
    }
}

/// Puts values to their places in `out`, which begins at place `first`.
#[inline(always)]
pub(crate) fn scale_at((places, first): (&[u32], usize), steps: &[f32], unit: f32, out: &mut [f32]) {
    for (&at, steps) in places.iter().zip(steps) {
        out[at as usize - first] = steps * unit;
    }
}

/// Adds `weight` times the values to `sum`, all of them.
#[inline(always)]
pub(crate) fn fold(steps: &[f32], unit: f32, weight: f64, sum: &mut [f64]) {
    for (sum, steps) in sum.iter_mut().zip(steps) {
        *sum += weight * f64::from(steps * unit);
    }
}

/// Adds `weight` times the values to what is at their places in `sum`, which begins at place `first`.
#[inline(always)]
pub(crate) fn fold_at((places, first): (&[u32], usize), steps: &[f32], unit: f32, weight: f64, sum: &mut [f64]) {
    let (groups, rest) = steps.as_chunks::<LANES>();
    let (place_groups, rest_places) = places.as_chunks::<LANES>();
    for (places, steps) in place_groups.iter().zip(groups) {
        let terms = steps.map(|steps| weight * f64::from(steps * unit));
        for lane in 0..LANES {
            sum[places[lane] as usize - first] += terms[lane];
        }
    }
    for (&at, steps) in rest_places.iter().zip(rest) {
        sum[at as usize - first] += weight * f64::from(steps * unit);
    }
}
