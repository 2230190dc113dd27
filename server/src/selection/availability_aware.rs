//! Whoever was selected least often: F3AST (Ribero, Vikalo and de Veciana, "Federated Learning Under Intermittent Client
//! Availability and Time-Varying Communication Constraints", IEEE JSTSP 2022) with equal shares.
//!
//! ```text
//! H(r) = Σ p_k² / r_k      cohort = argmax over available sets of -∇H(r) = the greatest p_k² / r_k²
//! ```
//!
//! r_k is the rate at which client k was selected so far, p_k its share of the objective. All p_k are equal here, because
//! the fold already weighs an update by its samples; then the least selected of those available are taken, ties at
//! random. A client that is rarely there is therefore taken whenever it is, until it has caught up with the others.
//!
//! Absent on purpose: the paper's aggregation weights p_k / r_k (the fold knows samples alone), and its forgetting rate:
//! r_k is the mean over the whole run.

use nibble_seed::ClientId;
use serde::{Deserialize, Serialize};

use super::{Choice, Draw, Knowledge, Select};

/// Whoever was selected least often.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AvailabilityAware {}

impl Select for AvailabilityAware {
    fn select(&self, choice: &Choice<'_>) -> Vec<ClientId> {
        select(choice.available, choice.count, choice.knowledge, choice.draw(1))
    }
}

fn select(available: &[ClientId], count: usize, knowledge: &Knowledge, draw: Draw) -> Vec<ClientId> {
    let key = |&client: &ClientId| (knowledge.of(client).selected, draw.exponential(client), client);
    let mut keys: Vec<_> = available.iter().map(key).collect();
    keys.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
    keys.into_iter().take(count).map(|(.., client)| client).collect()
}

#[cfg(test)]
mod tests {
    use nibble_seed::{Purpose, RoundId, Seed};

    use super::*;

    /// Rounds of 3 of 12 clients, of which the first four are there in one round of five; gives how often each was selected.
    fn play(select: impl Fn(&[ClientId], &Knowledge, u64) -> Vec<ClientId>) -> Vec<u64> {
        let mut knowledge = Knowledge::default();
        for round in 0..200 {
            let there = |client: &ClientId| client.0 >= 4 || (round + client.0).is_multiple_of(5);
            let available: Vec<_> = (0..12).map(ClientId).filter(there).collect();
            for client in select(&available, &knowledge, round) {
                knowledge.selected(client, RoundId(round));
            }
        }
        (0..12).map(|client| knowledge.of(ClientId(client)).selected).collect()
    }

    #[test]
    fn who_is_rarely_there_gets_an_even_share_where_uniform_gives_it_a_fraction() {
        // An even share of 600 places is 50; the rare are there 40 times, and but for ties at the beginning always taken.
        let fair = play(|available, knowledge, round| {
            select(available, 3, knowledge, Draw(Seed(1).derive(Purpose::Selection, round, 1)))
        });
        assert!(fair[..4].iter().all(|count| (38..=40).contains(count)), "{fair:?}");
        assert!(fair[4..].iter().all(|count| (54..=57).contains(count)), "{fair:?}");
        assert_eq!(fair.iter().sum::<u64>(), 600);
        let uniform = play(|available, knowledge, round| {
            let choice = Choice { available, count: 3, knowledge, seed: Seed(1), round: RoundId(round) };
            super::super::Uniform {}.select(&choice)
        });
        // 40 times with probability 3/9: 13.3 in expectation, deviation 3; the bound is 5 of them.
        assert!(uniform[..4].iter().all(|&count| count < 29), "{uniform:?}");
    }

    #[test]
    fn ties_are_broken_at_random() {
        // 4,000 first rounds: binomial(4000, 1/8), deviation 20.9; the bound is 5 of them.
        let everyone: Vec<_> = (0..8).map(ClientId).collect();
        let mut counts = [0i32; 8];
        for round in 0..4000 {
            let draw = Draw(Seed(2).derive(Purpose::Selection, round, 1));
            counts[select(&everyone, 1, &Knowledge::default(), draw)[0].0 as usize] += 1;
        }
        assert!(counts.iter().all(|count| (count - 500).abs() < 105), "{counts:?}");
    }
}
