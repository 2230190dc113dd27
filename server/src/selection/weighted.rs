//! By number of samples, without replacement: the key of a client of weight w is E/w with E exponential, and the smallest
//! keys are selected (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters
//! 2006, in logarithms). The first of them is client k with probability w_k / Σ w, the next likewise among the rest.

use nibble_seed::ClientId;
use serde::{Deserialize, Serialize};

use super::{Choice, Draw, Knowledge, Select};

/// By number of samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weighted {}

impl Select for Weighted {
    fn select(&self, choice: &Choice<'_>) -> Vec<ClientId> {
        select(choice.available, choice.count, choice.knowledge, choice.draw(1))
    }
}

pub(super) fn select(available: &[ClientId], count: usize, knowledge: &Knowledge, draw: Draw) -> Vec<ClientId> {
    let mean = knowledge.mean_samples();
    by_weight(available, count, |client| knowledge.of(client).samples.map_or(mean, |samples| samples as f64), draw)
}

/// `count` of `clients`, each draw in proportion to `weight` among those left; weights of 0 come last.
pub(super) fn by_weight(
    clients: &[ClientId],
    count: usize,
    weight: impl Fn(ClientId) -> f64,
    draw: Draw,
) -> Vec<ClientId> {
    let key = |&client: &ClientId| {
        let exponential = draw.exponential(client);
        (exponential / weight(client), exponential, client)
    };
    let mut keys: Vec<_> = clients.iter().map(key).collect();
    keys.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
    keys.into_iter().take(count).map(|(.., client)| client).collect()
}

#[cfg(test)]
mod tests {
    use nibble_seed::{Purpose, Seed};

    use super::*;
    use crate::selection::Heard;

    fn draw(round: u64) -> Draw {
        Draw(Seed(5).derive(Purpose::Selection, round, 1))
    }

    /// How often each of four clients of 10, 20, 30 and an unknown number of samples comes first, and is selected at all.
    fn counts(rounds: u64) -> ([f64; 4], [f64; 4]) {
        let mut knowledge = Knowledge::default();
        for (client, samples) in [(0, 10), (1, 20), (2, 30)] {
            knowledge.heard(ClientId(client), Heard { samples, loss: None, took: None });
        }
        let everyone: Vec<_> = (0..4).map(ClientId).collect();
        let (mut first, mut selected) = ([0.0; 4], [0.0; 4]);
        for round in 0..rounds {
            let cohort = select(&everyone, 2, &knowledge, draw(round));
            first[cohort[0].0 as usize] += 1.0;
            cohort.iter().for_each(|client| selected[client.0 as usize] += 1.0);
        }
        (first, selected)
    }

    #[test]
    fn draws_are_in_proportion_to_samples_among_those_left() {
        // 20,000 rounds; a count of probability p deviates by sqrt(20000 p (1 - p)), at most 70.8; the bound is 5 of them.
        const ROUNDS: u64 = 20_000;
        let (first, selected) = counts(ROUNDS);
        let weights = [10.0, 20.0, 30.0, 20.0]; // the unknown counts as the mean of the others
        let total: f64 = weights.iter().sum();
        for k in 0..4 {
            let p = weights[k] / total;
            let others = (0..4).filter(|&j| j != k);
            let second: f64 = others.map(|j| weights[j] / total * weights[k] / (total - weights[j])).sum();
            for (count, p) in [(first[k], p), (selected[k], p + second)] {
                let deviation = (ROUNDS as f64 * p * (1.0 - p)).sqrt();
                assert!((count - ROUNDS as f64 * p).abs() < 5.0 * deviation, "client {k}: {count} of {p}");
            }
        }
    }

    #[test]
    fn the_keys_of_round_0_are_these() {
        // -ln((mix >> 11) + 0.5) / 2^53) / samples, with SplitMix64 written anew in Python.
        let everyone: Vec<_> = (0..6).map(ClientId).collect();
        let weight = |client: ClientId| 1.0 + client.0 as f64;
        assert_eq!(by_weight(&everyone, 6, weight, draw(0)), [5, 4, 1, 0, 2, 3].map(ClientId));
    }

    #[test]
    fn a_weight_of_0_comes_last_and_who_is_there_does_not_change_the_order() {
        let everyone: Vec<_> = (0..6).map(ClientId).collect();
        let weight = |client: ClientId| if client.0.is_multiple_of(2) { 0.0 } else { 1.0 };
        let order = by_weight(&everyone, 6, weight, draw(1));
        assert!(order[..3].iter().all(|client| client.0 % 2 == 1), "{order:?}");
        let fewer: Vec<_> = everyone.iter().copied().filter(|client| *client != order[1]).collect();
        let mut without = order;
        without.remove(1);
        assert_eq!(by_weight(&fewer, 6, weight, draw(1)), without);
    }
}
