//! How good a global model is, on a held-out set: on a thread of its own, so that rounds go on meanwhile.
//!
//! The coordinator knows vectors, not models: what evaluates them is filled in by the binary.

use std::{
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use nibble_seed::RoundId;
use tracing::{info, warn};

use crate::store::{Store, StoreError};

/// Models that may wait to be evaluated.
const QUEUE: usize = 2;

/// Evaluates parameters.
pub trait Evaluate: Send {
    /// Top-1 accuracy in [0, 1] and mean loss on the held-out set.
    ///
    /// # Errors
    /// In words, if the parameters cannot be evaluated.
    fn evaluate(&mut self, parameters: &[f32]) -> Result<(f64, f64), String>;
}

/// A model to evaluate.
#[derive(Debug)]
pub struct ToEvaluate {
    /// The round that made it.
    pub round: RoundId,
    /// Its parameters.
    pub parameters: Vec<f32>,
}

/// Evaluates what comes and enters it in the store in `directory`, until the sender is dropped.
///
/// # Errors
/// If the store cannot be opened.
pub fn spawn(
    evaluator: Box<dyn Evaluate>,
    directory: &Path,
    run: String,
) -> Result<(SyncSender<ToEvaluate>, JoinHandle<()>), StoreError> {
    let store = Store::open(directory)?;
    let (sender, receiver) = sync_channel(QUEUE);
    let thread = thread::spawn(move || work(evaluator, &store, &run, &receiver));
    Ok((sender, thread))
}

fn work(mut evaluator: Box<dyn Evaluate>, store: &Store, run: &str, models: &Receiver<ToEvaluate>) {
    for ToEvaluate { round, parameters } in models {
        match evaluator.evaluate(&parameters) {
            Ok((accuracy, loss)) => {
                info!(%round, accuracy, loss, "the model is evaluated");
                if let Err(error) = store.evaluated(run, round, accuracy, loss) {
                    warn!(%round, %error, "the evaluation cannot be kept");
                }
            }
            Err(problem) => warn!(%round, problem, "the model cannot be evaluated"),
        }
    }
}
