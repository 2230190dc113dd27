//! Centered clipping (Karimireddy, He, Jaggi: "Learning from history for Byzantine robust optimization", ICML 2021, equation 8):
//! v ← v + (1/n) Σ (delta_k − v) min(1, τ / ‖delta_k − v‖), repeated.
//!
//! The paper's first v is the aggregate of the round before. None is kept here: v starts at the geometric median of the
//! round's own updates, which fewer than half of them cannot carry away, so nothing has to survive a restart. Lost with it
//! is what history gives: against attackers whose small steps all point the same way, round after round.
//!
//! v is always a mean of the updates, so all is done in their inner products. Samples are not looked at. Without a
//! radius, τ is the median distance from the first v: half of the updates are clipped.

use super::{Columns, Combination, Combine, Known, Products, bound::median, geometric_median};

/// The mean of what is clipped around a centre.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CenteredClipping {
    /// Farthest from the centre; the median distance, if nothing is said.
    pub radius: Option<f64>,
    /// How often the centre moves.
    pub iterations: usize,
}

impl Combine for CenteredClipping {
    fn name(&self) -> &'static str {
        "centered-clipping"
    }

    fn needs_products(&self) -> bool {
        true
    }

    fn combine(&self, known: &Known<'_>) -> Combination {
        combine(known.products, self.radius, self.iterations)
    }
}

fn combine(products: &Products, radius: Option<f64>, iterations: usize) -> Combination {
    let updates = products.updates() as f64;
    let mut shares = geometric_median::shares(products, &vec![1.0 / updates; products.updates()]);
    let mut distances = products.distances_to(&shares);
    let radius = radius.unwrap_or_else(|| median(&distances));
    for _ in 0..iterations {
        let kept: Vec<_> = distances.iter().map(|&far| if far > radius { radius / far } else { 1.0 }).collect();
        // v + (1/n) Σ kept_k (delta_k − v) = (1 − (1/n) Σ kept_k) v + (1/n) Σ kept_k delta_k.
        let stays = 1.0 - kept.iter().sum::<f64>() / updates;
        shares.iter_mut().zip(kept).for_each(|(share, kept)| *share = stays * *share + kept / updates);
        distances = products.distances_to(&shares);
    }
    Combination { shares, columns: Columns::Sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_by_hand() {
        // -1, 0, 1 and 9, -9 on a line: the centre is 0, the median distance 1. All pulls are at most 1 and cancel out.
        let points = [-1.0, 0.0, 1.0, 9.0, -9.0];
        let at = |points: &[f64], radius, iterations| -> f64 {
            let products = Products::of(&points.iter().map(|&x| vec![x]).collect::<Vec<_>>());
            combine(&products, radius, iterations).shares.iter().zip(points).map(|(share, x)| share * x).sum()
        };
        assert!(at(&points, None, 3).abs() < 1e-5);
        // -1, 0, 1, 9, 9 with radius 2 around 1: pulls of -2, -1, 0, 2, 2 of which a fifth each, 1 + 1/5.
        assert!((at(&[-1.0, 0.0, 1.0, 9.0, 9.0], Some(2.0), 1) - 1.2).abs() < 1e-5);
        // A radius beyond all of them is the mean.
        assert!((at(&[-1.0, 0.0, 1.0, 9.0, 9.0], Some(100.0), 1) - 3.6).abs() < 1e-12);
    }
}
