//! Worker threads: each has a trainer and an encoder, and takes whatever task is next.

use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use nibble_client::Participant;
use nibble_learning::{Evaluation, LearningError, Trainer};

use crate::{error::SimError, federation::Federation};

/// Test samples evaluated at a time: the slices, and so the sums, do not depend on the number of threads.
const EVALUATION_SLICE: usize = 500;

/// As many participants as threads.
pub struct Workers {
    participants: Vec<Participant>,
}

impl Workers {
    /// `threads` workers (at least 1) for one federation.
    ///
    /// # Errors
    /// If the model's tensors make no layout.
    pub fn new(federation: &Federation, threads: usize) -> Result<Self, SimError> {
        let participant = |_| {
            Participant::new(federation.trainer())
                .map_err(|error| SimError::Usage { problem: error.to_string(), mend: "choose another model".into() })
        };
        Ok(Self { participants: (0..threads.max(1)).map(participant).collect::<Result<_, _>>()? })
    }

    /// How many threads they are.
    pub(super) fn threads(&self) -> usize {
        self.participants.len()
    }

    /// Does every task once, on whichever worker is free, and returns the results in the order of the tasks. After the
    /// first error no further task is begun.
    ///
    /// # Errors
    /// That of the first task, in their order, that failed.
    pub(crate) fn each<T: Sync, R: Send>(
        &mut self,
        tasks: &[T],
        work: impl Fn(&mut Participant, &T) -> Result<R, SimError> + Sync,
    ) -> Result<Vec<R>, SimError> {
        let next = AtomicUsize::new(0);
        let results: Mutex<Vec<Option<Result<R, SimError>>>> = Mutex::new(tasks.iter().map(|_| None).collect());
        let take = |participant: &mut Participant| {
            while let Some((index, task)) = take_next(&next, tasks) {
                let result = work(participant, task);
                if result.is_err() {
                    next.store(tasks.len(), Ordering::Relaxed);
                }
                results.lock().expect("no worker panics while it holds the lock")[index] = Some(result);
            }
        };
        thread::scope(|scope| {
            let (first, others) = self.participants.split_first_mut().expect("there is at least one worker");
            for participant in others {
                scope.spawn(|| take(participant));
            }
            take(first);
        });
        // A task that was not begun stands behind one that failed, or beside it: the error is found before it matters.
        let results = results.into_inner().expect("all workers have ended");
        let (done, failed): (Vec<_>, Vec<_>) = results.into_iter().flatten().partition(Result::is_ok);
        match failed.into_iter().next() {
            Some(failed) => failed.map(|_| Vec::new()),
            None => done.into_iter().collect(),
        }
    }

    /// Evaluates `parameters` on the whole test part.
    pub(super) fn evaluate(&mut self, parameters: &[f32], samples: usize) -> Result<Evaluation, SimError> {
        self.over(samples, |trainer, range| trainer.evaluate(parameters, range))
    }

    /// The sum of what `evaluate` gives for the slices of the test part.
    pub(crate) fn over(
        &mut self,
        samples: usize,
        evaluate: impl Fn(&mut dyn Trainer, Range<usize>) -> Result<Evaluation, LearningError> + Sync,
    ) -> Result<Evaluation, SimError> {
        let starts: Vec<_> = (0..samples).step_by(EVALUATION_SLICE).collect();
        let slices = self.each(&starts, |participant, &start| {
            let range = start..samples.min(start + EVALUATION_SLICE);
            evaluate(participant.trainer(), range).map_err(SimError::Evaluation)
        })?;
        let mut sum = Evaluation::default();
        slices.into_iter().for_each(|slice| sum += slice);
        Ok(sum)
    }
}

fn take_next<'a, T>(next: &AtomicUsize, tasks: &'a [T]) -> Option<(usize, &'a T)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    tasks.get(index).map(|task| (index, task))
}
