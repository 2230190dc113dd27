//! The outside check: the same workload, run by PyTorch and by this project's trainer, partition and aggregation.
//!
//! The curves beside this were made by a plain PyTorch loop over the very same random streams, so the two differ by
//! rounding alone: a fraction of a point in the first rounds, and seed noise long after.

use serde::Deserialize;

use crate::{
    engine::Run,
    error::SimError,
    experiment::{Override, Source},
    federation::Federation,
};

const CURVES: &str = include_str!("../data/pytorch_curves.json");
const S2_COUNTS: &str = include_str!("../data/s2_counts.csv");

/// Rounds in which the two must agree closely.
pub const EARLY_ROUNDS: usize = 5;

/// One curve of PyTorch's.
#[derive(Clone, Debug, Deserialize)]
pub struct Curve {
    /// `mlp` or `cnn`.
    pub model: String,
    /// `S1`, `S2` or `S3`.
    pub setting: String,
    /// Seed of the run.
    pub seed: u64,
    /// Rounds of the run.
    pub rounds: u64,
    /// Accuracy after every round.
    pub acc: Vec<f64>,
}

/// A curve beside ours.
#[derive(Clone, Debug)]
pub struct Compared {
    /// PyTorch's.
    pub curve: Curve,
    /// Our accuracy after each round played.
    pub ours: Vec<f64>,
}

impl Compared {
    /// Largest difference over the first rounds, in points.
    #[must_use]
    pub fn early_points(&self) -> f64 {
        let differences = self.ours.iter().zip(&self.curve.acc).take(EARLY_ROUNDS).map(|(a, b)| (a - b).abs());
        100.0 * differences.fold(0.0, f64::max)
    }

    /// Difference of the means over the last five rounds, in points; `None` unless all rounds were played.
    #[must_use]
    pub fn last5_points(&self) -> Option<f64> {
        let mean = |values: &[f64]| values[values.len().saturating_sub(5)..].iter().sum::<f64>() / 5.0;
        (self.ours.len() == self.curve.acc.len() && self.ours.len() >= 5)
            .then(|| 100.0 * (mean(&self.ours) - mean(&self.curve.acc)))
    }
}

/// PyTorch's curves.
#[must_use]
pub fn curves() -> Vec<Curve> {
    serde_json::from_str(CURVES).expect("the curves in this crate are well-formed")
}

/// Plays up to `rounds` rounds of the workload behind `curve` on Fashion-MNIST.
///
/// # Errors
/// If Fashion-MNIST is not there, or a run fails.
pub fn compare(curve: Curve, rounds: u64, threads: usize) -> Result<Compared, SimError> {
    let dir = tempfile::tempdir().map_err(SimError::io(std::env::temp_dir()))?;
    let counts = dir.path().join("s2_counts.csv");
    std::fs::write(&counts, S2_COUNTS).map_err(SimError::io(&counts))?;
    let (clients, cohort) = if curve.setting == "S3" { (1000, 100) } else { (100, 10) };
    let mut partition = toml::Table::new();
    if curve.setting == "S2" {
        partition.insert("kind".into(), "counts".into());
        partition.insert("path".into(), counts.display().to_string().into());
    } else {
        partition.insert("kind".into(), "iid".into());
    }
    let overrides = vec![
        Override::new("data.dataset", "fashion-mnist"),
        Override::new("data.clients", clients),
        Override::new("data.partition", partition),
        Override::new("local.epochs", 1),
        Override::new("model.name", curve.model.as_str()),
        Override::new("local.lr", if curve.model == "cnn" { 0.05 } else { 0.1 }),
        Override::new("cohort.size", cohort),
        Override::new("rounds", curve.rounds.min(rounds) as i64),
        Override::new("seeds", vec![curve.seed as i64]),
        Override::new("compression.uplink", vec!["fp32"]),
    ];
    let experiment = Source { file: None, overrides }.load()?;
    let federation = Federation::load(&experiment)?;
    let which = (experiment.schemes[0], experiment.seeds[0]);
    let mut run = Run::open(&experiment, &federation, which, threads, &dir.path().join("run"))?;
    let mut ours = Vec::new();
    while !run.is_done() {
        ours.push(run.step()?.accuracy);
    }
    Ok(Compared { curve, ours })
}
