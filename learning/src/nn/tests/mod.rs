//! Layers and models against an obvious implementation in `f64`: values directly, gradients by its central differences.

mod layers;
mod models;
mod reference;

use nibble_seed::Seed;

/// Numbers in ±`scale`.
fn random(seed: u64, len: usize, scale: f32) -> Vec<f32> {
    (0..len as u64).map(|i| scale * (2.0 * Seed(seed).unit_at(i) - 1.0)).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

fn assert_close(what: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1e-3, |size: f64, value| size.max(value.abs()));
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(found) - expected).abs() < 2e-5 * size, "{what}[{i}] is {found}, expected {expected}");
    }
}

/// Central difference of `loss` by `values[i]`.
fn slope(values: &mut [f64], i: usize, loss: impl Fn(&[f64]) -> f64) -> f64 {
    const STEP: f64 = 1e-6;
    let value = values[i];
    values[i] = value + STEP;
    let above = loss(values);
    values[i] = value - STEP;
    let below = loss(values);
    values[i] = value;
    (above - below) / (2.0 * STEP)
}

/// Central differences by all `values`, or by `MOST` of them where there are more, with their indices.
fn slopes(values: &[f64], loss: impl Fn(&[f64]) -> f64) -> Vec<(usize, f64)> {
    const MOST: usize = 60;
    let mut values = values.to_vec();
    let chosen = Seed(9).permutation(values.len());
    chosen.iter().take(MOST).map(|&i| (i as usize, slope(&mut values, i as usize, &loss))).collect()
}

/// Checks a gradient at the indices that come with its expected values.
fn assert_slopes(what: &str, found: &[f32], expected: &[(usize, f64)]) {
    let size = expected.iter().fold(1e-3, |size: f64, (_, slope)| size.max(slope.abs()));
    for &(i, expected) in expected {
        let error = (f64::from(found[i]) - expected).abs();
        assert!(error < 2e-5 * size, "{what}[{i}] is {}, expected {expected}", found[i]);
    }
}
