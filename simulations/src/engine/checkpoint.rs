//! What a run needs to go on after a crash, in one directory: `checkpoint.json`, the model and the vectors it names.
//!
//! Everything it names is durable before it is; it replaces its predecessor by a rename; only then do older files go.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use nibble_client::budget::Account;
use nibble_server::selection::Known;
use serde::{Deserialize, Serialize};

use crate::{
    error::SimError,
    files::{from_bytes, to_bytes, write_whole},
    model_file,
    results::{ClassRow, RoundRow},
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
    /// As `model`, of what the optimiser remembers.
    pub memories: String,
    /// As `model`, of the version that clients have.
    pub held: String,
    /// As `model`, of the version that they keep.
    pub anchor: String,
    /// Bytes of every frame that led there.
    #[serde(default)]
    pub frames: Vec<u64>,
    /// Which version each client has.
    #[serde(default)]
    pub versions: BTreeMap<u64, u64>,
    /// What each client has spent.
    #[serde(default)]
    pub accounts: BTreeMap<u64, Account>,
    /// What clients did, by kind of link.
    #[serde(default)]
    pub classes: Vec<ClassRow>,
    /// What is known of clients that were selected.
    #[serde(default)]
    pub known: BTreeMap<u64, Known>,
    /// File number of what each client keeps: its residual, or its control variate.
    pub kept: BTreeMap<u64, u64>,
    /// File number of what each client has of the model for itself.
    #[serde(default)]
    pub own: BTreeMap<u64, u64>,
}

/// The model, what the optimiser remembers, what clients have and what they keep.
type Models = [Vec<f32>; 4];

const NAME: &str = "checkpoint.json";

impl Checkpoint {
    /// The models it names.
    fn models(&self) -> [&String; 4] {
        [&self.model, &self.memories, &self.held, &self.anchor]
    }

    /// Makes the checkpoint durable in `dir`, with the models it names.
    pub(super) fn save(&self, dir: &Path, models: [&[f32]; 4]) -> Result<(), SimError> {
        let mut kept = Vec::new();
        for (name, model) in self.models().into_iter().zip(models) {
            let path = model_file_of(dir, name);
            if !path.exists() {
                write_whole(&path, &to_bytes(model))?;
            }
            kept.push(path);
        }
        let json = serde_json::to_vec_pretty(self).map_err(|error| SimError::io(dir)(error.into()))?;
        write_whole(&dir.join(NAME), &json)?;
        let old =
            |path: &PathBuf| path.extension().is_some_and(|extension| extension == "model") && !kept.contains(path);
        for entry in fs::read_dir(dir).map_err(SimError::io(dir))?.flatten() {
            if old(&entry.path()) {
                fs::remove_file(entry.path()).map_err(SimError::io(entry.path()))?;
            }
        }
        Ok(())
    }

    /// The checkpoint in `dir` with its models; `None` if there is none.
    pub(super) fn load(dir: &Path) -> Result<Option<(Self, Models)>, SimError> {
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
        let model = |name: &String| {
            let file = model_file_of(dir, name);
            let bytes = fs::read(&file).map_err(SimError::io(&file))?;
            let model = from_bytes(&bytes).filter(|model| model_file::hash(model) == *name);
            model.ok_or_else(|| damaged(&file, "the model in it is damaged".into()))
        };
        let [global, memories, held, anchor] = checkpoint.models().map(model);
        let models = [global?, memories?, held?, anchor?];
        Ok(Some((checkpoint, models)))
    }
}

fn model_file_of(dir: &Path, hash: &str) -> PathBuf {
    dir.join(hash).with_extension("model")
}
