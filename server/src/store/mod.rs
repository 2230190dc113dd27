//! What the coordinator must not forget: runs, rounds, cohorts, reports, devices and the ledger, in one SQLite file.
//!
//! Write-ahead logging with `synchronous = FULL`: what was committed survives a power cut. Every process that needs the
//! store opens it for itself; readers never wait for the writer.
//!
//! Absent on purpose: payloads and models (files of their own), secrets (tokens are kept as digests), and any clock.

mod cohort;
mod devices;
mod error;
mod ledger;
mod rounds;
mod runs;

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

pub use devices::{Allowance, Device, NewToken};
pub use error::StoreError;
pub use ledger::{Bytes, LedgerRow};
pub use rounds::{Metrics, Report, ReportKind, RoundRow, RoundState};
pub use runs::RunRow;

/// The version of the tables.
const VERSION: i64 = 5;

const TABLES: &str = include_str!("tables.sql");

/// An open store.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Opens the store in `directory`, and makes it where there is none.
    ///
    /// # Errors
    /// If it cannot be opened, or was made by another version.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(file_in(directory))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        let store = Self { connection };
        match store.version()? {
            0 => {
                store.connection.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"))?;
            }
            VERSION => {}
            found => return Err(StoreError::Version { found, expected: VERSION }),
        }
        Ok(store)
    }

    /// Opens the store in `directory` to look at it, also while a coordinator writes to it.
    ///
    /// # Errors
    /// If there is none, or it was made by another version.
    pub fn look_at(directory: &Path) -> Result<Self, StoreError> {
        let file = file_in(directory);
        if !file.exists() {
            return Err(StoreError::Missing { directory: directory.into() });
        }
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        let store = Self { connection };
        match store.version()? {
            VERSION => Ok(store),
            found => Err(StoreError::Version { found, expected: VERSION }),
        }
    }

    /// Begins a transaction that [`Store::commit_all`] ends.
    ///
    /// # Errors
    /// If the store fails.
    pub fn begin(&self) -> Result<(), StoreError> {
        Ok(self.connection.execute_batch("BEGIN IMMEDIATE")?)
    }

    /// Makes everything since [`Store::begin`] durable.
    ///
    /// # Errors
    /// If the store fails.
    pub fn commit_all(&self) -> Result<(), StoreError> {
        Ok(self.connection.execute_batch("COMMIT")?)
    }

    /// Does all of `work` or nothing of it, durably.
    ///
    /// # Errors
    /// Those of `work`, or of the commit; nothing has then changed.
    pub fn transaction<T>(&mut self, work: impl FnOnce(&Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let result = work(self).and_then(|done| {
            self.connection.execute_batch("COMMIT")?;
            Ok(done)
        });
        if result.is_err() && !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        result
    }

    fn version(&self) -> Result<i64, StoreError> {
        Ok(self.connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
    }
}

fn file_in(directory: &Path) -> std::path::PathBuf {
    directory.join("nibble.sqlite")
}

/// SQLite's integers are signed: identities and seeds keep their bits.
fn signed(value: u64) -> i64 {
    value.cast_signed()
}

/// The number whose bits [`signed`] kept.
fn unsigned(value: i64) -> u64 {
    value.cast_unsigned()
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(nanos.max(0).cast_unsigned())
}

#[cfg(test)]
mod tests;
