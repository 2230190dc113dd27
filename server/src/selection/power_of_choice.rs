//! The worst off of a few (Cho, Wang and Joshi, "Client Selection in Federated Learning: Convergence Analysis and
//! Power-of-Choice Selection Strategies", 2020): `candidates` clients are drawn by number of samples, and those of them
//! with the highest local loss are selected.
//!
//! The losses are the last ones reported, each of the model its client was given then (the paper's π_rpow-d), so that
//! nobody has to evaluate or to be asked anything. A client that never reported counts as the highest.

use nibble_seed::ClientId;
use serde::{Deserialize, Serialize};

use super::{Choice, Draw, Knowledge, Select, SelectionError, weighted};

/// How many candidates there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PowerOfChoice {
    /// Clients drawn to choose among, from as many as are selected to all there are. Default: twice as many as are selected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
}

impl Select for PowerOfChoice {
    fn check(&self, selected: usize) -> Result<(), SelectionError> {
        match self.candidates {
            Some(candidates) if candidates < selected => Err(SelectionError::Candidates { candidates, selected }),
            _ => Ok(()),
        }
    }

    fn select(&self, choice: &Choice<'_>) -> Vec<ClientId> {
        select(self, choice.available, choice.count, choice.knowledge, choice.draw(1))
    }
}

fn select(
    config: &PowerOfChoice,
    available: &[ClientId],
    count: usize,
    knowledge: &Knowledge,
    draw: Draw,
) -> Vec<ClientId> {
    let candidates = config.candidates.unwrap_or(2 * count).max(count);
    let mut drawn = weighted::select(available, candidates, knowledge, draw);
    // Stable: among equal losses the order in which they were drawn stands.
    drawn.sort_by(|a, b| loss(knowledge, *b).total_cmp(&loss(knowledge, *a)));
    drawn.truncate(count);
    drawn
}

fn loss(knowledge: &Knowledge, client: ClientId) -> f64 {
    knowledge.of(client).loss.unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use nibble_seed::{Purpose, Seed};

    use super::*;
    use crate::selection::Heard;

    fn draw(round: u64) -> Draw {
        Draw(Seed(6).derive(Purpose::Selection, round, 1))
    }

    /// Clients 0..8 of equal samples, of which the first six reported a loss of as much as their number.
    fn knowledge() -> Knowledge {
        let mut knowledge = Knowledge::default();
        for client in 0..6 {
            let heard = Heard { samples: 10, loss: Some(client as f64), took: None };
            knowledge.heard(ClientId(client), heard);
        }
        knowledge
    }

    #[test]
    fn with_everyone_a_candidate_the_unheard_and_the_worst_off_are_selected() {
        let everyone: Vec<_> = (0..8).map(ClientId).collect();
        let config = PowerOfChoice { candidates: Some(8) };
        let mut cohort = select(&config, &everyone, 4, &knowledge(), draw(0));
        assert_eq!(cohort[2..], [5, 4].map(ClientId));
        cohort[..2].sort();
        assert_eq!(cohort[..2], [6, 7].map(ClientId));
    }

    #[test]
    fn the_worst_of_d_is_selected_as_often_as_order_statistics_say() {
        // With equal weights client i is the maximum of 3 of 6 with probability C(i, 2) / C(6, 3); 5 deviations of 20,000.
        const ROUNDS: u64 = 20_000;
        let six: Vec<_> = (0..6).map(ClientId).collect();
        let (config, knowledge) = (PowerOfChoice { candidates: Some(3) }, knowledge());
        let mut counts = [0.0; 6];
        for round in 0..ROUNDS {
            counts[select(&config, &six, 1, &knowledge, draw(round))[0].0 as usize] += 1.0;
        }
        for (client, count) in counts.into_iter().enumerate() {
            let pairs = (client * client.saturating_sub(1)) as f64 / 2.0;
            let p = pairs / 20.0;
            let deviation = (ROUNDS as f64 * p * (1.0 - p)).sqrt();
            assert!((count - ROUNDS as f64 * p).abs() <= 5.0 * deviation, "client {client}: {count} of {p}");
        }
    }

    #[test]
    fn with_as_many_candidates_as_are_selected_it_is_the_weighted_draw() {
        let everyone: Vec<_> = (0..8).map(ClientId).collect();
        let config = PowerOfChoice { candidates: Some(4) };
        let mut cohort = select(&config, &everyone, 4, &knowledge(), draw(2));
        let mut weighted = weighted::select(&everyone, 4, &knowledge(), draw(2));
        cohort.sort();
        weighted.sort();
        assert_eq!(cohort, weighted);
    }
}
