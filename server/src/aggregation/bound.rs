//! Norm bounding (Sun, Kairouz, Suresh, McMahan: "Can you really backdoor federated learning?", 2019, section 3): an update
//! longer than M is scaled to M, delta / max(1, ‖delta‖ / M).
//!
//! M is a factor times the median of the norms of the counted updates, so it follows training, and fewer than half of
//! the updates cannot raise it beyond `factor` times what an honest one has. If the median update is zero, so is M.

/// Whether a bound of `factor` medians can touch any of `updates` updates: the median of one is itself, and of two it is
/// at least half of the greater. Norms need not be measured where it cannot.
pub(super) fn can_bite(factor: f64, updates: usize) -> bool {
    match updates {
        0 | 1 => false,
        2 => factor < 2.0,
        _ => true,
    }
}

/// What is left of each update.
pub(super) fn scales(norms: &[f64], factor: f64) -> Vec<f64> {
    let most = factor * median(norms);
    norms.iter().map(|&norm| if norm > most { most / norm } else { 1.0 }).collect()
}

/// The median of `values`, at least one; of an even number the mean of the middle two.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted[sorted.len() / 2];
    let lower = sorted[(sorted.len() - 1) / 2];
    0.5 * (lower + upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_than_the_bound_is_scaled_to_it() {
        // The median is 2, the bound 4: the update of norm 8 is halved.
        assert_eq!(scales(&[1.0, 8.0, 2.0, 4.0, 1.0], 2.0), [1.0, 0.5, 1.0, 1.0, 1.0]);
        assert_eq!(scales(&[0.0, 0.0, 3.0], 2.0), [1.0, 1.0, 0.0], "the median is 0, and so is the bound");
        assert_eq!(scales(&[f64::MAX.sqrt(), 1.0, 1.0], 1.0)[1..], [1.0, 1.0]);
    }

    #[test]
    fn where_nothing_is_measured_nothing_would_have_been_scaled() {
        for norms in [&[7.0][..], &[0.0, 5.0], &[1.0, 1e30]] {
            assert!(!can_bite(2.0, norms.len()));
            assert!(scales(norms, 2.0).iter().all(|&scale| scale == 1.0), "{norms:?}");
        }
        assert!(can_bite(1.5, 2) && can_bite(2.0, 3));
    }
}
