//! What the kinds share: samples by class, and cuts of one list into consecutive shares.

use nibble_seed::{Purpose, Seed};

/// The samples of each class, shuffled by the class's stream.
pub(super) fn by_class(labels: &[u8], classes: usize, seed: Seed) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); classes];
    for (sample, &label) in labels.iter().enumerate() {
        members[usize::from(label)].push(sample as u32);
    }
    let shuffled = members.into_iter().zip(1..).map(|(members, a)| {
        let order = seed.derive(Purpose::Partition, a, 0).permutation(members.len());
        order.into_iter().map(|i| members[i as usize]).collect()
    });
    shuffled.collect()
}

/// Cuts `items` into consecutive shares of sizes that differ by at most one.
pub(super) fn evenly(items: &[u32], shares: usize) -> impl Iterator<Item = &[u32]> {
    let end = move |share: usize| (items.len() as u128 * share as u128 / shares as u128) as usize;
    (0..shares).map(move |share| &items[end(share)..end(share + 1)])
}

/// Cuts `n` things in proportion to `weights` (not negative, one of them positive); returns the size of each share.
/// As numpy's split at ⌊n · cumulative weight⌋, which flwr-datasets does, so that shares add up to `n`.
pub(super) fn proportionally(n: usize, weights: &[f64]) -> Vec<usize> {
    let total: f64 = weights.iter().sum();
    let (mut sum, mut start) = (0.0, 0);
    let mut sizes: Vec<usize> = Vec::with_capacity(weights.len());
    for weight in weights {
        sum += weight;
        let end = ((n as f64 * (sum / total)) as usize).clamp(start, n);
        sizes.push(end - start);
        start = end;
    }
    if let Some(last) = sizes.last_mut() {
        *last += n - start; // what rounding left
    }
    sizes
}

/// Weights in proportion to the exponentials of `logs`, the largest 1: no logarithm is too large.
pub(super) fn exponentials(logs: &[f64]) -> Vec<f64> {
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logs.iter().map(|log| (log - largest).exp()).collect()
}
