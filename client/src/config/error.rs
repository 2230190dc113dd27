//! Mistakes in a configuration: what, where, and how to mend it.

use std::{io, path::PathBuf};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("{place}: {error}")]
    Syntax {
        /// The file, or the override.
        place: String,
        /// What the TOML reader says, with line and column.
        error: String,
    },
    /// A key that is missing, or that breaks a rule.
    #[error("{}: {problem}\n  help: {mend}", place.as_deref().unwrap_or(key))]
    Rule {
        /// Where the key stands.
        place: Option<String>,
        /// The dotted key.
        key: &'static str,
        /// What is wrong.
        problem: String,
        /// How to mend it.
        mend: String,
    },
}

impl ConfigError {
    pub(super) fn rule(key: &'static str, problem: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Rule { place: None, key, problem: problem.into(), mend: mend.into() }
    }
}
