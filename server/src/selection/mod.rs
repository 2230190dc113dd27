//! Which of the available clients make up a cohort: one file a rule, and what a rule may know of clients.
//!
//! A rule is a function of the clients that are available, of what they let be known ([`Knowledge`]), of the run's seed and
//! of the round. Randomness comes from `seed.derive(Selection, round, draw)` alone: `uniform` takes draw 0 by the place
//! among the available, everyone else draws 1 and 2 by ClientId, so that who else is there changes nobody's number.
//!
//! Absent on purpose: availability itself. Who is there is told to the round; a rule picks among them.

mod availability_aware;
mod knowledge;
mod oort;
mod power_of_choice;
mod rule;
mod uniform;
mod weighted;

use nibble_seed::{ClientId, Purpose, RoundId, Seed};

pub use knowledge::{Heard, Knowledge, Known};
pub use oort::Oort;
pub use power_of_choice::PowerOfChoice;
pub use rule::{Rule, SelectionError};

/// `count` of `available`, which is in ClientId order, or all of them if there are fewer; in the order they were drawn.
pub(crate) fn select(
    rule: &Rule,
    available: &[ClientId],
    count: usize,
    knowledge: &Knowledge,
    (seed, round): (Seed, RoundId),
) -> Vec<ClientId> {
    let draw = |draw| Draw(seed.derive(Purpose::Selection, round.0, draw));
    match rule {
        Rule::Uniform {} => uniform::select(available, count, seed, round),
        Rule::Weighted {} => weighted::select(available, count, knowledge, draw(1)),
        Rule::PowerOfChoice(config) => power_of_choice::select(config, available, count, knowledge, draw(1)),
        Rule::Oort(config) => oort::select(config, available, count, knowledge, round, [draw(1), draw(2)]),
        Rule::AvailabilityAware {} => availability_aware::select(available, count, knowledge, draw(1)),
    }
}

/// One random number for every client.
#[derive(Clone, Copy, Debug)]
struct Draw(Seed);

impl Draw {
    /// An exponential variate of rate 1, above 0.
    fn exponential(self, client: ClientId) -> f64 {
        let unit = ((self.0.at(client.0) >> 11) as f64 + 0.5) * (1.0 / 9_007_199_254_740_992.0);
        -unit.ln()
    }
}
