//! A run: its state between rounds, how it begins, goes on and is summed up.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nibble_codec::Scheme;
use nibble_seed::Seed;

use super::{checkpoint::Checkpoint, residuals::Residuals, workers::Workers};
use crate::{
    clock::peak_rss_bytes,
    error::SimError,
    experiment::Experiment,
    federation::Federation,
    model_file,
    results::{RoundRow, RunResult, RunSummary},
};

/// What a run has come to.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The rounds so far.
    pub rows: Vec<RoundRow>,
    /// The global model.
    pub global: Vec<f32>,
    /// Virtual time.
    pub clock: Duration,
}

/// One scheme under one seed.
pub struct Run<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) federation: &'a Federation,
    pub(super) scheme: Scheme,
    pub(super) seed: Seed,
    pub(super) workers: Workers,
    pub(super) residuals: Residuals,
    pub(super) progress: Progress,
    /// Buffers of payloads that were folded, for the next round's.
    pub(super) spare: Vec<Vec<u8>>,
    /// Where every delta goes as a file, if anywhere.
    pub(super) save_updates: Option<PathBuf>,
    /// Where residuals spill and checkpoints lie.
    dir: PathBuf,
}

impl<'a> Run<'a> {
    /// Goes on from the checkpoint in `dir`, or begins where there is none.
    ///
    /// # Errors
    /// If `dir` cannot be used, or holds a checkpoint that is damaged or of another run.
    pub fn open(
        experiment: &'a Experiment,
        federation: &'a Federation,
        (scheme, seed): (Scheme, Seed),
        threads: usize,
        dir: &Path,
    ) -> Result<Self, SimError> {
        fs::create_dir_all(dir).map_err(SimError::io(dir))?;
        let workers = Workers::new(federation, scheme, threads)?;
        let cap_bytes = experiment.raw.compression.residual_memory_mib.saturating_mul(1 << 20);
        let spill = dir.join("residuals");
        let (progress, residuals) = match Checkpoint::load(dir)? {
            Some((checkpoint, global)) => {
                check_same(&checkpoint, scheme, seed, dir)?;
                let residuals = Residuals::restore(spill, cap_bytes, &checkpoint.residuals)?;
                let clock = Duration::from_nanos(checkpoint.clock_nanos);
                (Progress { rows: checkpoint.rows, global, clock }, residuals)
            }
            None => {
                let global = federation.trainer().init(seed);
                let progress = Progress { rows: Vec::new(), global, clock: Duration::ZERO };
                (progress, Residuals::restore(spill, cap_bytes, &Default::default())?)
            }
        };
        Ok(Self {
            experiment,
            federation,
            scheme,
            seed,
            workers,
            residuals,
            progress,
            spare: Vec::new(),
            save_updates: None,
            dir: dir.into(),
        })
    }

    /// Whether every round was played.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.progress.rows.len() as u64 >= self.experiment.raw.rounds
    }

    /// Plays one round and evaluates the model after it.
    ///
    /// # Errors
    /// If a client fails, or residuals cannot be kept.
    pub fn step(&mut self) -> Result<&RoundRow, SimError> {
        let mut row = self.play_round()?;
        let samples = self.federation.dataset().test.len();
        let evaluation = self.workers.evaluate(&self.progress.global, samples)?;
        (row.accuracy, row.loss) = (evaluation.accuracy(), evaluation.mean_loss());
        self.progress.rows.push(row);
        Ok(&self.progress.rows[self.progress.rows.len() - 1])
    }

    /// Keeps the delta of every client that trains as a safetensors file in `dir`, which is made when needed.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn save_updates(&mut self, dir: &Path) -> Result<(), SimError> {
        fs::create_dir_all(dir).map_err(SimError::io(dir))?;
        self.save_updates = Some(dir.into());
        Ok(())
    }

    /// Makes the run durable: whatever happens next, [`Run::open`] goes on from here.
    ///
    /// # Errors
    /// If it cannot be written; the checkpoint before is then as it was.
    pub fn checkpoint(&mut self) -> Result<(), SimError> {
        let residuals = self.residuals.save_all()?;
        let checkpoint = Checkpoint {
            scheme: self.scheme.to_string(),
            seed: self.seed.0,
            clock_nanos: u64::try_from(self.progress.clock.as_nanos()).unwrap_or(u64::MAX),
            rows: self.progress.rows.clone(),
            model: model_file::hash(&self.progress.global),
            residuals,
        };
        checkpoint.save(&self.dir, &self.progress.global)?;
        self.residuals.checkpointed(&checkpoint.residuals)
    }

    /// Gives up the global model.
    #[must_use]
    pub fn into_global(self) -> Vec<f32> {
        self.progress.global
    }

    /// The run's state.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The rounds so far, summed up.
    #[must_use]
    pub fn result(&self) -> RunResult {
        let rows = &self.progress.rows;
        let coordinates = self.federation.layout().coordinates();
        let run = (self.scheme, self.seed);
        let summary = RunSummary::of(rows, run, coordinates, &self.progress.global, peak_rss_bytes());
        RunResult { summary, rounds: rows.clone() }
    }
}

fn check_same(checkpoint: &Checkpoint, scheme: Scheme, seed: Seed, dir: &Path) -> Result<(), SimError> {
    if (checkpoint.scheme.as_str(), checkpoint.seed) == (scheme.to_string().as_str(), seed.0) {
        return Ok(());
    }
    Err(SimError::File {
        path: dir.into(),
        problem: format!("holds a run of {} with seed {}", checkpoint.scheme, checkpoint.seed),
        mend: "use another directory, or start afresh with --fresh".into(),
    })
}
