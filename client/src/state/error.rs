//! What can be wrong with a state directory.

use std::{io, path::PathBuf};

/// Errors of the state on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The system refuses.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{} is in use by another client: stop that one, or give this one a directory of its own", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// Neither slot can be used.
    #[error(
        "no state can be read from {}: client.0: {first}; client.1: {second}\n  help: restore one of the two files from \
         a backup, or remove both to start without what earlier updates left out", dir.display()
    )]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with the first slot.
        first: String,
        /// What is wrong with the second slot.
        second: String,
    },
    /// The slot in use was damaged after it was opened.
    #[error("{} was damaged while it was in use: {problem}; a restart goes back to the other slot", path.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl StateError {
    /// Ties an I/O error to what was tried.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
