//! What a run needs to go on after a crash, in one directory: `checkpoint.json`, the model and the residuals it names.
//!
//! Everything it names is durable before it is; it replaces its predecessor by a rename; only then do older files go.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::SimError,
    files::{from_bytes, to_bytes, write_whole},
    model_file,
    results::RoundRow,
};

/// A run between two rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Scheme of the run.
    pub scheme: String,
    /// Seed of the run.
    pub seed: u64,
    /// Virtual time, in nanoseconds.
    pub clock_nanos: u64,
    /// The rounds so far.
    pub rows: Vec<RoundRow>,
    /// SHA-256 of the model, in hexadecimal; the file of this name holds it.
    pub model: String,
    /// File number of each client's residual.
    pub residuals: BTreeMap<u64, u64>,
}

const NAME: &str = "checkpoint.json";

impl Checkpoint {
    /// Makes the checkpoint durable in `dir`, with `global`, the model it names.
    pub(super) fn save(&self, dir: &Path, global: &[f32]) -> Result<(), SimError> {
        let model = self.model_file(dir);
        if !model.exists() {
            write_whole(&model, &to_bytes(global))?;
        }
        let json = serde_json::to_vec_pretty(self).map_err(|error| SimError::io(dir)(error.into()))?;
        write_whole(&dir.join(NAME), &json)?;
        let old = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "model") && *path != model;
        for entry in fs::read_dir(dir).map_err(SimError::io(dir))?.flatten() {
            if old(&entry.path()) {
                fs::remove_file(entry.path()).map_err(SimError::io(entry.path()))?;
            }
        }
        Ok(())
    }

    /// The checkpoint in `dir` with its model; `None` if there is none.
    pub(super) fn load(dir: &Path) -> Result<Option<(Self, Vec<f32>)>, SimError> {
        let path = dir.join(NAME);
        if !path.exists() {
            return Ok(None);
        }
        let damaged = |path: &Path, problem: String| SimError::File {
            path: path.into(),
            problem,
            mend: "start afresh with --fresh".into(),
        };
        let json = fs::read(&path).map_err(SimError::io(&path))?;
        let checkpoint: Self = serde_json::from_slice(&json).map_err(|error| damaged(&path, error.to_string()))?;
        let file = checkpoint.model_file(dir);
        let bytes = fs::read(&file).map_err(SimError::io(&file))?;
        let global = from_bytes(&bytes).filter(|global| model_file::hash(global) == checkpoint.model);
        let global = global.ok_or_else(|| damaged(&file, "the model in it is damaged".into()))?;
        Ok(Some((checkpoint, global)))
    }

    fn model_file(&self, dir: &Path) -> PathBuf {
        dir.join(&self.model).with_extension("model")
    }
}
