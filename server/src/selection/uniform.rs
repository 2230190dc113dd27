//! Everyone as often as everyone else (McMahan et al., "Communication-Efficient Learning of Deep Networks from
//! Decentralized Data", AISTATS 2017).

use nibble_seed::{ClientId, Purpose, RoundId, Seed};
use serde::{Deserialize, Serialize};

use super::{Choice, Select};

/// Everyone alike.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uniform {}

impl Select for Uniform {
    fn select(&self, choice: &Choice<'_>) -> Vec<ClientId> {
        select(choice.available, choice.count, choice.seed, choice.round)
    }
}

/// The first `count` of a seeded permutation of `available`, which is in ClientId order: uniform, without replacement.
fn select(available: &[ClientId], count: usize, seed: Seed, round: RoundId) -> Vec<ClientId> {
    let order = seed.derive(Purpose::Selection, round.0, 0).permutation(available.len());
    order.into_iter().take(count).map(|index| available[index as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_workload_selects_these() {
        let everyone: Vec<_> = (0..100).map(ClientId).collect();
        let cohort = select(&everyone, 10, Seed(0), RoundId(0));
        assert_eq!(cohort, [63, 95, 1, 47, 38, 23, 6, 29, 9, 32].map(ClientId));
    }

    #[test]
    fn every_client_is_selected_equally_often() {
        // 2,000 rounds of 5 of 20: each count is binomial(2000, 1/4), deviation 19.4; the bound is 5 deviations.
        let everyone: Vec<_> = (0..20).map(ClientId).collect();
        let mut counts = [0i32; 20];
        for round in 0..2000 {
            for client in select(&everyone, 5, Seed(3), RoundId(round)) {
                counts[client.0 as usize] += 1;
            }
        }
        assert!(counts.iter().all(|count| (count - 500).abs() < 97), "{counts:?}");
    }
}
