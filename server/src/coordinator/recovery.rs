//! From the store, the spool and the models to a coordinator that goes on where the last one stopped, however it did.

use std::{sync::Arc, time::Duration};

use nibble_proto::crash;
use nibble_seed::RoundId;
use tracing::info;

use super::{Coordinator, CoordinatorError, ModelRef, Parts, Plan, publishing};
use crate::{
    Round,
    models::ModelName,
    round::{Carried, Closed, Counted, Effect, Event, Outcome},
    store::{LedgerRow, Report, ReportKind, RoundRow, RoundState, RunRow, StoreError},
};

impl Coordinator {
    /// Goes on with the run of `parts.plan`, or starts it from the parameters that `initial` gives.
    ///
    /// # Errors
    /// If the run was started under another configuration, or what is kept of it cannot be read.
    pub async fn start(mut parts: Parts, initial: impl FnOnce() -> Vec<f32>) -> Result<Self, CoordinatorError> {
        let plan = Arc::clone(&parts.plan);
        let first = match parts.store.run(&plan.name)? {
            Some(run) => {
                check_same(&run, &plan)?;
                run.initial_model
            }
            None => {
                let (name, _) = parts.models.put(&plan.layout, RoundId(0), &initial())?;
                parts.models.copy(&name).await?; // a bucket that cannot be used is noticed before a run begins
                crash::point("first-model-written");
                let now = parts.clock.now();
                parts.store.transaction(|store| {
                    store.start_run(&RunRow {
                        name: plan.name.clone(),
                        config: plan.config.clone(),
                        started: now,
                        ended: None,
                        initial_model: name,
                    })?;
                    store.open_round(&plan.name, RoundId(0), &name, now)
                })?;
                crash::point("run-begun");
                info!(run = plan.name, rounds = plan.rounds, "the run begins");
                name
            }
        };
        let missing = || CoordinatorError::Resume { round: RoundId(0), problem: "there is none".into() };
        let row = parts.store.last_round(&plan.name)?.ok_or_else(missing)?;
        let rounds = parts.store.rounds(&plan.name)?;
        let last = rounds.iter().rev().find(|row| row.new_model.is_some());
        let newest = last.and_then(|row| row.new_model).unwrap_or(first);
        let global = parts.models.fetch(&plan.layout, &newest).await?;
        let remembered = plan.strategy.memories() * plan.layout.coordinates();
        let memories = match last.and_then(|row| row.memories) {
            Some(name) => parts.models.memories(&name, remembered)?,
            None => vec![0.0; remembered],
        };
        let newest = kept(&parts, newest)?;
        let steps = parts.store.frames(&plan.name)?;
        let broadcast = publishing::resume(&plan, &parts.models, first, steps).await?;
        // What was to be done with new models when the coordinator stopped is done now, as far as they are still here.
        for (round, name) in rounds.iter().filter_map(|row| Some((row.round, row.new_model?))) {
            if parts.models.frame(&name).is_some() {
                parts.tell_of(round, name);
            }
        }
        let mut coordinator = Self::assemble(parts, (global, memories, newest), broadcast);
        for LedgerRow { client, bytes, .. } in coordinator.parts.store.ledger(&plan.name)? {
            coordinator.count_spent(client, &bytes);
        }
        coordinator.resume(&row)?;
        Ok(coordinator)
    }

    fn resume(&mut self, row: &RoundRow) -> Result<(), CoordinatorError> {
        let plan = Arc::clone(&self.parts.plan);
        let reports = self.parts.store.reports(&plan.name, row.round)?;
        info!(run = plan.name, round = %row.round, state = %row.state, updates = reports.len(), "going on");
        (0..row.round.0).try_for_each(|round| self.learn(RoundId(round)))?;
        self.publish_control(row.round)?;
        match row.state {
            // The transaction that ended a round opened the next: this was the last.
            RoundState::Committed | RoundState::Abandoned => {
                self.parts.over.send_replace(true);
            }
            _ if plan.round.buffer().is_some() => self.resume_buffered(row)?,
            RoundState::Selecting => {
                // Its selection window begins anew: nobody could check in while the coordinator was away.
                let now = self.parts.clock.now();
                self.look_back()?;
                self.round = Some(Round::open(row.round, plan.seed, plan.round.clone(), now).knowing(&self.knowledge));
            }
            RoundState::Collecting | RoundState::Closing => {
                self.schemes = self.parts.store.schemes(&plan.name, row.round)?;
                let cohort = self.parts.store.cohort(&plan.name, row.round)?;
                let assigned = row.assigned.unwrap_or(row.opened);
                let (seed, config) = (plan.seed, plan.round.clone());
                let mut round = Round::resume(row.round, seed, config, row.opened, cohort, assigned);
                let counted = replay(&mut round, row, &reports)?;
                let deadline = round.deadline();
                self.round = Some(round);
                self.closing = counted;
                self.wake_at(deadline);
            }
        }
        let (_, oldest) = self.under_way(row.round);
        Ok(self.parts.spool.forget_before(oldest)?)
    }

    /// Goes on with a round that does not wait: with who trains, what has come, and, if that was fixed, what counts.
    fn resume_buffered(&mut self, row: &RoundRow) -> Result<(), CoordinatorError> {
        let plan = Arc::clone(&self.parts.plan);
        self.look_back()?;
        let flights = self.parts.store.flights(&plan.name)?;
        self.schemes = flights.iter().map(|(client, (_, scheme))| (*client, *scheme)).collect();
        let updates = self.parts.store.updates_in(&plan.name, row.round)?.into_iter();
        let (counted, mut waiting): (Vec<_>, Vec<_>) = updates.partition(|(_, report)| report.counted.is_some());
        let is_closing = row.state == RoundState::Closing;
        let received = if is_closing { counted } else { std::mem::take(&mut waiting) };
        let of = |(round, report): (RoundId, Report)| {
            let Report { client, samples, digest, .. } = report;
            Some((Counted { client, samples, round }, digest?))
        };
        let carried = Carried {
            flying: flights.into_iter().map(|(client, (flight, _))| (client, flight)).collect(),
            received: received.into_iter().filter_map(of).collect(),
        };
        let selected = self.parts.store.cohort(&plan.name, row.round)?;
        let id = (row.round, plan.seed, plan.round.clone());
        let mut round = Round::resume_buffered(id, row.opened, carried, selected);
        if is_closing {
            let why = row.why.as_deref().and_then(Closed::of).zip(row.closed);
            let (why, at) = why.ok_or_else(|| CoordinatorError::Resume {
                round: row.round,
                problem: "it was closing, but the store does not say why".into(),
            })?;
            self.closing = Some(round.close_again(why, at, waiting.into_iter().filter_map(of).collect()));
        }
        self.wake_at(round.deadline());
        self.round = Some(round);
        Ok(())
    }
}

/// Tells a round again what it was told before the restart; gives the counted set if that is what it came to.
fn replay(
    round: &mut Round,
    row: &RoundRow,
    reports: &[Report],
) -> Result<Option<Vec<crate::round::Counted>>, CoordinatorError> {
    let disagree = |problem: &str| CoordinatorError::Resume { round: row.round, problem: problem.into() };
    let mut told = Vec::new();
    for report in reports {
        let client = report.client;
        let event = match (report.kind, &report.outcome, report.digest) {
            (ReportKind::Update, _, Some(digest)) => Event::Update { client, samples: report.samples, digest },
            (ReportKind::Refused, Some(Outcome::Rejected(reason)), _) => {
                Event::Refused { client, reason: reason.clone() }
            }
            (ReportKind::Lost | ReportKind::GivenUp, ..) => Event::Lost(client),
            _ => return Err(disagree("a report lacks its outcome or digest")),
        };
        told.extend(round.step(event, report.at));
    }
    if row.state == RoundState::Closing && round.record().is_none() {
        told.extend(round.step(Event::Tick, row.closed.unwrap_or(Duration::MAX)));
    }
    let counted = told.into_iter().find_map(|effect| match effect {
        Effect::Aggregate(counted) => Some(counted),
        _ => None,
    });
    match (&counted, row.state) {
        (Some(counted), RoundState::Closing) => {
            let accepted = reports.iter().filter(|report| report.outcome == Some(Outcome::Accepted)).count();
            if accepted == counted.len() { Ok(()) } else { Err(disagree("the counted set is another one")) }
        }
        (None, RoundState::Closing) => Err(disagree("it was closing, but what was reported does not close it")),
        (Some(_), _) => Err(disagree("what was reported closes it, but it was not closing")),
        (None, _) => Ok(()),
    }?;
    Ok(counted)
}

fn kept(parts: &Parts, name: ModelName) -> Result<ModelRef, CoordinatorError> {
    let frame = parts.models.frame(&name).ok_or_else(|| CoordinatorError::Resume {
        round: RoundId(0),
        problem: format!("the model {} is gone", crate::models::hex(&name)),
    })?;
    Ok(ModelRef { name, frame_bytes: frame.len_bytes() })
}

fn check_same(run: &RunRow, plan: &Plan) -> Result<(), StoreError> {
    if run.config == plan.config {
        return Ok(());
    }
    let mut lines = run.config.lines().zip(plan.config.lines());
    let differs = match lines.find(|(before, now)| before != now) {
        Some((before, now)) => format!("it was {before:?}, it is {now:?}"),
        None => "one has more keys than the other".into(),
    };
    Err(StoreError::OtherRun { run: run.name.clone(), differs })
}
