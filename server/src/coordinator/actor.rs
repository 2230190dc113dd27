//! The task that owns the round: commands and time go in, durable changes and answers come out.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use nibble_codec::Scheme;
use nibble_proto::crash;
use nibble_seed::{ClientId, RoundId, Seed};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::{
    Admission, Assignment, Command, CoordinatorError, Instruction, Ledger, ModelRef, Plan, calls::Waiting, counters,
    planning::Ready, publishing::SentControl, reports::Fate,
};
use crate::{
    Round,
    broadcast::Broadcast,
    clock::Clock,
    models::{ModelName, Models, NewModel},
    round::{Assigned, Counted, DiscardReason, Effect, Event, Outcome, Record},
    selection::Knowledge,
    spool::Spool,
    store::{Allowance, Bytes, LedgerRow, ReportKind, RoundState, Store},
};

/// Commands that share one transaction, and so one wait for the disk.
const BATCH: usize = 64;
/// Longest time without looking at the clock; the ledger is written as often.
pub(super) const TICK: Duration = Duration::from_secs(5);

/// What a coordinator is made of.
pub struct Parts {
    /// The run.
    pub plan: Arc<Plan>,
    /// Its memory.
    pub store: Store,
    /// Where uploads lie.
    pub spool: Arc<Spool>,
    /// Where models lie.
    pub models: Arc<Models>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Bytes that moved.
    pub ledger: Arc<Ledger>,
    /// Threads to fold with, at least 1.
    pub threads: usize,
    /// Who is told of every new model: those who evaluate or copy it.
    pub followers: Vec<mpsc::UnboundedSender<NewModel>>,
    /// Told `true` once the last round has ended.
    pub over: watch::Sender<bool>,
}

impl Parts {
    /// Tells of a new model, which stays until everybody who is told has done with it.
    pub(super) fn tell_of(&self, round: RoundId, name: ModelName) {
        for follower in &self.followers {
            let gone = follower.send(NewModel { round, model: self.models.keep(name) }).is_err();
            if gone {
                warn!(%round, "nobody evaluates or copies models any more; the next start does");
            }
        }
    }
}

/// The coordinator of one run.
pub struct Coordinator {
    pub(super) parts: Parts,
    pub(super) global: Vec<f32>,
    /// What the optimiser remembers, one vector after the other.
    pub(super) memories: Vec<f32>,
    /// The global model as it is kept.
    pub(super) newest: ModelRef,
    /// What clients are given of it.
    pub(super) served: ModelRef,
    /// What clients have, where the model's changes are compressed.
    pub(super) broadcast: Option<Broadcast>,
    /// What clients are sent of the server's control variate, if they are.
    pub(super) control: Option<SentControl>,
    /// The open round; `None` once the run is over.
    pub(super) round: Option<Round>,
    /// The counted set, from when it is fixed until the new model is stored.
    pub(super) closing: Option<Vec<Counted>>,
    /// Clients whose call is held.
    pub(super) waiting: BTreeMap<ClientId, Waiting>,
    /// Clients that may be selected, with the time they were last heard of.
    pub(super) ready: BTreeMap<ClientId, Ready>,
    /// A round was opened, and nobody was offered it yet.
    pub(super) opened: bool,
    /// Clients that said, or must be expected, to have nothing left.
    pub(super) unable: BTreeMap<ClientId, Ready>,
    /// How the members of the open round's cohort code their updates.
    pub(super) schemes: BTreeMap<ClientId, Scheme>,
    /// Mean training loss of every round so far that counted anybody; only where that decides on anything.
    pub(super) losses: Vec<f64>,
    /// What the rounds that ended taught of clients; only where cohorts are chosen by it.
    pub(super) knowledge: Knowledge,
    pub(super) seen: BTreeMap<ClientId, (Duration, Allowance)>,
    /// Bytes on the socket that clients sent and received in the run, as far as the ledger has them.
    pub(super) spent: BTreeMap<ClientId, [u64; 2]>,
    /// When clients last declined, while that keeps them from being selected.
    pub(super) declined: BTreeMap<ClientId, Duration>,
    pub(super) wake: Option<Duration>,
    pub(super) ledger_written: Duration,
    /// Calls are not held any more.
    pub(super) draining: bool,
    after_commit: Vec<Box<dyn FnOnce() + Send>>,
}

impl Coordinator {
    pub(super) fn assemble(
        parts: Parts,
        (global, memories, newest): (Vec<f32>, Vec<f32>, ModelRef),
        broadcast: Option<(Broadcast, ModelName)>,
    ) -> Self {
        let (broadcast, held) = broadcast.unzip();
        Self {
            parts,
            global,
            memories,
            newest,
            served: held.map_or(newest, |name| ModelRef { name, ..newest }),
            broadcast,
            control: None,
            round: None,
            closing: None,
            waiting: BTreeMap::new(),
            ready: BTreeMap::new(),
            opened: false,
            unable: BTreeMap::new(),
            schemes: BTreeMap::new(),
            losses: Vec::new(),
            knowledge: Knowledge::default(),
            seen: BTreeMap::new(),
            spent: BTreeMap::new(),
            declined: BTreeMap::new(),
            wake: None,
            ledger_written: Duration::ZERO,
            draining: false,
            after_commit: Vec::new(),
        }
    }

    /// Serves commands until nobody can send any. From `drain` on no call is held, so that clients can be let go.
    ///
    /// # Errors
    /// If the store, the spool or the models fail. What was answered before is durable.
    pub async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        drain: impl Future<Output = ()>,
    ) -> Result<(), CoordinatorError> {
        tokio::pin!(drain);
        self.finish_closing().await?; // what a crash may have left open
        loop {
            let sleep = self.time_to_sleep();
            let first = tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => Some(command),
                    None => break,
                },
                () = tokio::time::sleep(sleep) => None,
                () = &mut drain, if !self.draining => {
                    self.draining = true;
                    None
                }
            };
            self.parts.store.begin()?;
            self.tick()?;
            if let Some(first) = first {
                self.handle(first)?;
            }
            // Once the counted set is fixed it is committed and told before anything else is looked at.
            for _ in 1..BATCH {
                let Some(command) = self.closing.is_none().then(|| commands.try_recv().ok()).flatten() else { break };
                self.handle(command)?;
            }
            self.commit()?;
            self.finish_closing().await?;
        }
        self.parts.store.begin()?;
        self.write_ledger(self.parts.clock.now())?;
        self.commit()
    }

    /// Ends the transaction; only then are answers given.
    pub(super) fn commit(&mut self) -> Result<(), CoordinatorError> {
        self.offer_all()?;
        crash::point("before-commit");
        self.parts.store.commit_all()?;
        crash::point("committed");
        self.after_commit.drain(..).for_each(|answer| answer());
        let round = self.round.as_ref().map_or(self.parts.plan.rounds, |round| round.id().0);
        let training = self.round.as_ref().map_or(0, Round::training);
        counters::now(round, (training, self.waiting.len(), self.ready.len()));
        Ok(())
    }

    fn time_to_sleep(&self) -> Duration {
        let now = self.parts.clock.now();
        let next = self.waiting.values().map(|waiting| waiting.until).chain(self.wake).min();
        next.map_or(TICK, |next| next.saturating_sub(now)).min(TICK)
    }

    fn handle(&mut self, command: Command) -> Result<(), CoordinatorError> {
        match command {
            Command::CheckIn { client, asks, reply } => self.check_in(client, asks, reply),
            Command::Admit { client, update, reply } => {
                let admission = match self.fate(client, &update)? {
                    Fate::Decided(outcome) => Admission::Decided(outcome),
                    Fate::Undecided => Admission::Stored,
                    Fate::Wanted => match self.round.as_ref().and_then(|round| round.assignment(client)) {
                        Some(Assigned { rounding, .. }) => Admission::Send { scheme: self.schemes[&client], rounding },
                        None => Admission::Decided(Outcome::Discarded(DiscardReason::Late)),
                    },
                };
                self.answer(reply, admission);
                Ok(())
            }
            Command::Arrived { sent, reply } => self.report(&sent, ReportKind::Update, None, reply),
            Command::Refused { sent, problem, reply } => self.report(&sent, ReportKind::Refused, Some(problem), reply),
            Command::Declined { client, run, round, reason, reply } => {
                self.decline(client, &run, round, reason)?;
                self.answer(reply, ());
                Ok(())
            }
        }
    }

    /// Tells the round what happened, and does what it wants done; gives the receipts it wrote.
    pub(super) fn tell(&mut self, event: Event) -> Result<Vec<(ClientId, Outcome)>, CoordinatorError> {
        let now = self.parts.clock.now();
        let Some(round) = &mut self.round else { return Ok(Vec::new()) };
        let effects = round.step(event, now);
        self.carry_out(effects, now)
    }

    pub(super) fn carry_out(
        &mut self,
        effects: Vec<Effect>,
        now: Duration,
    ) -> Result<Vec<(ClientId, Outcome)>, CoordinatorError> {
        let (mut receipts, mut assigned) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Assign { client, rounding, order } => assigned.push((client, rounding, order)),
                Effect::WakeAt(at) => self.wake = Some(self.wake.map_or(at, |wake| wake.min(at))),
                Effect::Aggregate(counted) => {
                    self.closing = Some(counted);
                    self.fix_counted_set()?;
                }
                Effect::Receipt { client, outcome } => {
                    self.tell_receipt(client, &outcome); // before an end of the run lets everybody go
                    receipts.push((client, outcome));
                }
                Effect::GiveUp { client, round } => self.give_up(client, round, now)?,
                Effect::End(record) => self.end_round(&record, now)?,
            }
        }
        self.assign(&assigned, now)?;
        Ok(receipts)
    }

    /// Tells a client that waits for it what became of its update.
    fn tell_receipt(&mut self, client: ClientId, outcome: &Outcome) {
        match self.waiting.remove(&client) {
            Some(Waiting { pending: Some(update), reply, .. }) => {
                self.answer(reply, Instruction::Receipt(update, outcome.clone()));
            }
            Some(waiting) => drop(self.waiting.insert(client, waiting)),
            None => {}
        }
    }

    /// Makes the cohort durable, then tells those of it that are on the line.
    fn assign(&mut self, assigned: &[(ClientId, Seed, Seed)], now: Duration) -> Result<(), CoordinatorError> {
        let Some(id) = self.round.as_ref().map(Round::id).filter(|_| !assigned.is_empty()) else { return Ok(()) };
        let ready =
            |(client, ..): &(ClientId, Seed, Seed)| (*client, self.ready.get(client).copied().unwrap_or_default());
        let members: Vec<_> = assigned.iter().map(ready).collect();
        let schemes = self.schemes_for(id, &members);
        let mut cohort = Vec::new();
        for ((client, ready), scheme) in members.into_iter().zip(schemes) {
            self.foresee(client, &ready, scheme);
            cohort.push((client, scheme));
        }
        if self.parts.plan.round.buffer().is_none() {
            self.schemes.clear(); // else some still train in earlier rounds
        }
        self.schemes.extend(cohort.iter().copied());
        self.parts.store.assign(&self.parts.plan.name, id, &cohort, now)?;
        crash::point("cohort-entered");
        info!(round = %id, cohort = cohort.len(), "clients are chosen");
        for (client, ..) in assigned {
            self.ready.remove(client);
            let assigned = self.round.as_ref().and_then(|round| round.assignment(*client));
            if let Some((assigned, waiting)) = assigned.zip(self.waiting.remove(client)) {
                let assignment = self.assignment(*client, assigned, waiting.ready.held)?;
                self.answer(waiting.reply, Instruction::Assign(assignment));
            }
        }
        Ok(())
    }

    /// The part of a client that has `held` of the models.
    pub(super) fn assignment(
        &self,
        client: ClientId,
        assigned: Assigned,
        held: Option<ModelName>,
    ) -> Result<Assignment, CoordinatorError> {
        let Assigned { round, rounding, order, deadline } = assigned;
        let now = self.parts.clock.now();
        let model = self.model_of(round)?;
        Ok(Assignment {
            plan: Arc::clone(&self.parts.plan),
            round,
            rounding,
            order,
            scheme: self.schemes[&client],
            model,
            path: self.path(held, model.name),
            control: self.control.as_ref().map(|control| control.model),
            deadline: deadline.map(|deadline| deadline.saturating_sub(now)),
        })
    }

    pub(super) fn wake_at(&mut self, at: Option<Duration>) {
        self.wake = at;
    }

    /// The round ended: the next one begins, or the run is over.
    pub(super) fn end_round(&mut self, record: &Record, now: Duration) -> Result<(), CoordinatorError> {
        let plan = Arc::clone(&self.parts.plan);
        let id = record.round;
        let accepted = record.outcomes.values().filter(|outcome| **outcome == Outcome::Accepted).count();
        info!(round = %id, closed = %record.closed, accepted, missing = record.missing.len(), "the round ended");
        counters::round_ended(record);
        if !record.closed.is_committed() {
            warn!(round = %id, closed = %record.closed, "no new model");
            let why = record.closed.to_string();
            self.parts.store.close((&plan.name, id), RoundState::Abandoned, &why, record.ended, record.updates())?;
        }
        self.learn(id)?;
        self.write_ledger(now)?;
        self.wake = None;
        if id.0 + 1 < plan.rounds {
            return self.open_round(id.next(), now);
        }
        // What an abandoned round kept for the next one.
        let left = self.round.take().map(|round| round.carried().received.clone()).unwrap_or_default();
        let outcome = Outcome::Discarded(DiscardReason::Abandoned);
        self.parts.store.decide(&plan.name, id, left.iter().map(|(it, _)| (it.round, it.client, &outcome)))?;
        left.iter().for_each(|(counted, _)| self.tell_receipt(counted.client, &outcome));
        self.parts.store.end_run(&plan.name, now)?;
        info!(rounds = plan.rounds, "the run is over");
        let over = self.parts.over.clone();
        self.after_commit.push(Box::new(move || {
            over.send_replace(true);
        }));
        for (_, Waiting { reply, .. }) in std::mem::take(&mut self.waiting) {
            self.answer(reply, Instruction::Finished(plan.name.clone()));
        }
        Ok(())
    }

    /// Opens a round for whoever is available.
    pub(super) fn open_round(&mut self, id: RoundId, now: Duration) -> Result<(), CoordinatorError> {
        let plan = Arc::clone(&self.parts.plan);
        self.publish(id)?;
        self.publish_control(id)?;
        self.parts.store.open_round(&plan.name, id, &self.served.name, now)?;
        let carried = self.round.as_ref().map(|round| round.carried().clone()).unwrap_or_default();
        let round = Round::open(id, plan.seed, plan.round.clone(), now);
        self.round = Some(round.knowing(&self.knowledge).carrying(carried));
        self.forget_absent(now);
        self.opened = true;
        self.look_back()
    }

    pub(super) fn write_ledger(&mut self, now: Duration) -> Result<(), CoordinatorError> {
        self.ledger_written = now;
        let plan = Arc::clone(&self.parts.plan);
        let round = self.round.as_ref().map_or(RoundId(plan.rounds.saturating_sub(1)), Round::id);
        for (client, bytes) in self.parts.ledger.take() {
            counters::moved(&bytes);
            self.count_spent(client, &bytes);
            self.parts.store.add_to_ledger(&plan.name, &LedgerRow { round, client, bytes })?;
        }
        self.parts.store.seen(&std::mem::take(&mut self.seen))?;
        Ok(())
    }

    /// Counts what a client spends.
    pub(super) fn count_spent(&mut self, client: Option<ClientId>, bytes: &Bytes) {
        let Some(client) = client else { return };
        let [up, down] = self.spent.entry(client).or_default();
        (*up, *down) = (*up + bytes.wire_up, *down + bytes.wire_down);
    }

    /// Answers once the transaction is durable. Whoever asked may be gone.
    pub(super) fn answer<T: Send + 'static>(&mut self, reply: oneshot::Sender<T>, answer: T) {
        self.after_commit.push(Box::new(move || drop(reply.send(answer))));
    }
}
