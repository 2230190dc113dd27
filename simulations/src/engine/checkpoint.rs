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
use sha2::{Digest as _, Sha256};

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
    /// Updates under way, where rounds do not wait.
    #[serde(default)]
    pub flights: Vec<FlightRow>,
    /// Until when clients that were given up are busy nevertheless.
    #[serde(default)]
    pub late: BTreeMap<u64, u64>,
    /// SHA-256 of their payloads, one after the other; the file of this name holds them.
    #[serde(default)]
    pub payloads: String,
}

/// An update under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlightRow {
    /// Whose it is.
    pub client: u64,
    /// The round that it was assigned in.
    pub round: u64,
    /// When that was.
    pub began_nanos: u64,
    /// When it arrives, or the client is lost.
    pub arrives_nanos: u64,
    /// How long the client works; none if it is lost.
    pub works_nanos: Option<u64>,
    /// Bytes that brought it the model.
    pub downlink_bytes: u64,
    /// Scheme of the update.
    pub scheme: String,
    /// Streams of its rounding and of its batch order.
    pub streams: (u64, u64),
    /// What was sent; nothing if the client is lost.
    pub sent: Option<SentRow>,
    /// Whether it has arrived.
    pub received: bool,
}

/// An update under way, as it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SentRow {
    /// Bytes of its payload.
    pub payload_bytes: u64,
    /// Samples it was trained on.
    pub samples: u64,
    /// Steps of its training.
    pub steps: u64,
    /// Mean loss of its training.
    pub mean_loss: f64,
    /// Mean loss before it, where that was measured.
    pub start_loss: Option<f64>,
    /// Relative squared error of the payload.
    pub nmse: f64,
}

/// The model, what the optimiser remembers, what clients have and what they keep.
pub(super) type Models = [Vec<f32>; 4];

const NAME: &str = "checkpoint.json";

impl Checkpoint {
    /// The models it names.
    fn models(&self) -> [&String; 4] {
        [&self.model, &self.memories, &self.held, &self.anchor]
    }

    /// Makes the checkpoint durable in `dir`, with the models and payloads it names.
    pub(super) fn save(&self, dir: &Path, models: [&[f32]; 4], payloads: &[u8]) -> Result<(), SimError> {
        let mut kept = Vec::new();
        if !payloads.is_empty() {
            let path = payloads_file_of(dir, &self.payloads);
            write_whole(&path, payloads)?;
            kept.push(path);
        }
        for (name, model) in self.models().into_iter().zip(models) {
            let path = model_file_of(dir, name);
            if !path.exists() {
                write_whole(&path, &to_bytes(model))?;
            }
            kept.push(path);
        }
        let json = serde_json::to_vec_pretty(self).map_err(|error| SimError::io(dir)(error.into()))?;
        write_whole(&dir.join(NAME), &json)?;
        let ours = |path: &PathBuf| path.extension().is_some_and(|it| it == "model" || it == "payloads");
        let old = |path: &PathBuf| ours(path) && !kept.contains(path);
        for entry in fs::read_dir(dir).map_err(SimError::io(dir))?.flatten() {
            if old(&entry.path()) {
                fs::remove_file(entry.path()).map_err(SimError::io(entry.path()))?;
            }
        }
        Ok(())
    }

    /// Whether there is one in `dir`.
    pub(crate) fn is_in(dir: &Path) -> bool {
        dir.join(NAME).exists()
    }

    /// The checkpoint in `dir` with its models and payloads; `None` if there is none.
    pub(super) fn load(dir: &Path) -> Result<Option<(Self, Models, Vec<u8>)>, SimError> {
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
        let mut payloads = Vec::new();
        if checkpoint.flights.iter().any(|flight| flight.sent.is_some()) {
            let file = payloads_file_of(dir, &checkpoint.payloads);
            payloads = fs::read(&file).map_err(SimError::io(&file))?;
            if sha256(&payloads) != checkpoint.payloads {
                return Err(damaged(&file, "the updates in it are damaged".into()));
            }
        }
        Ok(Some((checkpoint, models, payloads)))
    }
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn payloads_file_of(dir: &Path, hash: &str) -> PathBuf {
    dir.join(hash).with_extension("payloads")
}

fn model_file_of(dir: &Path, hash: &str) -> PathBuf {
    dir.join(hash).with_extension("model")
}
