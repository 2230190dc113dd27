//! Runs: the configuration is durable before anything of a run can be seen.

use std::time::Duration;

use rusqlite::OptionalExtension;

use super::{Store, StoreError, duration, nanos, signed, unsigned};
use crate::models::{DeltaFrame, ModelName};

/// A run as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// Its name.
    pub name: String,
    /// Its configuration as TOML.
    pub config: String,
    /// When it was started, since 1970.
    pub started: Duration,
    /// When its last round ended.
    pub ended: Option<Duration>,
    /// SHA-256 of the parameters it started from.
    pub initial_model: [u8; 32],
}

impl Store {
    /// The run of this name.
    ///
    /// # Errors
    /// If the store fails.
    pub fn run(&self, name: &str) -> Result<Option<RunRow>, StoreError> {
        let sql = "SELECT name, config, started, ended, initial_model FROM runs WHERE name = ?1";
        Ok(self.connection.prepare_cached(sql)?.query_row([name], read).optional()?)
    }

    /// Every run, in the order they were started.
    ///
    /// # Errors
    /// If the store fails.
    pub fn runs(&self) -> Result<Vec<RunRow>, StoreError> {
        let sql = "SELECT name, config, started, ended, initial_model FROM runs ORDER BY started, name";
        Ok(self.connection.prepare_cached(sql)?.query_map([], read)?.collect::<Result<_, _>>()?)
    }

    /// Enters a new run.
    ///
    /// # Errors
    /// If there is one of this name, or the store fails.
    pub fn start_run(&self, run: &RunRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO runs (name, config, started, initial_model) VALUES (?1, ?2, ?3, ?4)";
        self.connection.execute(sql, (&run.name, &run.config, nanos(run.started), run.initial_model))?;
        Ok(())
    }

    /// Enters the delta frame that leads to a version of the model, and what it leads to.
    ///
    /// # Errors
    /// If the store fails.
    pub fn add_frame(&self, run: &str, version: u64, frame: &DeltaFrame, model: &ModelName) -> Result<(), StoreError> {
        let sql = "INSERT INTO frames (run, version, digest, bytes, model) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.connection.execute(sql, (run, signed(version), frame.digest, signed(frame.bytes), model))?;
        Ok(())
    }

    /// The delta frames of a run and what they lead to, from version 1 on.
    ///
    /// # Errors
    /// If the store fails.
    pub fn frames(&self, run: &str) -> Result<Vec<(DeltaFrame, ModelName)>, StoreError> {
        let sql = "SELECT digest, bytes, model FROM frames WHERE run = ?1 ORDER BY version";
        let mut rows = self.connection.prepare_cached(sql)?;
        let rows = rows.query_map([run], |row| {
            Ok((DeltaFrame { digest: row.get(0)?, bytes: unsigned(row.get(1)?) }, row.get(2)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Notes that the last round of a run has ended.
    ///
    /// # Errors
    /// If the store fails.
    pub fn end_run(&self, name: &str, at: Duration) -> Result<(), StoreError> {
        self.connection.execute("UPDATE runs SET ended = ?2 WHERE name = ?1", (name, nanos(at)))?;
        Ok(())
    }
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        name: row.get(0)?,
        config: row.get(1)?,
        started: duration(row.get(2)?),
        ended: row.get::<_, Option<i64>>(3)?.map(duration),
        initial_model: row.get(4)?,
    })
}
