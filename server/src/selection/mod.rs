//! Which of the available clients make up a cohort: one trait ([`Select`]), one file a rule, and what a rule may
//! know of clients.
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

use std::fmt;

use nibble_seed::{ClientId, Purpose, RoundId, Seed};

pub use availability_aware::AvailabilityAware;
pub use knowledge::{Heard, Knowledge, Known};
pub use oort::Oort;
pub use power_of_choice::PowerOfChoice;
pub use rule::{Rule, SelectionError};
pub use uniform::Uniform;
pub use weighted::Weighted;

/// Chooses cohorts.
pub trait Select: fmt::Debug {
    /// Checks the rule's keys, for rounds that select `selected` clients.
    ///
    /// # Errors
    /// If one is out of its range.
    fn check(&self, _selected: usize) -> Result<(), SelectionError> {
        Ok(())
    }

    /// The clients of a cohort, in the order they were drawn: as many as are wanted, or all if there are fewer.
    fn select(&self, choice: &Choice<'_>) -> Vec<ClientId>;
}

/// What a cohort is chosen from, and by.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Who is there, in ClientId order.
    pub available: &'a [ClientId],
    /// How many are wanted.
    pub count: usize,
    /// What is known of them.
    pub knowledge: &'a Knowledge,
    /// Of the run.
    pub seed: Seed,
    /// The round.
    pub round: RoundId,
}

impl Choice<'_> {
    fn draw(&self, draw: u64) -> Draw {
        Draw(self.seed.derive(Purpose::Selection, self.round.0, draw))
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
