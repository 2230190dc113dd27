//! One round in virtual time: the coordinator's round core and the clients' cores, joined by a queue of events.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nibble_client::{Assignment, Control, Participant, Update};
use nibble_codec::{Coding, Encoder, Intent, Outcome as Settlement, Payload, PayloadId, Residual, Scheme};
use nibble_learning::TrainReport;
use nibble_seed::{ClientId, Purpose, RoundId, Seed};
use nibble_server::{
    Aggregate, Contribution, Facts, FoldError, Round,
    round::{Counted, Effect, Event, Outcome, Record},
    strategy::{self, Folding},
    wire,
};

use super::{behaviour, books::Turn, run::Run};
use crate::{clock::Stopwatch, error::SimError, links::Load, model_file, results::RoundRow};

/// A client's assignment, as the round issued it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assigned {
    pub(super) client: ClientId,
    pub(super) scheme: Scheme,
    pub(super) rounding: Seed,
    pub(super) order: Seed,
    /// How long it works; `None` if it is lost.
    pub(super) works: Option<Duration>,
    /// Bytes that bring it the model.
    pub(super) downlink_bytes: u64,
}

/// An update on its way.
pub(super) struct Sent {
    pub(super) payload: Vec<u8>,
    pub(super) report: TrainReport,
    /// Mean loss before training, where it was measured.
    pub(super) start_loss: Option<f64>,
    pub(super) nmse: f64,
}

/// Things to happen, by virtual time, then in the order they were put.
struct Queue {
    events: BTreeMap<(Duration, usize), Event>,
    put: usize,
}

impl Queue {
    fn put(&mut self, at: Duration, event: Event) {
        self.events.insert((at, self.put), event);
        self.put += 1;
    }
}

/// What the round wanted done, beside being woken.
#[derive(Default)]
pub(super) struct Outcomes {
    pub(super) counted: Vec<Counted>,
    pub(super) receipts: Vec<(ClientId, Outcome)>,
    pub(super) record: Option<Record>,
}

impl Run<'_> {
    /// Plays the next round. The row lacks the evaluation.
    pub(super) fn play_round(&mut self) -> Result<RoundRow, SimError> {
        let stopwatch = Stopwatch::start();
        let id = RoundId(self.progress.rows.len() as u64);
        let (held, whole) = self.publish(id)?;
        self.publish_control(id)?;
        let able = self.able(id, whole);
        let affordable = able.len();
        let able = self.wait_for(able);
        let config = self.experiment.round.clone().select_among(self.experiment.raw.data.clients, None);
        let mut round = Round::open(id, self.seed, config, self.progress.clock).knowing(&self.knowledge);
        let mut queue = Queue { events: BTreeMap::new(), put: 0 };
        let (assigned, abandoned) = self.select(&mut round, &mut queue, &able, whole);
        let now = self.progress.clock;
        let mut sent = self.train(id, &assigned, &held)?;
        let parts: Vec<_> = assigned.iter().map(|task| (id, *task)).collect();
        self.plot(&parts, &mut sent)?;
        let mut arrivals = BTreeMap::new();
        for task @ &Assigned { client, works, .. } in &assigned {
            match (works, sent.get(&client)) {
                // Updates are handed over in memory, exactly once: there are no repetitions to tell apart by digest.
                (Some(trains), Some(sent)) => {
                    let at = self.arrival(id, task, trains, now, sent);
                    arrivals.insert(client, at);
                    queue.put(at, Event::Update { client, samples: sent.report.samples, digest: [0; 32] });
                }
                _ => queue.put(now, Event::Lost(client)),
            }
        }
        for (&client, sent) in &sent {
            self.accounts.entry(client).or_default().spend(wire::up(sent.payload.len() as u64), 0);
        }
        let mut outcomes = self.collect(&mut round, queue, &sent)?;
        outcomes.record = outcomes.record.or(abandoned);
        self.settle(id, &outcomes, &sent)?;
        self.learn(&outcomes, &sent, |client| arrivals.get(&client).map(|at| *at - now));
        let counts = |client: &ClientId| outcomes.counted.iter().any(|counted| counted.client == *client);
        let last = arrivals.iter().filter(|(client, _)| counts(client)).max_by_key(|(_, at)| **at);
        for &Assigned { client, downlink_bytes, .. } in &assigned {
            let came = sent.get(&client).zip(arrivals.get(&client)).map(|(sent, arrival)| {
                let is_last = last.is_some_and(|(last, _)| *last == client);
                (*arrival - now, sent.payload.len() as u64, counts(&client), is_last)
            });
            self.tally(Turn { client, downlink_bytes: Some(downlink_bytes), came });
        }
        let downlink_bytes = assigned.iter().map(|client| client.downlink_bytes).sum();
        let mut row = self.account(id, outcomes, &sent, downlink_bytes, stopwatch.elapsed());
        if row.selected == 0 {
            let short = affordable < self.experiment.round.selected();
            row.closed_by += if short { ": they have no bytes left" } else { ": they are offline" };
        }
        self.spare.extend(sent.into_values().map(|sent| sent.payload));
        Ok(row)
    }

    /// Everyone checks in or is unable to; the round assigns its cohort, or ends for want of one.
    fn select(
        &mut self,
        round: &mut Round,
        queue: &mut Queue,
        able: &[ClientId],
        whole: u64,
    ) -> (Vec<Assigned>, Option<Record>) {
        let now = self.progress.clock;
        let (mut chosen, mut abandoned) = (Vec::new(), None);
        for client in (0..self.experiment.raw.data.clients as u64).map(ClientId) {
            let is_able = able.binary_search(&client).is_ok();
            let event = if is_able { Event::CheckIn(client) } else { Event::Unable(client) };
            for effect in round.step(event, now) {
                match effect {
                    Effect::Assign { client, rounding, order } => chosen.push((client, (rounding, order))),
                    Effect::WakeAt(at) => queue.put(at, Event::Tick),
                    Effect::End(record) => abandoned = Some(record),
                    Effect::Aggregate(_) | Effect::Receipt { .. } | Effect::GiveUp { .. } => {}
                }
            }
        }
        (self.assign(round.id(), &chosen, whole), abandoned)
    }

    /// What those do who were chosen together in a round, each with its seeds, and what bringing them the model takes.
    pub(super) fn assign(&mut self, round: RoundId, chosen: &[(ClientId, (Seed, Seed))], whole: u64) -> Vec<Assigned> {
        let cohort: Vec<_> = chosen.iter().map(|(client, _)| *client).collect();
        let schemes = self.schemes(round, &cohort, whole);
        let one = |(&(client, seeds), scheme)| self.assigned(round, client, seeds, scheme, whole);
        chosen.iter().zip(schemes).map(one).collect()
    }

    fn assigned(
        &mut self,
        round: RoundId,
        client: ClientId,
        (rounding, order): (Seed, Seed),
        scheme: Scheme,
        whole: u64,
    ) -> Assigned {
        let works = behaviour::duration(&self.experiment.raw.availability, self.seed, round, client);
        let today = self.today();
        let account = self.accounts.entry(client).or_default();
        account.on(today);
        account.begin_round();
        let downlink_bytes = self.send_model(client, works.is_some(), whole);
        Assigned { client, scheme, rounding, order, works, downlink_bytes }
    }

    /// When the update of a client arrives that begins at `now` and trains as long.
    pub(super) fn arrival(
        &self,
        round: RoundId,
        task: &Assigned,
        trains: Duration,
        now: Duration,
        sent: &Sent,
    ) -> Duration {
        let Some(fleet) = &self.fleet else { return now + trains };
        let samples = self.experiment.sgd.visits_on(usize::try_from(sent.report.samples).unwrap_or(usize::MAX));
        let down = wire::down(task.downlink_bytes, self.federation.layout());
        let (fetches, up) = (task.downlink_bytes > 0, wire::up(sent.payload.len() as u64));
        fleet.arrival(round, task.client, now, Load { fetches, down, up, samples, trains })
    }

    /// Brings a client up to date, unless it is lost on the way; gives the bytes that takes, lost or not.
    fn send_model(&mut self, client: ClientId, arrives: bool, whole: u64) -> u64 {
        let bytes = self.model_bytes(client, whole);
        if let (Some(broadcast), true) = (&self.broadcast, arrives) {
            self.versions.insert(client, broadcast.kept());
        }
        self.accounts.entry(client).or_default().spend(0, wire::down(bytes, self.federation.layout()));
        bytes
    }

    /// The global model as clients receive it, and the bytes of all of it.
    pub(super) fn publish(&mut self, round: RoundId) -> Result<(Vec<f32>, u64), SimError> {
        let layout = self.federation.layout();
        if let Some(broadcast) = &mut self.broadcast {
            let id = PayloadId { round, seed: self.seed.derive(Purpose::Broadcast, round.0, 0) };
            let published = broadcast.publish(layout, &self.progress.global, id);
            published.map_err(|error| SimError::Downlink { round, error })?;
            return Ok((broadcast.held().to_vec(), Coding::Fp32.payload_bytes(layout)));
        }
        let mut payload = Vec::new();
        Encoder::new(Coding::Fp32.into())
            .encode(layout, &self.progress.global, PayloadId { round, seed: Seed(0) }, &mut payload)
            .map_err(|error| SimError::Downlink { round, error })?;
        let mut held = vec![0.0; layout.coordinates()];
        Payload::trust(&payload, layout)?.decode(&mut held)?;
        Ok((held, payload.len() as u64))
    }

    /// Every client that is not lost trains and encodes; its intent waits among what clients keep.
    pub(super) fn train(
        &mut self,
        round: RoundId,
        assigned: &[Assigned],
        held: &[f32],
    ) -> Result<BTreeMap<ClientId, Sent>, SimError> {
        let samples = &self.federation.assignment().clients;
        let mut tasks: Vec<_> = assigned.iter().filter(|client| client.works.is_some()).collect();
        // The longest first, so that no worker is left alone with one at the end.
        tasks.sort_by_key(|task| (usize::MAX - samples[task.client.0 as usize].len(), task.client));
        let server = self.control.as_ref().map_or(&[][..], |control| &control.values);
        let (kept, spare) = (Mutex::new(&mut self.kept), Mutex::new(&mut self.spare));
        let owned = self.own.as_mut().map(Mutex::new);
        let (sgd, corrects) = (&self.experiment.sgd_in(round), self.experiment.strategy.control().is_some());
        let measure = self.experiment.aggregation.rule.needs_loss();
        let (save, attackers) = (self.save_updates.as_deref(), self.attackers.as_ref());
        let work = |participant: &mut Participant, task: &&Assigned| {
            let Assigned { client, mut scheme, rounding, order, .. } = **task;
            scheme.feedback &= !attackers.is_some_and(|attackers| attackers.crafts(client));
            let kept_of = |wanted: bool| if wanted { lock(&kept).get(client) } else { Ok(Vec::new()) };
            let own_control = kept_of(corrects)?;
            let control = corrects.then_some(Control { own: &own_control, server });
            let residual = Residual::from_values(kept_of(scheme.feedback && !corrects)?, participant.layout())?;
            let samples = &samples[client.0 as usize];
            let assignment = Assignment { round, scheme, rounding, order, samples, sgd, measure, control };
            let buffer = lock(&spare).pop().unwrap_or_default();
            let mut own = owned.as_ref().map_or(Ok(Vec::new()), |owned| lock(owned).get(client))?;
            participant.trainer().swap_own(&mut own);
            let update = participant.perform(held, &assignment, residual, buffer);
            participant.trainer().swap_own(&mut own);
            if let Some(owned) = &owned {
                lock(owned).put(client, own)?;
            }
            let mut update = update.map_err(|error| SimError::Client { round, client, error })?;
            if let Some(dir) = save {
                let path = dir.join(format!("round-{round}-client-{client}.safetensors"));
                model_file::write(&path, participant.layout(), participant.delta())?;
            }
            if let Some(intent) = update.intent.take() {
                lock(&kept).put(client, intent.into_vector())?;
            }
            let Update { payload, report, start_loss, nmse, .. } = update;
            let sent = Sent { payload, report, start_loss, nmse };
            match attackers.and_then(|attackers| attackers.alone(round, client, participant.delta())) {
                Some(crafted) => Ok((client, sent.replaced(participant.layout(), task, round, &crafted)?)),
                None => Ok((client, sent)),
            }
        };
        let mislabels = |task: &&Assigned| attackers.is_some_and(|attackers| attackers.mislabels(task.client));
        let (mislabelled, tasks): (Vec<_>, Vec<_>) = tasks.into_iter().partition(mislabels);
        let mut sent: BTreeMap<_, _> = self.workers.each(&tasks, work)?.into_iter().collect();
        if let Some(workers) = &mut self.mislabelled {
            sent.extend(workers.each(&mislabelled, work)?);
        }
        Ok(sent)
    }

    /// Feeds the queue to the round and does what it says, until nothing is left to happen.
    fn collect(
        &mut self,
        round: &mut Round,
        mut queue: Queue,
        sent: &BTreeMap<ClientId, Sent>,
    ) -> Result<Outcomes, SimError> {
        let mut outcomes = Outcomes::default();
        while let Some(((now, _), event)) = queue.events.pop_first() {
            for effect in round.step(event, now) {
                match effect {
                    Effect::Aggregate(counted) => {
                        self.aggregate(round.id(), &counted, sent)?;
                        outcomes.counted = counted;
                        queue.put(now, Event::Aggregated);
                    }
                    Effect::Receipt { client, outcome } => outcomes.receipts.push((client, outcome)),
                    Effect::WakeAt(at) => queue.put(at, Event::Tick),
                    Effect::End(record) => {
                        self.progress.clock = record.ended;
                        outcomes.record = Some(record);
                    }
                    Effect::Assign { .. } | Effect::GiveUp { .. } => {}
                }
            }
        }
        Ok(outcomes)
    }

    /// Folds the counted updates into the global model, chunk by chunk.
    pub(super) fn aggregate(
        &mut self,
        id: RoundId,
        counted: &[Counted],
        sent: &BTreeMap<ClientId, Sent>,
    ) -> Result<(), SimError> {
        let (layout, sgd) = (self.federation.layout(), &self.experiment.sgd);
        let contribution = |counted: &Counted| {
            let Sent { payload, start_loss, .. } = &sent[&counted.client];
            let (client, samples) = (counted.client, counted.samples);
            let steps = sgd.steps_on(samples as usize);
            let facts = Facts { client, samples, steps, loss: *start_loss, age: counted.age(id) };
            Ok(Contribution { facts, chunks: Payload::trust(payload, layout)? })
        };
        let contributions = counted.iter().map(contribution).collect::<Result<_, SimError>>()?;
        let aggregate = Aggregate::new(contributions).expect("a round counts a client once, and only with samples");
        let aggregate = aggregate.under(&self.experiment.aggregation, layout, self.workers.threads());
        let aggregate = aggregate.map_err(|error| match error {
            FoldError::Chunk { error, .. } => SimError::from(error),
            error => SimError::Usage { problem: error.to_string(), mend: "change [aggregation]".into() },
        })?;
        let folding = Folding {
            aggregate: &aggregate,
            strategy: self.experiment.strategy,
            lr: self.experiment.sgd_in(id).lr,
            sent: self.control.as_ref().map_or(&[], |control| &control.values),
        };
        let tiles = strategy::tiles(
            layout,
            aggregate.together(layout, self.workers.threads()),
            &mut self.progress.global,
            &mut self.progress.memories,
        );
        let tiles: Vec<_> = tiles.into_iter().map(Mutex::new).collect();
        self.workers.each(&tiles, |_, tile| {
            folding.change(&mut lock(tile), &mut Default::default()).map_err(|(_, error)| error.into())
        })?;
        Ok(())
    }

    /// Turns every intent into the residual that its outcome leaves, or moves control variates.
    pub(super) fn settle(
        &mut self,
        id: RoundId,
        outcomes: &Outcomes,
        sent: &BTreeMap<ClientId, Sent>,
    ) -> Result<(), SimError> {
        if let Some(control) = self.experiment.strategy.control() {
            return self.move_controls(id, &control, &outcomes.receipts, sent);
        }
        let keeps = |(client, _): &&(ClientId, Outcome)| self.keeps_residual(*client);
        let receipts: Vec<_> = outcomes.receipts.iter().filter(keeps).collect();
        let layout = self.federation.layout();
        let kept = Mutex::new(&mut self.kept);
        self.workers.each(&receipts, |_, (client, outcome)| {
            if *outcome != Outcome::Accepted {
                return Ok(()); // the whole intent stays, as it lies there
            }
            let intent = Intent::from_vector(lock(&kept).take(*client)?);
            let payload = Payload::trust(&sent[client].payload, layout)?;
            let residual = intent.settle(Settlement::Accepted(&payload))?;
            lock(&kept).put(*client, residual.into_values())
        })?;
        Ok(())
    }
}

/// Vectors and tiles are whole again before any panic can unwind past the lock, so poison carries no news.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
