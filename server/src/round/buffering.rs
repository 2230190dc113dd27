//! Rounds that do not wait: FedBuff (Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba: "Federated learning with buffered
//! asynchronous aggregation", AISTATS 2022, algorithm 1).
//!
//! ```text
//! a fixed number of clients train; whoever sends or is given up makes room for another, who starts from the newest model
//! the first K updates, of whatever age, make the next model; the others go on: they are carried into the next round
//! ```
//!
//! A round here is what fills one buffer. A client is assigned at most once in it, so that round and client still name an
//! update; its outcome is told when the buffer is full. An abandoned round keeps its updates: the next one counts them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use nibble_seed::{ClientId, Purpose, RoundId};

use super::{
    Assigned, Closed, Counted, Digest, Effect, Event, Outcome, Phase, Record, RejectReason, Round, Told, step::receipt,
};

/// A client that trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// The round that it was assigned in, from whose model it started.
    pub round: RoundId,
    /// When.
    pub since: Duration,
}

/// What one round leaves to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Clients that train.
    pub flying: BTreeMap<ClientId, Flight>,
    /// Good updates that no round has counted yet.
    pub received: Vec<(Counted, Digest)>,
}

/// A round while its buffer fills.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffering {
    pub(super) carried: Carried,
    /// Clients that may be assigned.
    waiting: BTreeSet<ClientId>,
    unable: BTreeSet<ClientId>,
    /// Clients that were assigned in this round, in order.
    selected: Vec<ClientId>,
    /// Clients that took part in this round, in whatever way.
    done: BTreeSet<ClientId>,
    /// Clients that will not send any more, with what was told to those that sent something unusable.
    gone: BTreeMap<ClientId, Option<Outcome>>,
}

impl Buffering {
    /// A round that goes on with what another one left.
    pub(super) fn of(carried: Carried) -> Self {
        let done = carried.received.iter().map(|(counted, _)| counted.client).collect();
        Self { carried, done, ..Self::default() }
    }

    /// The same after a restart: with those who were assigned in it.
    pub(super) fn resumed(carried: Carried, selected: Vec<ClientId>) -> Self {
        let mut buffering = Self::of(carried);
        buffering.done.extend(&selected);
        Self { selected, ..buffering }
    }

    /// Everyone it knows of.
    fn known(&self) -> usize {
        let others = self.waiting.iter().chain(&self.unable).filter(|client| !self.done.contains(client));
        self.done.len() + others.count()
    }
}

impl Round {
    /// What becomes of `event`, while a buffer fills.
    pub(super) fn fill(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        let Phase::Buffering(buffering) = &mut self.phase else { return Vec::new() };
        let Carried { flying, received } = &mut buffering.carried;
        let first = |client| received.iter().find(|(counted, _)| counted.client == client).map(|(_, digest)| *digest);
        let (mut effects, ticks) = (Vec::new(), event == Event::Tick);
        match event {
            // Assigned at the next tick, so that all who come at a time have the same chance.
            Event::CheckIn(client) if !flying.contains_key(&client) => {
                buffering.unable.remove(&client);
                buffering.waiting.insert(client);
                return effects;
            }
            Event::Unable(client) => {
                buffering.waiting.remove(&client);
                buffering.unable.insert(client);
                return effects;
            }
            Event::Update { client, samples, digest } => match (flying.get(&client).copied(), first(client)) {
                (Some(_), _) if samples == 0 => return self.fill_refused(client, RejectReason::NoSamples, now),
                (Some(Flight { round, .. }), _) => {
                    flying.remove(&client);
                    buffering.done.insert(client);
                    received.push((Counted { client, samples, round }, digest));
                }
                (None, Some(known)) if known == digest => return effects,
                (None, Some(_)) => return vec![receipt(client, Outcome::Rejected(RejectReason::Conflict))],
                (None, None) => return vec![receipt(client, Outcome::Rejected(RejectReason::NotSelected))],
            },
            Event::Refused { client, reason } => return self.fill_refused(client, reason, now),
            Event::Lost(client) => {
                buffering.waiting.remove(&client);
                buffering.unable.remove(&client);
                if flying.remove(&client).is_some() {
                    buffering.done.insert(client);
                    buffering.gone.insert(client, None);
                }
            }
            Event::Tick => effects.extend(self.give_up(now)),
            Event::CheckIn(_) | Event::Aggregated => return effects,
        }
        self.after_filling(effects, now, ticks)
    }

    fn fill_refused(&mut self, client: ClientId, reason: RejectReason, now: Duration) -> Vec<Effect> {
        let Phase::Buffering(buffering) = &mut self.phase else { return Vec::new() };
        let flew = buffering.carried.flying.remove(&client).is_some();
        let outcome = Outcome::Rejected(if flew { reason } else { RejectReason::NotSelected });
        if flew {
            buffering.done.insert(client);
            buffering.gone.insert(client, Some(outcome.clone()));
        }
        self.after_filling(vec![receipt(client, outcome)], now, false)
    }

    /// What becomes of `event` once a buffered round has closed: whoever flies flies on, and what comes is the next round's.
    /// `None` if that is not about them.
    pub(super) fn carry(&mut self, event: &Event) -> Option<Vec<Effect>> {
        let Carried { flying, received } = &mut self.carried;
        match *event {
            Event::Update { client, samples, digest } if samples > 0 => {
                let Flight { round, .. } = flying.remove(&client)?;
                received.push((Counted { client, samples, round }, digest));
                Some(Vec::new())
            }
            Event::Update { client, .. } => {
                flying.remove(&client)?;
                Some(vec![receipt(client, Outcome::Rejected(RejectReason::NoSamples))])
            }
            Event::Refused { client, ref reason } => {
                flying.remove(&client)?;
                Some(vec![receipt(client, Outcome::Rejected(reason.clone()))])
            }
            Event::Lost(client) => flying.remove(&client).map(|_| Vec::new()),
            _ => None,
        }
    }

    /// Whether a client started from a model that is too old for the round that would count it.
    fn is_stale(&self, flight: &Flight) -> bool {
        let most = self.config.buffer().and_then(|buffer| buffer.max_staleness);
        let counts_in = self.id.0 + u64::from(!matches!(self.phase, Phase::Buffering(_)));
        most.is_some_and(|most| counts_in - flight.round.0 > most)
    }

    /// Gives up clients whose time is over, or whose model is too old.
    fn give_up(&mut self, now: Duration) -> Vec<Effect> {
        let is_over = |flight: &Flight| {
            self.is_stale(flight) || self.config.collecting_end(flight.since).is_some_and(|end| now >= end)
        };
        let flying = self.carried().flying.iter();
        let over: Vec<_> =
            flying.filter(|(_, flight)| is_over(flight)).map(|(client, flight)| (*client, *flight)).collect();
        let Phase::Buffering(Buffering { carried, done, gone, .. }) = &mut self.phase else { return Vec::new() };
        carried.flying.retain(|client, _| over.iter().all(|(gone, _)| gone != client));
        done.extend(over.iter().map(|(client, _)| *client));
        gone.extend(over.iter().map(|(client, _)| (*client, None)));
        over.into_iter().map(|(client, flight)| Effect::GiveUp { client, round: flight.round }).collect()
    }

    /// Closes the round if it is full, out of time, or at its end; else hands out what work there is room for. `effects` come
    /// first; at a tick, and after work was handed out, it says when there is somebody to give up.
    fn after_filling(&mut self, mut effects: Vec<Effect>, now: Duration, ticks: bool) -> Vec<Effect> {
        let quorum = self.config.fewest();
        let received = |round: &Self| match &round.phase {
            Phase::Buffering(buffering) => buffering.carried.received.len(),
            _ => 0,
        };
        let time_is_up = self.config.collecting_end(self.opened).is_some_and(|end| now >= end);
        if received(self) >= self.config.cohort() {
            effects.extend(self.empty(Closed::CohortComplete, now));
            return effects;
        }
        if time_is_up && received(self) >= quorum {
            effects.extend(self.empty(Closed::Deadline, now));
            return effects;
        }
        let wakes = self.hand_out(now, &mut effects) || ticks;
        let Phase::Buffering(buffering) = &self.phase else { return effects };
        if buffering.carried.flying.is_empty() && buffering.known() >= self.config.candidates() {
            let enough = received(self) >= quorum;
            effects.extend(self.empty(if enough { Closed::AllReported } else { Closed::QuorumMissed }, now));
        }
        effects.extend(self.next_giving_up(now).filter(|_| wakes).map(Effect::WakeAt));
        effects
    }

    /// Assigns clients that wait, drawn uniformly, as long as there is room; says whether it did.
    fn hand_out(&mut self, now: Duration, effects: &mut Vec<Effect>) -> bool {
        let (id, seed) = (self.id, self.seed);
        let concurrency = self.config.buffer().map_or(0, |buffer| buffer.concurrency);
        let Phase::Buffering(Buffering { carried, waiting, selected, done, .. }) = &mut self.phase else {
            return false;
        };
        let mut able: Vec<_> = waiting.difference(done).copied().collect();
        let before = selected.len();
        while carried.flying.len() < concurrency && !able.is_empty() {
            let draw = seed.derive(Purpose::Selection, id.0, selected.len() as u64 + 1).stream().next_unit();
            let client = able.remove(((draw * able.len() as f64) as usize).min(able.len() - 1));
            waiting.remove(&client);
            selected.push(client);
            done.insert(client);
            carried.flying.insert(client, Flight { round: id, since: now });
            effects.push(flight_of(seed, id, client).effect(client));
        }
        selected.len() > before
    }

    /// Fixes the counted set, or abandons the round; what flies flies on.
    pub(super) fn empty(&mut self, closed: Closed, now: Duration) -> Vec<Effect> {
        let Phase::Buffering(Buffering { carried, selected, gone, .. }) = &mut self.phase else { return Vec::new() };
        let (mut carried, selected, gone) = (std::mem::take(carried), std::mem::take(selected), std::mem::take(gone));
        let mut received = match closed.is_committed() {
            true => std::mem::take(&mut carried.received),
            false => Vec::new(),
        };
        received.sort_by_key(|(counted, _)| counted.client);
        let told: Told =
            received.iter().map(|(counted, digest)| (counted.client, (*digest, Outcome::Accepted))).collect();
        let refused = gone.iter().filter_map(|(client, outcome)| Some((*client, outcome.clone()?)));
        let record = Record {
            round: self.id,
            outcomes: told.iter().map(|(client, (_, outcome))| (*client, outcome.clone())).chain(refused).collect(),
            earlier: received
                .iter()
                .filter(|(counted, _)| counted.round != self.id)
                .map(|(counted, _)| (counted.client, counted.round))
                .collect(),
            missing: gone.into_keys().collect(),
            selected,
            closed,
            opened: self.opened,
            ended: now,
        };
        self.carried = carried;
        if !closed.is_committed() {
            self.phase = Phase::Ended(told);
            return vec![Effect::End(record)];
        }
        let receipts: Vec<_> = told.keys().map(|client| receipt(*client, Outcome::Accepted)).collect();
        self.phase = Phase::Closing(record, told);
        let counted = received.into_iter().map(|(counted, _)| counted).collect();
        std::iter::once(Effect::Aggregate(counted)).chain(receipts).collect()
    }

    /// What a client that flies is asked to do; nothing any more if its model is too old.
    pub(super) fn flight(&self, client: ClientId) -> Option<Assigned> {
        let flight = self.carried().flying.get(&client).filter(|flight| !self.is_stale(flight))?;
        let deadline = self.config.collecting_end(flight.since);
        Some(Assigned { deadline, ..flight_of(self.seed, flight.round, client) })
    }

    /// When, after `now`, there is something to give up, or the round to be closed, at the soonest.
    pub(super) fn next_giving_up(&self, now: Duration) -> Option<Duration> {
        let Phase::Buffering(buffering) = &self.phase else { return None };
        let begun = buffering.carried.flying.values().map(|flight| flight.since).chain([self.opened]);
        begun.filter_map(|begun| self.config.collecting_end(begun)).filter(|at| *at > now).min()
    }
}

/// Streams of a client's own: who else trains in a round is not known when it begins.
fn flight_of(seed: nibble_seed::Seed, round: RoundId, client: ClientId) -> Assigned {
    Assigned {
        round,
        rounding: seed.derive(Purpose::Rounding, round.0, client.0 + 1),
        order: seed.derive(Purpose::BatchOrder, round.0, client.0),
        deadline: None,
    }
}

impl Assigned {
    fn effect(self, client: ClientId) -> Effect {
        Effect::Assign { client, rounding: self.rounding, order: self.order }
    }
}
