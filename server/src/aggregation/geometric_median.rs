//! The geometric median, RFA (Pillutla, Kakade, Harchaoui: "Robust aggregation for federated learning", IEEE Transactions on
//! Signal Processing 70, 2022, equation 2 and algorithm 2): the point v with the least Σ α_k ‖v − delta_k‖, by the smoothed
//! Weiszfeld algorithm, v ← Σ β_k delta_k / Σ β_k with β_k = α_k / max(ν, ‖v − delta_k‖).
//!
//! v is always a mean of the updates, so all is done in their inner products, and iterations cost n² instead of passes
//! over the updates. ν is a millionth of the median distance from the start. The paper starts at the mean; this starts
//! where attackers have no say, at the mean of the half with the closest neighbours, and ends at the same point.

use super::{Columns, Combination, Combine, Known, Products, Weights, bound::median};

const SMOOTHING: f64 = 1e-6;
const MOST_ITERATIONS: usize = 1000;
/// Shares that change by less are done: below the rounding of f32 updates.
const TOLERANCE: f64 = 1e-10;

/// The point with the least sum of distances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeometricMedian {
    /// Of each update.
    pub weights: Weights,
}

impl Combine for GeometricMedian {
    fn name(&self) -> &'static str {
        "geometric-median"
    }

    fn weighs_samples(&self) -> bool {
        self.weights == Weights::Samples
    }

    fn needs_products(&self) -> bool {
        true
    }

    fn combine(&self, known: &Known<'_>) -> Combination {
        let shares = shares(known.products, &self.weights.shares(known.facts));
        Combination { shares, columns: Columns::Sum }
    }
}

/// The geometric median as shares of the updates; `weights` are α, of 1 in total.
pub(super) fn shares(products: &Products, weights: &[f64]) -> Vec<f64> {
    let mut shares = start(products);
    let mut distances = products.distances_to(&shares);
    let least = SMOOTHING * median(&distances);
    if least == 0.0 {
        return shares; // more than half of the updates lie on one point
    }
    for _ in 0..MOST_ITERATIONS {
        let pulls: Vec<f64> = weights.iter().zip(&distances).map(|(weight, far)| weight / far.max(least)).collect();
        let total: f64 = pulls.iter().sum();
        let next: Vec<f64> = pulls.iter().map(|pull| pull / total).collect();
        let change = next.iter().zip(&shares).map(|(next, share)| (next - share).abs()).fold(0.0, f64::max);
        shares = next;
        if change < TOLERANCE {
            break;
        }
        distances = products.distances_to(&shares);
    }
    shares
}

/// The mean of the half whose median distance to the others is least.
fn start(products: &Products) -> Vec<f64> {
    let updates = products.updates();
    let near = |of: usize| {
        let others = (0..updates).filter(|&other| other != of);
        let distances: Vec<_> = others.map(|other| products.distance_squared(of, other)).collect();
        if distances.is_empty() { 0.0 } else { median(&distances) }
    };
    let mut order: Vec<_> = (0..updates).map(|index| (near(index), index)).collect();
    order.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    let half: Vec<_> = order.into_iter().take(updates.div_ceil(2)).map(|(_, index)| index).collect();
    Combination::mean_of(updates, &half).shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_by_hand() {
        // Corners of a square and its centre: the centre. With a fifth point far out on a diagonal: where the diagonals of
        // the four cross, which is where their distances add up to the least, moved towards the fifth.
        let square = [[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]].map(Vec::from);
        let shares_of =
            |points: &[Vec<f64>]| shares(&Products::of(points), &vec![1.0 / points.len() as f64; points.len()]);
        let at = |points: &[Vec<f64>], axis: usize| -> f64 {
            shares_of(points).iter().zip(points).map(|(share, point)| share * point[axis]).sum()
        };
        assert!(at(&square, 0).abs() < 1e-9 && at(&square, 1).abs() < 1e-9);
        // A triangle with angles below 120 degrees: the Fermat point of (0, 0), (1, 0), (1/2, √3/2) is its centroid.
        let triangle = [vec![0.0, 0.0], vec![1.0, 0.0], vec![0.5, 0.75f64.sqrt()]];
        assert!((at(&triangle, 0) - 0.5).abs() < 1e-9 && (at(&triangle, 1) - 0.75f64.sqrt() / 3.0).abs() < 1e-9);
        // On a line it is the median.
        let line = [0.0, 1.0, 2.0, 5.0, 1e30].map(|x| vec![x]);
        assert!((at(&line, 0) - 2.0).abs() < 1e-4, "{}", at(&line, 0));
    }

    #[test]
    fn weights_vote() {
        let line = Products::of(&[0.0, 1.0, 2.0].map(|x| vec![x]));
        let shares = shares(&line, &[0.6, 0.2, 0.2]);
        assert!(shares[0] > 0.9999, "more than half of the weight lies at 0: {shares:?}");
    }

    #[test]
    fn updates_that_are_all_the_same_are_their_own_median() {
        let shares = shares(&Products::of(&vec![vec![3.0, 4.0]; 4]), &[0.25; 4]);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-15 && shares.iter().all(|&share| share >= 0.0));
    }
}
