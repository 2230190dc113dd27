//! How good a global model is, on a held-out set: on a thread of its own, so that rounds go on meanwhile. Models wait where they
//! are stored, so that a kill loses none; however many wait, one is in memory.
//!
//! The coordinator knows vectors, not models: what evaluates them is filled in by the binary.
//!
//! Absent on purpose: leaving any of them out. Where evaluating takes longer than a round, models pile up on the disk.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use nibble_codec::Layout;
use nibble_seed::RoundId;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{info, warn};

use crate::{
    models::{Models, NewModel},
    store::{Store, StoreError},
};

/// Evaluates parameters.
pub trait Evaluate: Send {
    /// Top-1 accuracy in [0, 1] and mean loss on the held-out set.
    ///
    /// # Errors
    /// In words, if the parameters cannot be evaluated.
    fn evaluate(&mut self, parameters: &[f32]) -> Result<(f64, f64), String>;
}

/// Evaluates what comes and enters it in the store, until nobody can send any more.
pub(crate) struct Evaluation {
    evaluator: Box<dyn Evaluate>,
    store: Store,
    run: String,
    models: Arc<Models>,
    layout: Layout,
    /// What waits is left for the next start.
    leave: Arc<AtomicBool>,
}

/// The thread on which that happens.
pub(crate) struct Evaluating {
    thread: JoinHandle<()>,
    leave: Arc<AtomicBool>,
}

impl Evaluation {
    /// An evaluation of `models` for the store in `directory`.
    pub(crate) fn new(
        evaluator: Box<dyn Evaluate>,
        directory: &Path,
        (run, layout): (&str, &Layout),
        models: Arc<Models>,
    ) -> Result<Self, StoreError> {
        let (run, layout) = (run.to_owned(), layout.clone());
        Ok(Self { evaluator, store: Store::open(directory)?, run, models, layout, leave: Arc::default() })
    }

    pub(crate) fn spawn(mut self) -> (UnboundedSender<NewModel>, Evaluating) {
        let (sender, mut new): (_, UnboundedReceiver<NewModel>) = unbounded_channel();
        let leave = Arc::clone(&self.leave);
        let thread = thread::spawn(move || {
            while let Some(NewModel { round, model }) = new.blocking_recv() {
                if self.leave.load(Relaxed) {
                    break;
                }
                if let Err(problem) = self.evaluate(round, &model) {
                    warn!(%round, problem, "the model is not evaluated");
                }
            }
        });
        (sender, Evaluating { thread, leave })
    }

    fn evaluate(&mut self, round: RoundId, model: &crate::models::Kept) -> Result<(), String> {
        let known = self.store.round(&self.run, round).map_err(|error| error.to_string())?;
        if known.is_some_and(|row| row.accuracy.is_some()) {
            return Ok(());
        }
        let parameters = self.models.get(&self.layout, model.name()).map_err(|error| error.to_string())?;
        let (accuracy, loss) = self.evaluator.evaluate(&parameters)?;
        info!(%round, accuracy, loss, "the model is evaluated");
        self.store.evaluated(&self.run, round, accuracy, loss).map_err(|error| error.to_string())
    }
}

impl Evaluating {
    /// Waits for what is under way, and, `whole`, for all that waits.
    pub(crate) fn end(self, whole: bool) -> thread::Result<()> {
        self.leave.store(!whole, Relaxed);
        self.thread.join()
    }
}
