//! The transitions of a round.

use std::{collections::BTreeMap, time::Duration};

use nibble_seed::ClientId;

use super::{
    Assigned, Closed, Collecting, Counted, DiscardReason, Effect, Event, Outcome, Phase, Record, RejectReason, Round,
    Told,
};
use crate::selection::Choice;

impl Round {
    /// What to do now that `event` happened at time `now`.
    #[must_use]
    pub fn step(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        if let Some(effects) = self.carry(&event) {
            return effects;
        }
        match (&mut self.phase, event) {
            (Phase::Selecting { available, unable }, Event::CheckIn(client)) => {
                let first = available.is_empty() && unable.is_empty();
                unable.remove(&client);
                available.insert(client);
                self.after_selecting(first, now)
            }
            (Phase::Selecting { available, unable }, Event::Unable(client)) => {
                let first = available.is_empty() && unable.is_empty();
                available.remove(&client);
                unable.insert(client);
                self.after_selecting(first, now)
            }
            (Phase::Selecting { available, unable }, Event::Lost(client)) => {
                available.remove(&client);
                unable.remove(&client);
                Vec::new()
            }
            (Phase::Selecting { .. }, Event::Tick)
                if self.config.selection_end(self.opened).is_some_and(|end| now >= end) =>
            {
                self.select(now)
            }
            (Phase::Collecting(collecting), Event::Update { client, samples, digest }) => {
                let receipts = collecting.receive(Counted { client, samples, round: self.id }, digest);
                self.after_collecting(receipts, now)
            }
            (Phase::Collecting(collecting), Event::Refused { client, reason }) => {
                let receipts = collecting.refuse(client, reason);
                self.after_collecting(receipts, now)
            }
            (Phase::Collecting(collecting), Event::Lost(client)) => {
                collecting.lose(client, None);
                self.after_collecting(Vec::new(), now)
            }
            (Phase::Collecting(_), Event::Tick) => self.after_collecting(Vec::new(), now),
            (Phase::Buffering(_), event) => self.fill(event, now),
            (Phase::Closing(record, told), Event::Aggregated) => {
                let (record, told) = (record.clone(), std::mem::take(told));
                self.phase = Phase::Ended(told);
                vec![Effect::End(record)]
            }
            (Phase::Closing(_, told) | Phase::Ended(told), Event::Update { client, digest, .. }) => {
                let outcome = match told.get(&client) {
                    Some((first, outcome)) if *first == digest => outcome.clone(),
                    Some(_) => Outcome::Rejected(RejectReason::Conflict),
                    None => Outcome::Discarded(DiscardReason::Late),
                };
                vec![receipt(client, outcome)]
            }
            (_, Event::Refused { client, reason }) => vec![receipt(client, Outcome::Rejected(reason))],
            (Phase::Selecting { .. }, Event::Update { client, .. }) => {
                vec![receipt(client, Outcome::Rejected(RejectReason::NotSelected))]
            }
            (_, Event::CheckIn(_) | Event::Unable(_) | Event::Lost(_) | Event::Tick | Event::Aggregated) => Vec::new(),
        }
    }

    /// Selects once everyone is there who is waited for, whether able or not.
    fn after_selecting(&mut self, first: bool, now: Duration) -> Vec<Effect> {
        let Phase::Selecting { available, unable } = &self.phase else { return Vec::new() };
        let full = available.len() + unable.len() >= self.config.candidates();
        match (full, self.config.selection_end(self.opened)) {
            (true, _) => self.select(now),
            (false, Some(end)) if first => vec![Effect::WakeAt(end)],
            (false, _) => Vec::new(),
        }
    }

    /// Draws the cohort from the clients that are available.
    fn select(&mut self, now: Duration) -> Vec<Effect> {
        let Phase::Selecting { available, .. } = &self.phase else { return Vec::new() };
        let available: Vec<_> = available.iter().copied().collect();
        if available.len() < self.config.fewest() {
            return self.end(Closed::TooFewClients, Collecting::of(Vec::new(), None), now);
        }
        let (count, knowledge) = (self.config.selected(), std::mem::take(&mut self.knowledge));
        let choice = Choice { available: &available, count, knowledge: &knowledge, seed: self.seed, round: self.id };
        let selected = self.config.rule().select(&choice);
        let assign = |&client: &ClientId| {
            let Assigned { rounding, order, .. } = self.assign(client, &selected);
            Effect::Assign { client, rounding, order }
        };
        let mut effects: Vec<_> = selected.iter().map(assign).collect();
        let deadline = self.config.collecting_end(now);
        effects.extend(deadline.map(Effect::WakeAt));
        self.phase = Phase::Collecting(Collecting::of(selected, deadline));
        effects
    }

    /// Closes or abandons the round if its count or its time says so; `effects` come first.
    fn after_collecting(&mut self, mut effects: Vec<Effect>, now: Duration) -> Vec<Effect> {
        let Phase::Collecting(collecting) = &self.phase else { return effects };
        let (received, waiting) = (collecting.received.len(), collecting.waiting());
        let enough = received >= self.config.fewest();
        let time_is_up = collecting.deadline.is_some_and(|deadline| now >= deadline);
        let closed = if received >= self.config.cohort() {
            Closed::CohortComplete
        } else if received + waiting < self.config.fewest() || (time_is_up && !enough) {
            Closed::QuorumMissed
        } else if waiting == 0 {
            Closed::AllReported
        } else if time_is_up {
            Closed::Deadline
        } else {
            return effects;
        };
        let collecting = collecting.clone();
        effects.extend(self.end(closed, collecting, now));
        effects
    }

    /// Fixes the counted set, or abandons, and tells every client that sent a good update what became of it.
    fn end(&mut self, closed: Closed, mut collecting: Collecting, now: Duration) -> Vec<Effect> {
        collecting.received.sort_by_key(|counted| counted.client);
        let outcome = match closed.is_committed() {
            true => Outcome::Accepted,
            false => Outcome::Discarded(DiscardReason::Abandoned),
        };
        let told: Told =
            collecting.digests.iter().map(|(&client, &digest)| (client, (digest, outcome.clone()))).collect();
        let good = || told.iter().map(|(&client, (_, outcome))| (client, outcome.clone()));
        let refused = collecting.gone.iter().filter_map(|(&client, outcome)| Some((client, outcome.clone()?)));
        let record = Record {
            round: self.id,
            outcomes: good().chain(refused).collect(),
            earlier: BTreeMap::new(),
            missing: collecting.selected.iter().copied().filter(|client| !told.contains_key(client)).collect(),
            selected: collecting.selected,
            closed,
            opened: self.opened,
            ended: now,
        };
        let receipts: Vec<_> = good().map(|(client, outcome)| receipt(client, outcome)).collect();
        if closed.is_committed() {
            self.phase = Phase::Closing(record, told);
            std::iter::once(Effect::Aggregate(collecting.received)).chain(receipts).collect()
        } else {
            self.phase = Phase::Ended(told);
            receipts.into_iter().chain([Effect::End(record)]).collect()
        }
    }
}

impl Collecting {
    pub(super) fn of(selected: Vec<ClientId>, deadline: Option<Duration>) -> Self {
        Self { selected, deadline, received: Vec::new(), digests: BTreeMap::new(), gone: BTreeMap::new() }
    }

    /// Clients of the cohort that may still send.
    fn waiting(&self) -> usize {
        self.selected.len() - self.received.len() - self.gone.len()
    }

    /// Whether `client` may still send a first update.
    pub(super) fn waits_for(&self, client: ClientId) -> bool {
        self.selected.contains(&client) && !self.digests.contains_key(&client) && !self.gone.contains_key(&client)
    }

    /// Takes in a good update. The same bytes again change nothing; other bytes are refused, the first stand.
    fn receive(&mut self, counted: Counted, digest: [u8; 32]) -> Vec<Effect> {
        let Counted { client, samples, .. } = counted;
        if let Some(first) = self.digests.get(&client) {
            let conflict = (*first != digest).then(|| receipt(client, Outcome::Rejected(RejectReason::Conflict)));
            return conflict.into_iter().collect();
        }
        if samples == 0 {
            return self.refuse(client, RejectReason::NoSamples);
        }
        if !self.selected.contains(&client) || self.gone.contains_key(&client) {
            return vec![receipt(client, Outcome::Rejected(RejectReason::NotSelected))];
        }
        self.digests.insert(client, digest);
        self.received.push(counted);
        Vec::new()
    }

    /// Turns an unusable update away. Its sender is not waited for any longer, unless a good one came before.
    fn refuse(&mut self, client: ClientId, reason: RejectReason) -> Vec<Effect> {
        let outcome = match self.selected.contains(&client) {
            true => Outcome::Rejected(reason),
            false => Outcome::Rejected(RejectReason::NotSelected),
        };
        self.lose(client, Some(outcome.clone()));
        vec![receipt(client, outcome)]
    }

    fn lose(&mut self, client: ClientId, outcome: Option<Outcome>) {
        if self.selected.contains(&client) && !self.digests.contains_key(&client) {
            self.gone.entry(client).or_insert(outcome);
        }
    }
}

pub(super) fn receipt(client: ClientId, outcome: Outcome) -> Effect {
    Effect::Receipt { client, outcome }
}
