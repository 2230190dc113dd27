//! What is known of clients when a cohort is chosen: what they said of their updates, and how often they were selected.
//!
//! Only what every engine learns alike is in here, at the end of a round: who was assigned it, and the good updates that
//! came before it closed. Numbers of samples and losses are what clients say; nothing proves them.

use std::{collections::BTreeMap, time::Duration};

use nibble_seed::{ClientId, RoundId};
use serde::{Deserialize, Serialize};

/// What is known of every client that was ever selected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Knowledge {
    clients: BTreeMap<ClientId, Known>,
}

/// What is known of one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// Samples it last said it trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// Mean training loss it last reported, finite and at least 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Time from its last assignment that it answered to the arrival of its update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<Duration>,
    /// Rounds that it was assigned.
    pub selected: u64,
    /// The last of them.
    pub last: Option<u64>,
}

/// What came with a good update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    /// Samples trained on.
    pub samples: u64,
    /// Mean training loss.
    pub loss: Option<f64>,
    /// Time from the assignment to the arrival.
    pub took: Option<Duration>,
}

impl Knowledge {
    /// What is known of a client; of one that was never selected, nothing.
    #[must_use]
    pub fn of(&self, client: ClientId) -> Known {
        self.clients.get(&client).copied().unwrap_or_default()
    }

    /// A client was assigned `round`.
    pub fn selected(&mut self, client: ClientId, round: RoundId) {
        let known = self.clients.entry(client).or_default();
        known.selected += 1;
        known.last = Some(round.0);
    }

    /// A good update of a client came.
    pub fn heard(&mut self, client: ClientId, heard: Heard) {
        let known = self.clients.entry(client).or_default();
        known.samples = Some(heard.samples);
        // One that reports nonsense was heard of all the same: it must not count as one that never was.
        known.loss = Some(heard.loss.filter(|loss| loss.is_finite()).unwrap_or(0.0).max(0.0));
        known.took = heard.took.or(known.took);
    }

    /// Samples of a client, as far as is known: of one that has said nothing, the mean of those who have; never 0.
    #[must_use]
    pub fn samples_of(&self, client: ClientId) -> f64 {
        self.of(client).samples.map_or_else(|| self.mean_samples(), |samples| samples as f64).max(1.0)
    }

    /// Mean of the numbers of samples that are known, 1 where none is: what an unknown one counts as.
    pub(super) fn mean_samples(&self) -> f64 {
        let known = || self.clients.values().filter_map(|known| known.samples);
        match known().count() {
            0 => 1.0,
            count => known().map(|samples| samples as f64).sum::<f64>() / count as f64,
        }
    }

    /// Everything known, in ClientId order, to be kept.
    pub fn iter(&self) -> impl Iterator<Item = (ClientId, Known)> {
        self.clients.iter().map(|(&client, &known)| (client, known))
    }
}

impl FromIterator<(ClientId, Known)> for Knowledge {
    fn from_iter<I: IntoIterator<Item = (ClientId, Known)>>(known: I) -> Self {
        Self { clients: known.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_stands_and_nonsense_is_no_loss() {
        let mut knowledge = Knowledge::default();
        assert_eq!(knowledge.mean_samples(), 1.0);
        let client = ClientId(3);
        knowledge.selected(client, RoundId(4));
        let first = Heard { samples: 10, loss: Some(2.0), took: Some(Duration::from_secs(5)) };
        knowledge.heard(client, first);
        knowledge.selected(client, RoundId(6));
        let known = knowledge.of(client);
        assert_eq!((known.selected, known.last, known.samples, known.loss), (2, Some(6), Some(10), Some(2.0)));
        for loss in [None, Some(f64::NAN), Some(f64::INFINITY), Some(-3.0)] {
            knowledge.heard(client, Heard { samples: 20, loss, took: None });
            let known = knowledge.of(client);
            assert_eq!((known.samples, known.loss, known.took), (Some(20), Some(0.0), Some(Duration::from_secs(5))));
        }
        knowledge.heard(ClientId(1), Heard { samples: 40, ..first });
        assert_eq!(knowledge.mean_samples(), 30.0);
        assert_eq!(knowledge.iter().collect::<Knowledge>(), knowledge);
    }
}
