//! One round as a pure state machine: events and times go in, effects come out.
//!
//! ```text
//! Selecting --cohort chosen--> Collecting --count, deadline or nobody left--> Closing --aggregated--> Committed
//!     \------- too few clients -----\------------ quorum missed ------------> Abandoned(reason)
//! ```
//!
//! Where rounds do not wait, they are `Buffering` (buffering.rs) in place of the first two, and what is under way when one closes
//! is carried into the next.
//!
//! A round always ends, and its [`Record`] says why and what became of every client. Outcomes are told when the counted
//! set is fixed, not before: until then even a good update may still be discarded with its round.
//!
//! Invariant: no clock, socket, disk or randomness but the seed is touched here.

mod asynchronous;
mod buffering;
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
pub use asynchronous::{Asynchronous, Buffer};
use buffering::Buffering;
pub use buffering::{Carried, Flight};
pub use config::RoundConfig;
pub use event::{Counted, Digest, Effect, Event};
pub use record::{Closed, DiscardReason, Outcome, Record, RejectReason};

/// A client's part in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The round that it was assigned in.
    pub round: RoundId,
    /// Stream of its rounding noise.
    pub rounding: Seed,
    /// Stream of its batch order.
    pub order: Seed,
    /// When it is no longer waited for, if ever.
    pub deadline: Option<Duration>,
}

/// A round in one of its phases.
#[derive(Clone, Debug)]
pub struct Round {
    id: RoundId,
    seed: Seed,
    config: RoundConfig,
    opened: Duration,
    /// What the cohort is chosen by; nothing once it is chosen.
    knowledge: Knowledge,
    /// What the next round goes on with, once this one has closed.
    carried: Carried,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Clients check in until enough are there or the window ends.
    Selecting { available: BTreeSet<ClientId>, unable: BTreeSet<ClientId> },
    /// The cohort trains and sends.
    Collecting(Collecting),
    /// Clients train, and the first updates that come are counted.
    Buffering(Buffering),
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
        let phase = match config.buffer() {
            None => Phase::Selecting { available: BTreeSet::new(), unable: BTreeSet::new() },
            Some(_) => Phase::Buffering(Buffering::default()),
        };
        Self { id, seed, config, opened: now, knowledge: Knowledge::default(), carried: Carried::default(), phase }
    }

    /// The round, going on with what the last one left.
    #[must_use]
    pub fn carrying(self, carried: Carried) -> Self {
        let phase = match self.phase {
            Phase::Buffering(_) => Phase::Buffering(Buffering::of(carried)),
            phase => phase,
        };
        Self { phase, ..self }
    }

    /// A buffered round that was open before a restart: what flies and has come, and who was assigned in it.
    #[must_use]
    pub fn resume_buffered(
        (id, seed, config): (RoundId, Seed, RoundConfig),
        opened: Duration,
        carried: Carried,
        selected: Vec<ClientId>,
    ) -> Self {
        let phase = Phase::Buffering(Buffering::resumed(carried, selected));
        Self { phase, ..Self::open(id, seed, config, opened) }
    }

    /// Fixes the counted set of a buffered round again that was resumed with it: it closed at that time, and why. `later` are
    /// updates that came after that. Gives what the counted set is.
    #[must_use]
    pub fn close_again(&mut self, closed: Closed, at: Duration, later: Vec<(Counted, Digest)>) -> Vec<Counted> {
        let effects = self.empty(closed, at);
        self.carried.received.extend(later);
        let counted = effects.into_iter().find_map(|effect| match effect {
            Effect::Aggregate(counted) => Some(counted),
            _ => None,
        });
        counted.unwrap_or_default()
    }

    /// What is left to the next round, or would be now.
    #[must_use]
    pub fn carried(&self) -> &Carried {
        match &self.phase {
            Phase::Buffering(buffering) => &buffering.carried,
            _ => &self.carried,
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
        Self { id, seed, config, opened, knowledge: Knowledge::default(), carried: Carried::default(), phase }
    }

    /// What `client` is asked to do, if it was assigned and has sent nothing yet.
    #[must_use]
    pub fn assignment(&self, client: ClientId) -> Option<Assigned> {
        match &self.phase {
            Phase::Collecting(collecting) if collecting.waits_for(client) => {
                Some(Assigned { deadline: collecting.deadline, ..self.assign(client, &collecting.selected) })
            }
            _ => self.flight(client),
        }
    }

    /// How many clients were assigned their part, in this round or, where rounds do not wait, in one before, and are waited for.
    #[must_use]
    pub fn training(&self) -> usize {
        match &self.phase {
            Phase::Collecting(collecting) => {
                collecting.selected.iter().filter(|&&client| collecting.waits_for(client)).count()
            }
            _ => self.carried().flying.len(),
        }
    }

    /// When the round closes without those that have not sent, or gives somebody up, if it does.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Collecting(collecting) => collecting.deadline,
            _ => self.next_giving_up(Duration::ZERO),
        }
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
        matches!(self.phase, Phase::Selecting { .. } | Phase::Buffering(_))
    }

    fn assign(&self, client: ClientId, cohort: &[ClientId]) -> Assigned {
        // Strata go to the members at random, so that those who drop out leave no gap on one side.
        let shared = self.seed.derive(Purpose::Rounding, self.id.0, 0);
        let rank = cohort.iter().filter(|&&member| member < client).count();
        let stratum = shared.permutation(cohort.len()).get(rank).copied().unwrap_or_default();
        let rounding = nibble_codec::stratified(shared, stratum as usize, cohort.len());
        let order = self.seed.derive(Purpose::BatchOrder, self.id.0, client.0);
        Assigned { round: self.id, rounding, order, deadline: None }
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
