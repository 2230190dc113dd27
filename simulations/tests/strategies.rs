//! Strategies in whole runs: the same model on any number of threads, and resumed in the middle, with what is remembered.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use nibble_sim::{
    engine::Run,
    experiment::{Experiment, Source},
    federation::Federation,
};

const COMMON: &str = "seeds = [5]\nrounds = 6\n[model]\nname = \"logreg\"\n[data]\nclients = 20\n\
     partition = { kind = \"size-skewed\", sigma = 1.0 }\n[compression]\nuplink = [\"int8\"]\n[cohort]\nsize = 6\n[strategy]\nname = ";

const STRATEGIES: [&str; 8] = [
    "\"fedavg\"",
    "\"fedavgm\"\nlr = 0.5",
    "\"fedadagrad\"",
    "\"fedadam\"",
    "\"fedyogi\"",
    "\"fedprox\"\nmu = 0.5",
    "\"fednova\"",
    "\"qfedavg\"",
];

fn experiment(strategy: &str) -> Experiment {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("experiment.toml");
    std::fs::write(&file, format!("{COMMON}{strategy}\n")).unwrap();
    Source { file: Some(file), overrides: Vec::new() }.load().unwrap()
}

/// The model that a run ends in, if it is killed and resumed after each of `breaks` rounds; and its accuracy.
fn play(experiment: &Experiment, federation: &Federation, threads: usize, breaks: &[usize]) -> (String, f64) {
    let directory = tempfile::tempdir().unwrap();
    let which = (experiment.schemes[0], experiment.seeds[0]);
    let open = || Run::open(experiment, federation, which, threads, directory.path()).unwrap();
    let mut run = open();
    while !run.is_done() {
        run.step().unwrap();
        if breaks.contains(&run.progress().rows.len()) {
            run.checkpoint().unwrap();
            drop(run);
            run = open();
        }
    }
    (run.result().summary.model_hash, run.progress().rows.last().unwrap().accuracy)
}

#[test]
fn every_strategy_ends_in_one_model_on_any_number_of_threads_and_resumed() {
    let federation = Federation::load(&experiment(STRATEGIES[0])).unwrap();
    let mut models = Vec::new();
    for strategy in STRATEGIES {
        let experiment = experiment(strategy);
        let (model, accuracy) = play(&experiment, &federation, 1, &[]);
        assert_eq!(play(&experiment, &federation, 3, &[1, 2, 4]).0, model, "{strategy}");
        assert!(!models.contains(&model), "{strategy} does what another one does");
        assert!(accuracy > 0.3, "{strategy}: {accuracy}");
        models.push(model);
    }
}
