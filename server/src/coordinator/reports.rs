//! What members of a cohort report: updates, updates that cannot be used, and that none will come.

use std::time::Duration;

use nibble_proto::crash;
use nibble_seed::{ClientId, RoundId};
use tokio::sync::oneshot;
use tracing::{debug, info};

use super::{Coordinator, CoordinatorError, Sent, UpdateRef};
use crate::{
    round::{DiscardReason, Event, Outcome, RejectReason},
    store::{Report, ReportKind},
};

/// What is known of an update.
pub(super) enum Fate {
    /// It may still be sent.
    Wanted,
    /// It is here and not yet decided on.
    Undecided,
    /// It was decided on.
    Decided(Outcome),
}

impl Coordinator {
    /// What is known of an update of `client`.
    pub(super) fn fate(&self, client: ClientId, update: &UpdateRef) -> Result<Fate, CoordinatorError> {
        let (plan, store) = (&self.parts.plan, &self.parts.store);
        let rejected = |reason| Ok(Fate::Decided(Outcome::Rejected(reason)));
        if update.run != plan.name {
            return rejected(RejectReason::UnknownRound);
        }
        if let Some(report) = store.report_by(&plan.name, update.round, client)? {
            return match (report.digest, report.outcome) {
                (Some(digest), _) if digest != update.digest => rejected(RejectReason::Conflict),
                (None, _) if report.kind == ReportKind::GivenUp => {
                    Ok(Fate::Decided(Outcome::Discarded(DiscardReason::Late)))
                }
                (None, _) => rejected(RejectReason::NotSelected), // it said that it would send nothing
                (Some(_), Some(outcome)) => Ok(Fate::Decided(outcome)),
                (Some(_), None) => Ok(Fate::Undecided),
            };
        }
        if self.waits_for(client, update.round) {
            return Ok(Fate::Wanted);
        }
        if store.was_selected(&plan.name, update.round, client)? {
            return Ok(Fate::Decided(Outcome::Discarded(DiscardReason::Late)));
        }
        match store.round(&plan.name, update.round)? {
            Some(_) => rejected(RejectReason::NotSelected),
            None => rejected(RejectReason::UnknownRound),
        }
    }

    /// Enters an update, good or not, and tells the round.
    pub(super) fn report(
        &mut self,
        sent: &Sent,
        kind: ReportKind,
        problem: Option<String>,
        reply: oneshot::Sender<Option<Outcome>>,
    ) -> Result<(), CoordinatorError> {
        let (client, round) = (sent.client(), sent.place.round);
        let known = match self.fate(client, &sent.update())? {
            Fate::Decided(outcome) => Some(Some(outcome)),
            Fate::Undecided => Some(None),
            Fate::Wanted => None,
        };
        if let Some(known) = known {
            self.answer(reply, known);
            return Ok(());
        }
        let refusal = match (kind, sent.samples) {
            (ReportKind::Update, 0) => Some(RejectReason::NoSamples),
            (ReportKind::Update, _) => None,
            _ => Some(RejectReason::Malformed(problem.clone().unwrap_or_default())),
        };
        let digest = Some(sent.place.digest);
        let report = Report {
            client,
            at: self.parts.clock.now(),
            kind: if refusal.is_some() { ReportKind::Refused } else { ReportKind::Update },
            samples: sent.samples,
            digest,
            bytes: sent.place.bytes,
            metrics: Some(sent.metrics),
            outcome: refusal.clone().map(Outcome::Rejected),
            counted: None,
            detail: problem,
        };
        self.parts.store.report(&self.parts.plan.name, round, &report)?;
        crash::point("update-entered");
        let event = match refusal {
            Some(reason) => {
                info!(%round, %client, problem = report.detail, "an update is refused");
                Event::Refused { client, reason }
            }
            None => {
                debug!(%round, %client, bytes = report.bytes, "an update arrived");
                Event::Update { client, samples: sent.samples, digest: sent.place.digest }
            }
        };
        let receipts = self.tell(event)?;
        let outcome = receipts.into_iter().find(|(told, _)| *told == client).map(|(_, outcome)| outcome);
        self.answer(reply, outcome);
        Ok(())
    }

    pub(super) fn decline(
        &mut self,
        client: ClientId,
        run: &str,
        round: RoundId,
        reason: String,
    ) -> Result<(), CoordinatorError> {
        if run != self.parts.plan.name || !self.waits_for(client, round) {
            return Ok(());
        }
        info!(%round, %client, reason, "a client declines");
        let now = self.parts.clock.now();
        self.enter_lost(client, round, now, (ReportKind::Lost, Some(reason)))?;
        self.declined.insert(client, now);
        self.tell(Event::Lost(client)).map(drop)
    }

    /// Enters that a client is not waited for any longer.
    pub(super) fn give_up(&mut self, client: ClientId, round: RoundId, now: Duration) -> Result<(), CoordinatorError> {
        info!(%round, %client, "a client is given up");
        self.enter_lost(client, round, now, (ReportKind::GivenUp, None))
    }

    fn enter_lost(
        &self,
        client: ClientId,
        round: RoundId,
        at: Duration,
        (kind, detail): (ReportKind, Option<String>),
    ) -> Result<(), CoordinatorError> {
        let report = Report {
            client,
            at,
            kind,
            samples: 0,
            digest: None,
            bytes: 0,
            metrics: None,
            outcome: None,
            counted: None,
            detail,
        };
        Ok(self.parts.store.report(&self.parts.plan.name, round, &report)?)
    }

    /// Whether an update of `client` that was assigned in `round` may still come.
    fn waits_for(&self, client: ClientId, round: RoundId) -> bool {
        let assigned = self.round.as_ref().and_then(|open| open.assignment(client));
        assigned.is_some_and(|assigned| assigned.round == round)
    }
}
