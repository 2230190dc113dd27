//! Krum and multi-Krum (Blanchard, El Mhamdi, Guerraoui, Stainer: "Machine learning with adversaries: Byzantine tolerant
//! gradient descent", NIPS 2017, section 4): the score of an update is the sum of the squared distances to its n − f − 2
//! closest neighbours, and the updates with the least scores win.
//!
//! Needs n ≥ 2f + 3. Samples are not looked at. Of equal scores the one of the lower ClientId wins.

use super::{Combination, Combine, Known, Products};

/// The update with the closest neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Krum {
    /// Attackers it withstands.
    pub attackers: usize,
}

/// The mean of those with the closest neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MultiKrum {
    /// Attackers it withstands.
    pub attackers: usize,
    /// How many; as many as withstand them, if nothing is said.
    pub keep: Option<usize>,
}

impl Combine for Krum {
    fn name(&self) -> &'static str {
        "krum"
    }

    fn fewest(&self) -> usize {
        self.attackers.saturating_mul(2).saturating_add(3)
    }

    fn needs_products(&self) -> bool {
        true
    }

    fn combine(&self, known: &Known<'_>) -> Combination {
        combine(known.products, self.attackers, 1)
    }
}

impl Combine for MultiKrum {
    fn name(&self) -> &'static str {
        "multi-krum"
    }

    fn fewest(&self) -> usize {
        let keep = self.keep.unwrap_or(1).saturating_add(self.attackers).saturating_add(2);
        keep.max(Krum { attackers: self.attackers }.fewest())
    }

    fn needs_products(&self) -> bool {
        true
    }

    fn combine(&self, known: &Known<'_>) -> Combination {
        let keep = self.keep.unwrap_or(known.facts.len() - self.attackers - 2);
        combine(known.products, self.attackers, keep)
    }
}

/// The mean of the `keep` best.
fn combine(products: &Products, attackers: usize, keep: usize) -> Combination {
    let scoring = Scoring::new(products);
    let all: Vec<_> = (0..products.updates()).collect();
    let mut scored: Vec<_> = all.iter().map(|&index| (scoring.score(index, &all, attackers), index)).collect();
    scored.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    let chosen: Vec<_> = scored.into_iter().take(keep).map(|(_, index)| index).collect();
    Combination::mean_of(products.updates(), &chosen)
}

/// The neighbours of every update with their squared distances, the closest first.
pub(super) struct Scoring(Vec<Vec<(f64, usize)>>);

impl Scoring {
    pub(super) fn new(products: &Products) -> Self {
        let neighbours = |of: usize| {
            let others = (0..products.updates()).filter(|&other| other != of);
            let mut others: Vec<_> = others.map(|other| (products.distance_squared(of, other), other)).collect();
            others.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
            others
        };
        Self((0..products.updates()).map(neighbours).collect())
    }

    /// The score of update `index` among those `left`, which are sorted.
    pub(super) fn score(&self, index: usize, left: &[usize], attackers: usize) -> f64 {
        // Bulyan goes down to so few that the paper's number would be none.
        let closest = left.len().saturating_sub(attackers + 2).max(1);
        let near = self.0[index].iter().filter(|(_, other)| left.binary_search(other).is_ok());
        near.take(closest).map(|(distance, _)| distance).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_by_hand() {
        // Five points on a line, one attacker: of two neighbours each, 1 has 1 + 1, 0 and 2 have 1 + 4, 4 has 4 + 9, and 100
        // is far from all.
        let products = Products::of(&[0.0, 1.0, 2.0, 4.0, 100.0].map(|x| vec![x]));
        let scoring = Scoring::new(&products);
        let scores: Vec<_> = (0..5).map(|index| scoring.score(index, &[0, 1, 2, 3, 4], 1)).collect();
        assert_eq!(scores, [5.0, 2.0, 5.0, 13.0, 96.0 * 96.0 + 98.0 * 98.0]);
        assert_eq!(combine(&products, 1, 1).shares, [0.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(combine(&products, 1, 2).shares, [0.5, 0.5, 0.0, 0.0, 0.0], "of 0 and 2 the first");
    }
}
