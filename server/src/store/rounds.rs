//! Rounds, their cohorts, and what cohort members reported.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use nibble_seed::{ClientId, RoundId};
use rusqlite::Row;

use super::{Store, StoreError, duration, nanos, signed, unsigned};
use crate::round::{Digest, DiscardReason, Outcome, RejectReason};

/// How far a round has come, as far as is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoundState {
    /// Clients check in.
    Selecting,
    /// The cohort is fixed.
    Collecting,
    /// The counted set is fixed.
    Closing,
    /// The new model is stored.
    Committed,
    /// It ended without one.
    Abandoned,
}

/// A round as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundRow {
    /// The round.
    pub round: RoundId,
    /// How far it has come.
    pub state: RoundState,
    /// SHA-256 of the parameters it starts from.
    pub model: [u8; 32],
    /// When it was opened, since 1970.
    pub opened: Duration,
    /// When its cohort was fixed.
    pub assigned: Option<Duration>,
    /// When its counted set was fixed, or it was abandoned.
    pub closed: Option<Duration>,
    /// Why.
    pub why: Option<String>,
    /// SHA-256 of the parameters it made.
    pub new_model: Option<[u8; 32]>,
    /// SHA-256 of what the optimiser remembers after it.
    pub memories: Option<[u8; 32]>,
    /// When they were stored.
    pub committed: Option<Duration>,
    /// Accuracy of the new model on the held-out set.
    pub accuracy: Option<f64>,
    /// Loss of the new model on the held-out set.
    pub loss: Option<f64>,
}

/// What kind of thing a cohort member reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportKind {
    /// A good update.
    Update,
    /// An update that cannot be used.
    Refused,
    /// That it will send nothing.
    Lost,
    /// Nothing, for so long that it is not waited for any more.
    GivenUp,
}

/// What a client says of its update, for the record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metrics {
    /// Mean training loss.
    pub train_loss: f64,
    /// Mean loss before training, if that was asked for.
    pub start_loss: Option<f64>,
    /// Relative squared error of the payload against what was meant.
    pub nmse: f64,
}

/// What one cohort member reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Who.
    pub client: ClientId,
    /// When it arrived, since 1970.
    pub at: Duration,
    /// What it was.
    pub kind: ReportKind,
    /// Number of samples trained on.
    pub samples: u64,
    /// SHA-256 of the payload; `None` where nothing was sent.
    pub digest: Option<Digest>,
    /// Bytes of the payload.
    pub bytes: u64,
    /// What the client said of it.
    pub metrics: Option<Metrics>,
    /// What became of it; `None` until that is known.
    pub outcome: Option<Outcome>,
    /// The round that decided on it.
    pub counted: Option<RoundId>,
    /// Why nothing or nothing usable came.
    pub detail: Option<String>,
}

impl Store {
    /// Enters a round that selects.
    ///
    /// # Errors
    /// If the store fails.
    pub fn open_round(&self, run: &str, round: RoundId, model: &[u8; 32], at: Duration) -> Result<(), StoreError> {
        let sql = "INSERT INTO rounds (run, round, state, model, opened) VALUES (?1, ?2, 'selecting', ?3, ?4)";
        self.connection.execute(sql, (run, signed(round.0), model, nanos(at)))?;
        Ok(())
    }

    /// Enters what a cohort member reported; the first report of a client stands.
    ///
    /// # Errors
    /// If the client is not of the cohort, or the store fails.
    pub fn report(&self, run: &str, round: RoundId, report: &Report) -> Result<(), StoreError> {
        let (outcome, reason) = words_of(report.outcome.as_ref());
        let sql = "INSERT INTO reports (run, round, client, at, kind, samples, digest, bytes, train_loss, nmse, outcome, \
                   reason, detail, start_loss) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
        self.connection.prepare_cached(sql)?.execute(rusqlite::params![
            run,
            signed(round.0),
            signed(report.client.0),
            nanos(report.at),
            report.kind.to_string(),
            signed(report.samples),
            report.digest,
            signed(report.bytes),
            report.metrics.map(|metrics| metrics.train_loss),
            report.metrics.map(|metrics| metrics.nmse),
            outcome,
            reason,
            report.detail,
            report.metrics.and_then(|metrics| metrics.start_loss),
        ])?;
        Ok(())
    }

    /// Fixes what became of a round's updates, and why it closed.
    ///
    /// # Errors
    /// If the store fails.
    pub fn close<'a>(
        &self,
        (run, round): (&str, RoundId),
        state: RoundState,
        why: &str,
        at: Duration,
        outcomes: impl IntoIterator<Item = (RoundId, ClientId, &'a Outcome)>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE rounds SET state = ?3, why = ?4, closed = ?5 WHERE run = ?1 AND round = ?2";
        self.connection.execute(sql, (run, signed(round.0), state.to_string(), why, nanos(at)))?;
        self.decide(run, round, outcomes)
    }

    /// Fixes what `round` makes of updates, each with the round that it was assigned in.
    ///
    /// # Errors
    /// If the store fails.
    pub fn decide<'a>(
        &self,
        run: &str,
        round: RoundId,
        outcomes: impl IntoIterator<Item = (RoundId, ClientId, &'a Outcome)>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE reports SET outcome = ?4, reason = ?5, counted = ?6 \
                   WHERE run = ?1 AND round = ?2 AND client = ?3 AND kind = 'update'";
        let mut update = self.connection.prepare_cached(sql)?;
        for (of, client, outcome) in outcomes {
            let (outcome, reason) = words_of(Some(outcome));
            update.execute((run, signed(of.0), signed(client.0), outcome, reason, signed(round.0)))?;
        }
        Ok(())
    }

    /// Notes that the model a round made is stored, and what its optimiser remembers.
    ///
    /// # Errors
    /// If the store fails.
    pub fn commit(
        &self,
        run: &str,
        round: RoundId,
        (model, memories): (&[u8; 32], &[u8; 32]),
        at: Duration,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE rounds SET state = 'committed', new_model = ?3, memories = ?4, committed = ?5
                   WHERE run = ?1 AND round = ?2";
        self.connection.execute(sql, (run, signed(round.0), model, memories, nanos(at)))?;
        Ok(())
    }

    /// Notes how good the model that a round made is.
    ///
    /// # Errors
    /// If the store fails.
    pub fn evaluated(&self, run: &str, round: RoundId, accuracy: f64, loss: f64) -> Result<(), StoreError> {
        let sql = "UPDATE rounds SET accuracy = ?3, loss = ?4 WHERE run = ?1 AND round = ?2";
        self.connection.execute(sql, (run, signed(round.0), accuracy, loss))?;
        Ok(())
    }

    /// The rounds of a run, in order.
    ///
    /// # Errors
    /// If the store fails or holds what the program would not have written.
    pub fn rounds(&self, run: &str) -> Result<Vec<RoundRow>, StoreError> {
        let sql = format!("{ROUNDS} WHERE run = ?1 ORDER BY round");
        let mut rows = self.connection.prepare_cached(&sql)?;
        rows.query_and_then([run], round_of)?.collect()
    }

    /// The last round of a run.
    ///
    /// # Errors
    /// As [`Store::rounds`].
    pub fn last_round(&self, run: &str) -> Result<Option<RoundRow>, StoreError> {
        let sql = format!("{ROUNDS} WHERE run = ?1 ORDER BY round DESC LIMIT 1");
        let mut rows = self.connection.prepare_cached(&sql)?;
        rows.query_and_then([run], round_of)?.next().transpose()
    }

    /// One round of a run.
    ///
    /// # Errors
    /// As [`Store::rounds`].
    pub fn round(&self, run: &str, round: RoundId) -> Result<Option<RoundRow>, StoreError> {
        let sql = format!("{ROUNDS} WHERE run = ?1 AND round = ?2");
        let mut rows = self.connection.prepare_cached(&sql)?;
        rows.query_and_then((run, signed(round.0)), round_of)?.next().transpose()
    }

    /// Mean training loss of the updates that counted, of every round that had any, in order.
    ///
    /// # Errors
    /// If the store fails.
    pub fn losses(&self, run: &str) -> Result<Vec<f64>, StoreError> {
        let sql =
            "SELECT counted, train_loss FROM reports WHERE run = ?1 AND outcome = 'accepted' ORDER BY counted, client";
        let mut rows = self.connection.prepare_cached(sql)?;
        let rows = rows.query_map([run], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<f64>>(1)?)))?;
        let mut rounds: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for row in rows {
            let (round, loss) = row?;
            rounds.entry(round).or_default().extend(loss);
        }
        // Summed in the order of clients, as the simulator does.
        Ok(rounds.into_values().map(|losses| losses.iter().sum::<f64>() / losses.len() as f64).collect())
    }

    /// What the members of a cohort reported, in the order in which it came.
    ///
    /// # Errors
    /// As [`Store::rounds`].
    pub fn reports(&self, run: &str, round: RoundId) -> Result<Vec<Report>, StoreError> {
        let sql = format!("{REPORTS} WHERE run = ?1 AND round = ?2 ORDER BY sequence");
        let mut rows = self.connection.prepare_cached(&sql)?;
        rows.query_and_then((run, signed(round.0)), report_of)?.collect()
    }

    /// Updates that a round decided on, and those that none has yet, with the rounds that they were assigned in, in the order
    /// in which they came.
    ///
    /// # Errors
    /// As [`Store::rounds`].
    pub fn updates_in(&self, run: &str, round: RoundId) -> Result<Vec<(RoundId, Report)>, StoreError> {
        let sql = format!(
            "{REPORTS} WHERE run = ?1 AND kind = 'update' AND (counted = ?2 OR outcome IS NULL) ORDER BY sequence"
        );
        let mut rows = self.connection.prepare_cached(&sql)?;
        let read = |row: &Row<'_>| Ok::<_, StoreError>((RoundId(unsigned(row.get(12)?)), report_of(row)?));
        rows.query_and_then((run, signed(round.0)), read)?.collect()
    }

    /// What one member reported.
    ///
    /// # Errors
    /// As [`Store::rounds`].
    pub fn report_by(&self, run: &str, round: RoundId, client: ClientId) -> Result<Option<Report>, StoreError> {
        let sql = format!("{REPORTS} WHERE run = ?1 AND round = ?2 AND client = ?3");
        let mut rows = self.connection.prepare_cached(&sql)?;
        rows.query_and_then((run, signed(round.0), signed(client.0)), report_of)?.next().transpose()
    }
}

const ROUNDS: &str = "SELECT round, state, model, opened, assigned, closed, why, new_model, committed, accuracy, loss, memories FROM rounds";

const REPORTS: &str = "SELECT client, at, kind, samples, digest, bytes, train_loss, nmse, outcome, reason, detail, counted, round, start_loss FROM reports";

fn round_of(row: &Row<'_>) -> Result<RoundRow, StoreError> {
    let time = |index| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(index)?.map(duration));
    Ok(RoundRow {
        round: RoundId(unsigned(row.get(0)?)),
        state: row.get::<_, String>(1)?.parse()?,
        model: row.get(2)?,
        opened: duration(row.get(3)?),
        assigned: time(4)?,
        closed: time(5)?,
        why: row.get(6)?,
        new_model: row.get(7)?,
        memories: row.get(11)?,
        committed: time(8)?,
        accuracy: row.get(9)?,
        loss: row.get(10)?,
    })
}

fn report_of(row: &Row<'_>) -> Result<Report, StoreError> {
    let metrics = match (row.get(6)?, row.get(7)?) {
        (Some(train_loss), Some(nmse)) => Some(Metrics { train_loss, start_loss: row.get(13)?, nmse }),
        _ => None,
    };
    let detail: Option<String> = row.get(10)?;
    let (outcome, reason): (Option<String>, Option<String>) = (row.get(8)?, row.get(9)?);
    Ok(Report {
        client: ClientId(unsigned(row.get(0)?)),
        at: duration(row.get(1)?),
        kind: row.get::<_, String>(2)?.parse()?,
        samples: unsigned(row.get(3)?),
        digest: row.get(4)?,
        bytes: unsigned(row.get(5)?),
        metrics,
        outcome: outcome_of(outcome.as_deref(), reason.as_deref(), detail.as_deref())?,
        counted: row.get::<_, Option<i64>>(11)?.map(|round| RoundId(unsigned(round))),
        detail,
    })
}

/// An outcome and its reason in the words of the tables.
fn words_of(outcome: Option<&Outcome>) -> (Option<&'static str>, Option<&'static str>) {
    match outcome {
        None => (None, None),
        Some(Outcome::Accepted) => (Some("accepted"), None),
        Some(Outcome::Rejected(reason)) => {
            let reason = match reason {
                RejectReason::NotSelected => "not selected",
                RejectReason::Conflict => "conflict",
                RejectReason::NoSamples => "no samples",
                RejectReason::Malformed(_) => "malformed",
                RejectReason::UnknownRound => "unknown round",
            };
            (Some("rejected"), Some(reason))
        }
        Some(Outcome::Discarded(DiscardReason::Late)) => (Some("discarded"), Some("late")),
        Some(Outcome::Discarded(DiscardReason::Abandoned)) => (Some("discarded"), Some("abandoned")),
    }
}

fn outcome_of(
    outcome: Option<&str>,
    reason: Option<&str>,
    detail: Option<&str>,
) -> Result<Option<Outcome>, StoreError> {
    let Some(outcome) = outcome else { return Ok(None) };
    Ok(Some(match (outcome, reason) {
        ("accepted", None) => Outcome::Accepted,
        ("rejected", Some("not selected")) => Outcome::Rejected(RejectReason::NotSelected),
        ("rejected", Some("conflict")) => Outcome::Rejected(RejectReason::Conflict),
        ("rejected", Some("no samples")) => Outcome::Rejected(RejectReason::NoSamples),
        ("rejected", Some("malformed")) => Outcome::Rejected(RejectReason::Malformed(detail.unwrap_or("").into())),
        ("rejected", Some("unknown round")) => Outcome::Rejected(RejectReason::UnknownRound),
        ("discarded", Some("late")) => Outcome::Discarded(DiscardReason::Late),
        ("discarded", Some("abandoned")) => Outcome::Discarded(DiscardReason::Abandoned),
        _ => return Err(StoreError::Value { what: "an outcome", value: format!("{outcome} {reason:?}") }),
    }))
}

/// Names of an enum's values in the tables.
macro_rules! words {
    ($type:ty, $what:literal, $($value:path => $word:literal),+) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $($value => $word),+ })
            }
        }

        impl FromStr for $type {
            type Err = StoreError;

            fn from_str(word: &str) -> Result<Self, StoreError> {
                match word {
                    $($word => Ok($value),)+
                    _ => Err(StoreError::Value { what: $what, value: word.into() }),
                }
            }
        }
    };
}

words!(RoundState, "the state of a round",
    RoundState::Selecting => "selecting", RoundState::Collecting => "collecting", RoundState::Closing => "closing",
    RoundState::Committed => "committed", RoundState::Abandoned => "abandoned");
words!(ReportKind, "the kind of a report",
    ReportKind::Update => "update", ReportKind::Refused => "refused", ReportKind::Lost => "lost",
    ReportKind::GivenUp => "given up");
