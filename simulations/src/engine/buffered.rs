//! Rounds that do not wait (FedBuff), in virtual time: clients train while rounds pass, each on the model that it was given.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use nibble_learning::TrainReport;
use nibble_seed::{ClientId, RoundId, Seed};
use nibble_server::{
    Round,
    round::{self, Carried, Counted, Effect, Event},
    wire,
};

use super::{
    books::Turn,
    checkpoint::{FlightRow, SentRow},
    round::{Assigned, Outcomes, Sent},
    run::Run,
};
use crate::{clock::Stopwatch, error::SimError, results::RoundRow};

/// What is under way when a round ends.
#[derive(Default)]
pub(super) struct UnderWay {
    /// As the round sees it.
    pub(super) carried: Carried,
    pub(super) flights: BTreeMap<ClientId, Flight>,
    /// Clients that were given up, and when what they send nevertheless will have come: they are busy until then.
    pub(super) late: BTreeMap<ClientId, Duration>,
}

/// A client's work, from its assignment until its update is counted.
pub(super) struct Flight {
    pub(super) assigned: Assigned,
    pub(super) began: Duration,
    /// When its update arrives, or it is lost; once known.
    pub(super) arrives: Option<Duration>,
    /// Its update, once it was computed; none if it is lost.
    pub(super) sent: Option<Sent>,
}

/// What a round has come to while it fills.
struct Filling {
    round: Round,
    outcomes: Outcomes,
    assigned: Vec<Assigned>,
    /// How long those took that count.
    took: BTreeMap<ClientId, Duration>,
    wakes: BTreeSet<Duration>,
    counted: BTreeMap<ClientId, Sent>,
    /// Who was given up, with the time and the bytes that took: nobody told them before they had sent.
    given_up: Vec<(ClientId, Duration, u64)>,
    /// The model that clients are given, and the bytes of all of it.
    model: (Vec<f32>, u64),
}

impl Run<'_> {
    /// Plays until the next buffer is full. The row lacks the evaluation.
    pub(super) fn play_buffered(&mut self) -> Result<RoundRow, SimError> {
        let stopwatch = Stopwatch::start();
        let id = RoundId(self.progress.rows.len() as u64);
        let model = self.publish(id)?;
        self.under_way.late.retain(|_, comes| *comes > self.progress.clock);
        let mut able = self.idle(id, model.1);
        // Nobody has anything to do, but somebody will.
        while let (true, true, Some(&comes)) =
            (able.is_empty(), self.under_way.flights.is_empty(), self.under_way.late.values().min())
        {
            self.progress.clock = self.progress.clock.max(comes);
            self.under_way.late.retain(|_, later| *later > comes);
            able = self.idle(id, model.1);
        }
        let clients = self.experiment.raw.data.clients;
        let config = self.experiment.round.clone().select_among(clients, None);
        let carried = std::mem::take(&mut self.under_way.carried);
        let mut filling = Filling {
            round: Round::open(id, self.seed, config, self.progress.clock).carrying(carried),
            outcomes: Outcomes::default(),
            assigned: Vec::new(),
            took: BTreeMap::new(),
            wakes: BTreeSet::new(),
            counted: BTreeMap::new(),
            given_up: Vec::new(),
            model,
        };
        let is_idle = |client: &ClientId| !self.under_way.flights.contains_key(client);
        let idle: Vec<_> = (0..clients as u64).map(ClientId).filter(is_idle).collect();
        for client in idle {
            let is_able = able.binary_search(&client).is_ok();
            self.tell(&mut filling, if is_able { Event::CheckIn(client) } else { Event::Unable(client) })?;
        }
        self.tell(&mut filling, Event::Tick)?;
        while filling.outcomes.record.is_none() {
            let event = self.next_event(&mut filling);
            self.tell(&mut filling, event)?;
        }
        self.train_flights(&filling)?;
        self.under_way.carried = filling.round.carried().clone();
        let Filling { outcomes, assigned, took, counted, given_up, .. } = filling;
        for (&client, sent) in &counted {
            self.accounts.entry(client).or_default().spend(wire::up(sent.payload.len() as u64), 0);
        }
        self.settle(id, &outcomes, &counted)?;
        let last = counted.keys().max_by_key(|client| took.get(client)).copied();
        for Assigned { client, downlink_bytes, .. } in &assigned {
            self.tally(Turn { client: *client, downlink_bytes: Some(*downlink_bytes), came: None });
        }
        for (&client, sent) in &counted {
            let took = took.get(&client).copied().unwrap_or_default();
            let came = Some((took, sent.payload.len() as u64, true, last == Some(client)));
            self.tally(Turn { client, downlink_bytes: None, came });
        }
        for &(client, took, bytes) in &given_up {
            self.tally(Turn { client, downlink_bytes: None, came: Some((took, bytes, false, false)) });
        }
        let downlink_bytes = assigned.iter().map(|client| client.downlink_bytes).sum();
        let mut row = self.account(id, outcomes, &counted, downlink_bytes, stopwatch.elapsed());
        row.uncounted += given_up.len() as u64;
        row.uplink_bytes += given_up.iter().map(|(.., bytes)| bytes).sum::<u64>();
        self.spare.extend(counted.into_values().map(|sent| sent.payload));
        Ok(row)
    }

    /// Clients that have nothing to do and can take part. Time only passes until there are some if nobody has anything to do.
    fn idle(&mut self, id: RoundId, whole: u64) -> Vec<ClientId> {
        if self.under_way.flights.is_empty() {
            let able = self.able(id, whole);
            return self.wait_for(able);
        }
        let able = self.affordable(id, whole, self.today());
        let Some(fleet) = &self.fleet else { return able };
        let (moment, online) = fleet.gather(&able, 0, self.progress.clock);
        if moment == self.progress.clock { online } else { Vec::new() }
    }

    /// What happens next, and when: an update arrives, a client is lost, or the round wanted to be woken.
    fn next_event(&mut self, filling: &mut Filling) -> Event {
        let flying = filling.round.carried();
        let arrivals =
            self.under_way.flights.iter().filter_map(|(client, flight)| {
                flying.flying.contains_key(client).then_some((flight.arrives?, *client))
            });
        let arrival = arrivals.min();
        match (arrival, filling.wakes.first().copied()) {
            (Some((at, client)), wake) if wake.is_none_or(|wake| at < wake) => {
                self.progress.clock = self.progress.clock.max(at);
                let Some(flight) = self.under_way.flights.get(&client) else { return Event::Tick };
                if flight.assigned.works.is_none() {
                    self.under_way.flights.remove(&client);
                    return Event::Lost(client);
                }
                let samples = self.federation.assignment().clients[client.0 as usize].len() as u64;
                Event::Update { client, samples, digest: [0; 32] }
            }
            (_, wake) => {
                let at = wake.expect("a round in which nothing can happen has ended");
                filling.wakes.remove(&at);
                self.progress.clock = self.progress.clock.max(at);
                Event::Tick
            }
        }
    }

    /// Tells the round, and does what it wants done.
    fn tell(&mut self, filling: &mut Filling, event: Event) -> Result<(), SimError> {
        let (id, mut begun) = (filling.round.id(), false);
        let mut effects = filling.round.step(event, self.progress.clock);
        while !effects.is_empty() {
            let mut more = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Assign { client, rounding, order } => {
                        begun = true;
                        let began = self.progress.clock;
                        for assigned in self.assign(id, &[(client, (rounding, order))], filling.model.1) {
                            filling.assigned.push(assigned);
                            let flight = Flight { assigned, began, arrives: None, sent: None };
                            self.under_way.flights.insert(client, flight);
                        }
                    }
                    Effect::WakeAt(at) => drop(filling.wakes.insert(at)),
                    Effect::GiveUp { client, .. } => self.give_up(filling, client)?,
                    Effect::Receipt { client, outcome } => filling.outcomes.receipts.push((client, outcome)),
                    Effect::Aggregate(counted) => {
                        self.train_flights(filling)?;
                        filling.took = counted.iter().filter_map(|counted| self.took(counted.client)).collect();
                        let parts = self.parts(&counted);
                        filling.counted = self.take_counted(&counted);
                        self.plot(&parts, &mut filling.counted)?;
                        self.aggregate(id, &counted, &filling.counted)?;
                        filling.outcomes.counted = counted;
                        more.extend(filling.round.step(Event::Aggregated, self.progress.clock));
                    }
                    Effect::End(record) => filling.outcomes.record = Some(record),
                }
            }
            effects = more;
        }
        if begun { self.foresee_arrivals(filling) } else { Ok(()) }
    }

    /// Forgets what a client is at. It hears of that once it has sent its update: that is spent, and its intent stays with it.
    fn give_up(&mut self, filling: &mut Filling, client: ClientId) -> Result<(), SimError> {
        self.train_flights(filling)?;
        let Some(Flight { began, arrives, sent: Some(sent), .. }) = self.under_way.flights.remove(&client) else {
            return Ok(());
        };
        let (bytes, comes) = (sent.payload.len() as u64, arrives.unwrap_or(began));
        self.accounts.entry(client).or_default().spend(wire::up(bytes), 0);
        self.under_way.late.insert(client, comes);
        filling.given_up.push((client, comes.saturating_sub(began), bytes));
        self.spare.push(sent.payload);
        Ok(())
    }

    /// Finds out when those arrive who have just begun. With links that depends on the bytes of their updates, so they train now;
    /// without, they train side by side when the round ends.
    fn foresee_arrivals(&mut self, filling: &Filling) -> Result<(), SimError> {
        if self.fleet.is_some() {
            self.train_flights(filling)?;
        }
        let id = filling.round.id();
        let unknown = self.under_way.flights.iter().filter(|(_, flight)| flight.arrives.is_none());
        let arrivals: Vec<_> = unknown
            .map(|(&client, flight)| {
                let arrives = match (flight.assigned.works, &flight.sent) {
                    (None, _) => flight.began,
                    (Some(works), None) => flight.began + works,
                    (Some(works), Some(sent)) => self.arrival(id, &flight.assigned, works, flight.began, sent),
                };
                (client, arrives)
            })
            .collect();
        for (client, arrives) in arrivals {
            if let Some(flight) = self.under_way.flights.get_mut(&client) {
                flight.arrives = Some(arrives);
            }
        }
        Ok(())
    }

    /// Trains whoever was assigned in this round and has not trained yet: all on its model.
    fn train_flights(&mut self, filling: &Filling) -> Result<(), SimError> {
        let untrained = self.under_way.flights.values().filter(|flight| flight.sent.is_none());
        let untrained: Vec<_> = untrained.map(|flight| flight.assigned).collect();
        for (client, sent) in self.train(filling.round.id(), &untrained, &filling.model.0)? {
            if let Some(flight) = self.under_way.flights.get_mut(&client) {
                flight.sent = Some(sent);
            }
        }
        Ok(())
    }

    /// How long a client that has sent took for it.
    fn took(&self, client: ClientId) -> Option<(ClientId, Duration)> {
        let flight = self.under_way.flights.get(&client)?;
        Some((client, flight.arrives?.saturating_sub(flight.began)))
    }

    /// What those were assigned whose updates count.
    fn parts(&self, counted: &[Counted]) -> Vec<(RoundId, Assigned)> {
        let part = |counted: &Counted| Some((counted.round, self.under_way.flights.get(&counted.client)?.assigned));
        counted.iter().filter_map(part).collect()
    }

    /// The updates that count, which are then no longer under way.
    fn take_counted(&mut self, counted: &[Counted]) -> BTreeMap<ClientId, Sent> {
        let flights = &mut self.under_way.flights;
        counted.iter().filter_map(|counted| Some((counted.client, flights.remove(&counted.client)?.sent?))).collect()
    }
}

impl UnderWay {
    /// Whether a client has something to do, or to send.
    pub(super) fn is_busy(&self, client: ClientId) -> bool {
        self.flights.contains_key(&client) || self.late.contains_key(&client)
    }

    /// For a checkpoint: everything that is under way, and the payloads one after the other.
    pub(super) fn to_rows(&self) -> (Vec<FlightRow>, Vec<u8>) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut payloads = Vec::new();
        let row = |(client, flight): (&ClientId, &Flight)| {
            let received = self.carried.received.iter().find(|(counted, _)| counted.client == *client);
            let round = match self.carried.flying.get(client) {
                Some(flying) => flying.round,
                None => received.map_or(RoundId(0), |(counted, _)| counted.round),
            };
            let Assigned { scheme, rounding, order, works, downlink_bytes, .. } = flight.assigned;
            let sent = flight.sent.as_ref().map(|Sent { payload, report, start_loss, nmse }| {
                payloads.extend_from_slice(payload);
                SentRow {
                    payload_bytes: payload.len() as u64,
                    samples: report.samples,
                    steps: report.steps,
                    mean_loss: report.mean_loss,
                    start_loss: *start_loss,
                    nmse: *nmse,
                }
            });
            FlightRow {
                client: client.0,
                round: round.0,
                began_nanos: nanos(flight.began),
                arrives_nanos: nanos(flight.arrives.unwrap_or(flight.began)),
                works_nanos: works.map(nanos),
                downlink_bytes,
                scheme: scheme.to_string(),
                streams: (rounding.0, order.0),
                sent,
                received: received.is_some(),
            }
        };
        (self.flights.iter().map(row).collect(), payloads)
    }

    /// From a checkpoint; `None` if it makes no sense.
    pub(super) fn restore(rows: &[FlightRow], mut payloads: &[u8]) -> Option<Self> {
        let mut under_way = Self::default();
        for row in rows {
            let (client, round, time) = (ClientId(row.client), RoundId(row.round), Duration::from_nanos);
            let sent = match &row.sent {
                None => None,
                Some(sent) => {
                    let payload = payloads.split_off(..usize::try_from(sent.payload_bytes).ok()?)?;
                    let SentRow { samples, steps, mean_loss, start_loss, nmse, .. } = *sent;
                    let report = TrainReport { samples, steps, mean_loss };
                    Some(Sent { payload: payload.to_vec(), report, start_loss, nmse })
                }
            };
            if row.received {
                let samples = sent.as_ref()?.report.samples;
                under_way.carried.received.push((Counted { client, samples, round }, [0; 32]));
            } else {
                under_way.carried.flying.insert(client, round::Flight { round, since: time(row.began_nanos) });
            }
            let assigned = Assigned {
                client,
                scheme: row.scheme.parse().ok()?,
                rounding: Seed(row.streams.0),
                order: Seed(row.streams.1),
                works: row.works_nanos.map(time),
                downlink_bytes: row.downlink_bytes,
            };
            let (began, arrives) = (time(row.began_nanos), Some(time(row.arrives_nanos)));
            under_way.flights.insert(client, Flight { assigned, began, arrives, sent });
        }
        Some(under_way)
    }
}
