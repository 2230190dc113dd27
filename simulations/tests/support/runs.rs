//! Whole runs in this process: interrupted, on any number of threads.

use std::path::Path;

use nibble_sim::{
    engine::Run,
    experiment::{Experiment, Source},
    federation::Federation,
};

/// What an experiment file with this text says.
pub fn experiment(text: &str) -> Experiment {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let file = directory.path().join("experiment.toml");
    std::fs::write(&file, text).expect("a file for the test");
    Source { file: Some(file), overrides: Vec::new() }.load().expect("an experiment")
}

/// A run of its first scheme and seed.
pub fn open<'a>(experiment: &'a Experiment, federation: &'a Federation, threads: usize, directory: &Path) -> Run<'a> {
    let which = (experiment.schemes[0], experiment.seeds[0]);
    Run::open(experiment, federation, which, threads, directory).expect("a run")
}

/// The hash and the accuracy of the model that a run ends in, if it is killed and resumed after each of `breaks` rounds.
pub fn play(experiment: &Experiment, federation: &Federation, threads: usize, breaks: &[usize]) -> (String, f64) {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let mut run = open(experiment, federation, threads, directory.path());
    while !run.is_done() {
        run.step().expect("a round");
        if breaks.contains(&run.progress().rows.len()) {
            run.checkpoint().expect("a checkpoint");
            drop(run);
            run = open(experiment, federation, threads, directory.path());
        }
    }
    let summary = run.result().summary;
    (summary.model_hash, summary.final_accuracy)
}
