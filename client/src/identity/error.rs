//! What can be wrong with an identity.

use std::{io, path::PathBuf};

use crate::link::CallError;

/// Errors of enrolling, renewing and loading an identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
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
    /// A device that has not been enrolled.
    #[error("{} holds no identity\n  help: run `nibble-client enroll` with a token from the coordinator", dir.display())]
    NotEnrolled {
        /// The state directory.
        dir: PathBuf,
    },
    /// A device that has been enrolled already.
    #[error("{} holds an identity already\n  help: add --replace to give it up for a new one", dir.display())]
    Enrolled {
        /// The state directory.
        dir: PathBuf,
    },
    /// A file that does not hold what it should.
    #[error("{} {problem}\n  help: enroll again with --replace", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate from the coordinator that cannot be used. Nothing was kept.
    #[error("the coordinator's answer cannot be used: {problem}")]
    Answer {
        /// What is wrong with it.
        problem: String,
    },
    /// Key or certificates that the cryptography does not take.
    #[error("the cryptography refuses: {0}")]
    Crypto(String),
    /// The coordinator could not be asked.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl IdentityError {
    /// Ties an I/O error to what was tried.
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    pub(super) fn answer(problem: impl Into<String>) -> Self {
        Self::Answer { problem: problem.into() }
    }
}
