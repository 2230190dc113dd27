//! One round as a pure state machine: events and times go in, effects come out.
//!
//! ```text
//! Selecting --cohort chosen--> Collecting --count, deadline or nobody left--> Closing --aggregated--> Committed
//!     \------- too few clients -----\------------ quorum missed ------------> Abandoned(reason)
//! ```
//!
//! A round always ends, and its [`Record`] says why and what became of every client. Outcomes are told when the counted
//! set is fixed, not before: until then even a good update may still be discarded with its round.
//!
//! Invariant: no clock, socket, disk or randomness but the seed is touched here.

mod config;
mod event;
mod record;
mod step;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use nibble_seed::{ClientId, Purpose, RoundId, Seed};

use crate::selection::Knowledge;
pub use config::RoundConfig;
pub use event::{Counted, Digest, Effect, Event};
pub use record::{Closed, DiscardReason, Outcome, Record, RejectReason};

/// A round in one of its phases.
#[derive(Clone, Debug)]
pub struct Round {
    id: RoundId,
    seed: Seed,
    config: RoundConfig,
    opened: Duration,
    /// What the cohort is chosen by; nothing once it is chosen.
    knowledge: Knowledge,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Clients check in until enough are there or the window ends.
    Selecting { available: BTreeSet<ClientId>, unable: BTreeSet<ClientId> },
    /// The cohort trains and sends.
    Collecting(Collecting),
    /// The counted set is fixed; the aggregate is being computed and stored.
    Closing(Record, Told),
    /// Ended, committed or abandoned.
    Ended(Told),
}

/// What was told to whom about which bytes, so that the same bytes get the same answer again.
type Told = BTreeMap<ClientId, (Digest, Outcome)>;

#[derive(Clone, Debug)]
struct Collecting {
    selected: Vec<ClientId>,
    deadline: Option<Duration>,
    /// Good updates, in order of arrival.
    received: Vec<Counted>,
    digests: BTreeMap<ClientId, Digest>,
    /// Clients that will not send any more, with what was told to those that sent something unusable.
    gone: BTreeMap<ClientId, Option<Outcome>>,
}

impl Round {
    /// Opens a round at time `now`.
    #[must_use]
    pub fn open(id: RoundId, seed: Seed, config: RoundConfig, now: Duration) -> Self {
        Self {
            id,
            seed,
            config,
            opened: now,
            knowledge: Knowledge::default(),
            phase: Phase::Selecting { available: BTreeSet::new(), unable: BTreeSet::new() },
        }
    }

    /// The round, choosing its cohort by what is known of clients, where its rule asks for that.
    #[must_use]
    pub fn knowing(self, knowledge: &Knowledge) -> Self {
        if self.config.rule().is_uniform() {
            return self;
        }
        Self { knowledge: knowledge.clone(), ..self }
    }

    /// A round whose cohort was assigned at time `assigned`, before a restart. Its events since are to be told again, in
    /// their order, with the times they had.
    #[must_use]
    pub fn resume(
        id: RoundId,
        seed: Seed,
        config: RoundConfig,
        opened: Duration,
        cohort: Vec<ClientId>,
        assigned: Duration,
    ) -> Self {
        let phase = Phase::Collecting(Collecting::of(cohort, config.collecting_end(assigned)));
        Self { id, seed, config, opened, knowledge: Knowledge::default(), phase }
    }

    /// What `client` is asked to do in this round, if it is of the cohort and has sent nothing yet.
    #[must_use]
    pub fn assignment(&self, client: ClientId) -> Option<Effect> {
        let Phase::Collecting(collecting) = &self.phase else { return None };
        collecting.waits_for(client).then(|| self.assign(client, &collecting.selected))
    }

    /// When the round closes without those that have not sent, if it does.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let Phase::Collecting(collecting) = &self.phase else { return None };
        collecting.deadline
    }

    /// What became of everyone, once the counted set is fixed and until the round ends.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        let Phase::Closing(record, _) = &self.phase else { return None };
        Some(record)
    }

    /// Whether clients may still check in for this round.
    #[must_use]
    pub fn is_selecting(&self) -> bool {
        matches!(self.phase, Phase::Selecting { .. })
    }

    fn assign(&self, client: ClientId, cohort: &[ClientId]) -> Effect {
        // Strata go to the members at random, so that those who drop out leave no gap on one side.
        let shared = self.seed.derive(Purpose::Rounding, self.id.0, 0);
        let rank = cohort.iter().filter(|&&member| member < client).count();
        let stratum = shared.permutation(cohort.len()).get(rank).copied().unwrap_or_default();
        let rounding = nibble_codec::stratified(shared, stratum as usize, cohort.len());
        Effect::Assign { client, rounding, order: self.seed.derive(Purpose::BatchOrder, self.id.0, client.0) }
    }

    /// The round's number.
    #[must_use]
    pub fn id(&self) -> RoundId {
        self.id
    }

    /// Whether the round has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }
}

#[cfg(test)]
mod tests;
