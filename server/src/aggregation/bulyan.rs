//! Bulyan over Krum (El Mhamdi, Guerraoui, Rouault: "The hidden vulnerability of distributed learning in Byzantium", ICML 2018,
//! section 4): Krum chooses one update after the other, each removed before the next, until there are θ = n − 2f; then
//! every coordinate is the mean of the β = θ − 2f values closest to the median of those.
//!
//! Needs n ≥ 4f + 3. Samples are not looked at. The last choices are between few updates, by the distance to one neighbour: two that
//! are closest to each other then score the same, and the one of the lower ClientId wins.

use super::{Columns, Combination, Combine, Known, Products, krum::Scoring};

/// Krum, then a mean around the median.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bulyan {
    /// Attackers it withstands.
    pub attackers: usize,
}

impl Combine for Bulyan {
    fn name(&self) -> &'static str {
        "bulyan"
    }

    fn fewest(&self) -> usize {
        self.attackers.saturating_mul(4).saturating_add(3)
    }

    fn needs_products(&self) -> bool {
        true
    }

    fn combine(&self, known: &Known<'_>) -> Combination {
        combine(known.products, self.attackers)
    }
}

fn combine(products: &Products, attackers: usize) -> Combination {
    let updates = products.updates();
    let (choose, keep) = (updates - 2 * attackers, updates - 4 * attackers);
    let scoring = Scoring::new(products);
    let mut left: Vec<_> = (0..updates).collect();
    let mut shares = vec![0.0; updates];
    for _ in 0..choose {
        let scores = left.iter().map(|&index| scoring.score(index, &left, attackers));
        let best = scores.enumerate().min_by(|one, other| one.1.total_cmp(&other.1));
        let (place, _) = best.expect("fewer are chosen than there are");
        shares[left.remove(place)] = 1.0;
    }
    Combination { shares, columns: Columns::AroundMedian { keep } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_by_hand() {
        // Seven points on a line, one attacker: Krum over 4, 3, 2, 1 and 1 neighbours chooses, of equals the first.
        let points = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 1000.0];
        let combination = combine(&Products::of(&points.map(|x| vec![x])), 1);
        // All but 1000 and one of the ends: 2 (1 + 1 + 4 + 4), then of 0, 1, 3, 4, 5 with three neighbours 3 (1 + 4 + 4) and
        // so on.
        assert_eq!(combination.columns, Columns::AroundMedian { keep: 3 });
        assert_eq!(combination.shares, [1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    }
}
