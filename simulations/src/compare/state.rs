//! The directory of a comparison that is not finished: what it has come to, so that it can go on.
//!
//! Absent on purpose: the checkpoint of a run, which is the engine's.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use super::{Options, Planned, Unfinished, all_resolved};
use crate::{
    deployed, engine::Checkpoint, error::SimError, experiment::Variant, files::write_whole, results::RunResult,
};

/// Keeps other processes out of the output directory until the file is dropped.
pub(super) fn lock(out: &Path) -> Result<File, SimError> {
    fs::create_dir_all(out).map_err(SimError::io(out))?;
    let path = out.join(".lock");
    let file = File::create(&path).map_err(SimError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SimError::Usage {
            problem: format!("another process is writing to {}", out.display()),
            mend: "wait for it, or choose another --out".into(),
        }),
        Err(TryLockError::Error(error)) => Err(SimError::io(path)(error)),
    }
}

/// The directory of an unfinished comparison.
pub(super) struct State {
    dir: PathBuf,
}

impl State {
    pub(super) fn open(variants: &[Variant], options: &Options) -> Result<Self, SimError> {
        let dir = options.out.join("state");
        let file = dir.join("experiment.toml");
        let (mine, found) = (all_resolved(variants), fs::read_to_string(&file).ok());
        let this = Self { dir: dir.clone() };
        match (found, options.unfinished) {
            (Some(_), Unfinished::Refuse) if this.is_worth_keeping() => {
                return Err(SimError::Usage {
                    problem: format!("{} holds an unfinished comparison", options.out.display()),
                    mend: "add --resume to go on with it, --fresh to throw it away, or choose another --out".into(),
                });
            }
            (Some(found), Unfinished::Resume) if found != mine => {
                return Err(SimError::Usage {
                    problem: format!("{} holds an unfinished comparison of another experiment", options.out.display()),
                    mend: format!("compare with {}, or use --fresh or another --out", file.display()),
                });
            }
            (Some(_), Unfinished::Resume) => return Ok(this),
            (Some(_), Unfinished::Refuse | Unfinished::Discard) | (None, _) => {}
        }
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(SimError::io(&dir))?;
        }
        let models = options.out.join("models");
        for dir in [&dir.join("runs"), &models] {
            fs::create_dir_all(dir).map_err(SimError::io(dir))?;
        }
        write_whole(&file, mine.as_bytes())?;
        Ok(this)
    }

    /// Whether it holds a finished run, a checkpoint, or what real processes left.
    pub(super) fn is_worth_keeping(&self) -> bool {
        let inside = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let finished = inside(&self.dir.join("runs")).next().is_some();
        finished || inside(&self.dir).any(|run| Checkpoint::is_in(&run) || deployed::is_in(&run))
    }

    /// Where a run keeps its checkpoint.
    pub(super) fn current(&self, run: &Planned<'_>) -> PathBuf {
        self.dir.join(run.slug())
    }

    pub(super) fn finished(&self, run: &Planned<'_>) -> Result<Option<RunResult>, SimError> {
        let path = self.result_file(run);
        if !path.exists() {
            return Ok(None);
        }
        let json = fs::read(&path).map_err(SimError::io(&path))?;
        serde_json::from_slice(&json).map(Some).map_err(|error| SimError::File {
            path,
            problem: error.to_string(),
            mend: "start afresh with --fresh".into(),
        })
    }

    pub(super) fn finish(&self, run: &Planned<'_>, result: &RunResult) -> Result<(), SimError> {
        let path = self.result_file(run);
        let json = serde_json::to_vec(result).map_err(|error| SimError::io(&path)(error.into()))?;
        write_whole(&path, &json)?;
        let current = self.current(run);
        fs::remove_dir_all(&current).map_err(SimError::io(current))
    }

    fn result_file(&self, run: &Planned<'_>) -> PathBuf {
        self.dir.join("runs").join(format!("{}.json", run.slug()))
    }

    pub(super) fn remove(self) -> Result<(), SimError> {
        fs::remove_dir_all(&self.dir).map_err(SimError::io(self.dir))
    }
}
