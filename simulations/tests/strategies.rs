//! Strategies in whole runs: the same model on any number of threads, and resumed in the middle, with what is remembered.

mod support;

use nibble_sim::{experiment::Experiment, federation::Federation};
use support::runs::{self, play};

const COMMON: &str = "seeds = [5]\nrounds = 6\n[model]\nname = \"logreg\"\n[data]\nclients = 20\n\
     partition = { kind = \"size-skewed\", sigma = 1.0 }\n[compression]\nuplink = [\"int8\"]\n[cohort]\nsize = 6\n[strategy]\nname = ";

const STRATEGIES: [&str; 10] = [
    "\"fedavg\"",
    "\"fedavgm\"\nlr = 0.5",
    "\"fedadagrad\"",
    "\"fedadam\"",
    "\"fedyogi\"",
    "\"fedprox\"\nmu = 0.5",
    "\"fednova\"",
    "\"qfedavg\"",
    "\"scaffold\"\n[aggregation]\nnorm_bound = \"off\"",
    "\"feddyn\"\n[aggregation]\nnorm_bound = \"off\"",
];

fn experiment(strategy: &str) -> Experiment {
    runs::experiment(&format!("{COMMON}{strategy}\n"))
}

#[test]
fn every_strategy_ends_in_one_model_on_any_number_of_threads_and_resumed() {
    let federation = Federation::load(&experiment(STRATEGIES[0])).expect("a federation");
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
