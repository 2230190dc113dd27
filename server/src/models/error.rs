//! What goes wrong with models.
//!
//! Absent on purpose: what is wrong with a frame that a client sent (the codec says that).

use std::{
    io,
    path::{Path, PathBuf},
};

/// Errors of the models.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file system failed.
    #[error("cannot keep models in {}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The bucket failed.
    #[error("the bucket for models fails: {0}; check its address, and the keys in the environment")]
    Bucket(String),
    /// The address names no object store that this program knows.
    #[error("models = {url:?}: {problem}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What is kept under a model's name is not that model.
    #[error("the model {name} is damaged: {problem}; restore it from a backup")]
    Damaged {
        /// Its name in hexadecimal.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Parameters that cannot be written down: training has diverged.
    #[error("the new model cannot be stored: {0}")]
    Parameters(#[from] nibble_codec::EncodeError),
}

impl From<object_store::Error> for ModelError {
    /// Services answer with pages of XML: as much of it as fits a line.
    fn from(error: object_store::Error) -> Self {
        let words: Vec<_> = error.to_string().split_whitespace().map(str::to_owned).collect();
        Self::Bucket(words.join(" ").chars().take(300).collect())
    }
}

/// What happened at a path.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> ModelError {
    move |error| ModelError::Io { path: path.into(), error }
}
