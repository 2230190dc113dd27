//! What can go wrong with the store.

use std::path::PathBuf;

/// Errors of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite failed.
    #[error("the store failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// There is no store.
    #[error("{} holds no coordinator; name another directory, or make one with nibble-server init", directory.display())]
    Missing {
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// The store was made by another version of the program.
    #[error("the store has version {found}, this program knows version {expected}; use the program that made it")]
    Version {
        /// Its version.
        found: i64,
        /// The version that is known.
        expected: i64,
    },
    /// A value that the program would not have written.
    #[error("the store holds {value:?} as {what}, which is undefined: it was damaged or changed by hand")]
    Value {
        /// What it should be.
        what: &'static str,
        /// What it is.
        value: String,
    },
    /// A run of this name exists with another configuration.
    #[error("the run {run:?} was started with another configuration ({differs}); give the new one a name of its own")]
    OtherRun {
        /// Its name.
        run: String,
        /// The first line that differs.
        differs: String,
    },
    /// A device cannot be entered.
    #[error("{0}")]
    Device(String),
}
