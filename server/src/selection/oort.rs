//! Oort (Lai, Zhu, Madhyastha and Chowdhury, "Oort: Efficient Federated Learning via Guided Participant Selection",
//! OSDI 2021, algorithm 1): those whose samples still teach much and who are not slow, and a share of newcomers.
//!
//! ```text
//! U(i)    = |B_i| sqrt(mean of loss²)       here |B_i| x the mean loss, which is what clients report (Jensen: at most that)
//! Util(i) = (norm U(i) + sqrt(0.1 ln R / L(i))) x (T / t_i)^alpha where t_i > T
//! cohort  = (1 - eps) m drawn by Util of those at least `cutoff` times the utility of the m-th best, and eps m newcomers
//! eps     = max(explore x explore_decay^round, explore_least)
//! ```
//!
//! R is the round and L(i) the last one the client was selected in, both from 1; t_i is how long it last took, T the
//! preferred duration. As in the authors' program, U is clipped at its 95th percentile and brought to 0..1, so that the
//! staleness bonus means the same whatever losses and samples are. Clients that were selected far more often than the
//! others wait until the others have caught up (the paper: more than so many times at all, which in a small population
//! soon is everyone).
//!
//! Absent on purpose: the pacer that lengthens T when utility falls, and the choice of newcomers by speed: nothing is
//! known of theirs.

use std::collections::BTreeMap;

use nibble_seed::{ClientId, RoundId};
use serde::{Deserialize, Serialize};

use super::{Choice, Draw, Knowledge, Known, Select, SelectionError, weighted::by_weight};

/// The keys of `oort`, with the paper's values as defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Oort {
    /// Share of newcomers in the first round, from 0 to 1. Default: 0.9.
    pub explore: f64,
    /// What it is multiplied by every round, above 0 and at most 1. Default: 0.98.
    pub explore_decay: f64,
    /// What it does not fall below, from 0 to 1. Default: 0.2.
    pub explore_least: f64,
    /// How much slowness counts, from 0 (not at all) to 100. Default: 2.
    pub alpha: f64,
    /// Preferred seconds from assignment to update, above 0. Default: the median of what clients last took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_seconds: Option<f64>,
    /// Utility that is enough to be drawn, as a share of that of the last to be needed, above 0 and at most 1. Default: 0.95.
    pub cutoff: f64,
    /// A client selected this many times more often than the mean of those available waits, at least 0. Default: 10.
    pub most_above_mean: f64,
}

impl Default for Oort {
    fn default() -> Self {
        Self {
            explore: 0.9,
            explore_decay: 0.98,
            explore_least: 0.2,
            alpha: 2.0,
            preferred_seconds: None,
            cutoff: 0.95,
            most_above_mean: 10.0,
        }
    }
}

/// Share of the utilities that are not clipped.
const CLIP: f64 = 0.95;

impl Oort {
    /// Share of newcomers in a round.
    fn exploration(&self, round: RoundId) -> f64 {
        let decayed = self.explore * self.explore_decay.powf(round.0 as f64);
        decayed.max(self.explore_least)
    }
}

impl Select for Oort {
    fn check(&self, _: usize) -> Result<(), SelectionError> {
        let above = |least: f64, most: f64| move |value: f64| value > least && value <= most;
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let preferred = self.preferred_seconds.unwrap_or(1.0);
        let checks = [
            ("explore", self.explore, share(self.explore), "from 0 to 1"),
            ("explore_decay", self.explore_decay, above(0.0, 1.0)(self.explore_decay), "above 0 and at most 1"),
            ("explore_least", self.explore_least, share(self.explore_least), "from 0 to 1"),
            ("alpha", self.alpha, (0.0..=100.0).contains(&self.alpha), "from 0 to 100"),
            ("preferred_seconds", preferred, above(0.0, 1e9)(preferred), "above 0 and at most 1e9"),
            ("cutoff", self.cutoff, above(0.0, 1.0)(self.cutoff), "above 0 and at most 1"),
            ("most_above_mean", self.most_above_mean, self.most_above_mean >= 0.0, "0 or more"),
        ];
        match checks.into_iter().find(|(_, _, good, _)| !good) {
            Some((key, found, _, expected)) => Err(SelectionError::Range { key, found, expected }),
            None => Ok(()),
        }
    }

    fn select(&self, choice: &Choice<'_>) -> Vec<ClientId> {
        let draws = [choice.draw(1), choice.draw(2)];
        select(self, choice.available, choice.count, choice.knowledge, choice.round, draws)
    }
}

fn select(
    config: &Oort,
    available: &[ClientId],
    count: usize,
    knowledge: &Knowledge,
    round: RoundId,
    [exploit, explore]: [Draw; 2],
) -> Vec<ClientId> {
    let times = |client: ClientId| knowledge.of(client).selected;
    let mean = available.iter().map(|&client| times(client) as f64).sum::<f64>() / available.len().max(1) as f64;
    let waits = |client: &ClientId| times(*client) as f64 > mean + config.most_above_mean;
    let (mut waiting, others): (Vec<_>, Vec<_>) = available.iter().copied().partition(waits);
    let was_heard = |client: &ClientId| knowledge.of(*client).loss.is_some();
    let (heard, unheard): (Vec<_>, Vec<_>) = others.into_iter().partition(was_heard);
    let newcomers = ((config.exploration(round) * count as f64).round() as usize).min(unheard.len());
    let wanted = count.saturating_sub(newcomers).min(heard.len());
    let mut cohort = exploited(config, &heard, wanted, knowledge, round, exploit);
    cohort.extend(by_weight(&unheard, count - cohort.len(), |_| 1.0, explore));
    // Where nobody else is there, those who wait go all the same, the least selected first.
    waiting.sort_by_key(|&client| (times(client), client));
    cohort.extend(waiting.into_iter().take(count - cohort.len()));
    cohort
}

/// `wanted` of `clients`, all of which reported before, drawn by utility.
fn exploited(
    config: &Oort,
    clients: &[ClientId],
    wanted: usize,
    knowledge: &Knowledge,
    round: RoundId,
    draw: Draw,
) -> Vec<ClientId> {
    if wanted == 0 {
        return Vec::new();
    }
    let known: Vec<_> = clients.iter().map(|&client| knowledge.of(client)).collect();
    let utilities = utilities(config, &known, round);
    let mut sorted = utilities.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let least = config.cutoff * sorted[wanted - 1];
    let pairs = clients.iter().copied().zip(utilities);
    let pool: BTreeMap<_, _> = pairs.filter(|(_, utility)| *utility >= least).collect();
    let clients: Vec<_> = pool.keys().copied().collect();
    by_weight(&clients, wanted, |client| pool[&client], draw)
}

/// The utility of clients that reported before.
fn utilities(config: &Oort, known: &[Known], round: RoundId) -> Vec<f64> {
    let statistical: Vec<f64> =
        known.iter().map(|known| known.samples.unwrap_or(0) as f64 * known.loss.unwrap_or(0.0)).collect();
    let highest = quantile(&statistical, CLIP);
    let lowest = statistical.iter().copied().fold(f64::INFINITY, f64::min);
    let took: Vec<f64> = known.iter().filter_map(|known| Some(known.took?.as_secs_f64())).collect();
    let preferred = config.preferred_seconds.unwrap_or_else(|| quantile(&took, 0.5));
    let utility = |(known, statistical): (&Known, &f64)| {
        let range = highest - lowest;
        let normed = if range > 0.0 { (statistical.min(highest) - lowest) / range } else { 1.0 };
        let last = known.last.unwrap_or(0) + 1;
        let stale = (0.1 * ((round.0 + 1) as f64).ln() / last as f64).sqrt();
        let slowness = known.took.map_or(0.0, |took| took.as_secs_f64());
        let system = if slowness > preferred { (preferred / slowness).powf(config.alpha) } else { 1.0 };
        (normed + stale) * system
    };
    known.iter().zip(&statistical).map(utility).collect()
}

/// The value that `share` of the others do not exceed; infinity of none.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (share * sorted.len() as f64) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests;
