//! Strategies in whole runs: the same model on any number of threads, and resumed in the middle, with what is remembered.

mod support;

use nibble_sim::{experiment::Experiment, federation::Federation};
use support::runs::{self, play};

/// A model of four chunks, so that threads share every fold.
const COMMON: &str = "seeds = [5]\nrounds = 6\n[model]\nname = \"mlp\"\n[data]\nclients = 20\n\
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

/// Rounds that do not wait, with everything that changes who has come how far.
const ASYNCHRONOUS: &str = "seeds = [5]\nrounds = 12\n[model]\nname = \"logreg\"\n[data]\nclients = 20\n\
     partition = { kind = \"size-skewed\", sigma = 1.0 }\n[compression]\nuplink = [\"int4+ef/auto:1\"]\n\
     [cohort]\nsize = 4\nquorum = 2\ndeadline_seconds = 200.0\n[availability]\ndropout = 0.1\nspread = 1.5\n\
     [asynchronous]\nconcurrency = 9\nmax_staleness = 4\n";

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

#[test]
fn rounds_that_do_not_wait_end_in_one_model_on_any_number_of_threads_and_resumed() {
    let mut models = Vec::new();
    for more in [
        "",
        "[links]\nprofiles = { nb-iot = 1.0, lte = 5.0 }\nspread = 0.5\n",
        "[strategy]\nname = \"fedadam\"\n[aggregation]\nrule = \"median\"\n",
        "[budget]\nuplink_bytes = 12000\n",
    ] {
        let experiment = runs::experiment(&format!("{ASYNCHRONOUS}{more}"));
        let federation = Federation::load(&experiment).expect("a federation");
        let (model, accuracy) = play(&experiment, &federation, 1, &[]);
        assert_eq!(play(&experiment, &federation, 3, &[1, 2, 3, 7]).0, model, "{more}");
        assert!(accuracy > 0.3, "{more}: {accuracy}");
        assert!(!models.contains(&model), "{more} changes something");
        models.push(model);
    }
}

#[test]
fn nobody_waits_for_who_takes_long() {
    let waits =
        ASYNCHRONOUS.split("[asynchronous]").next().expect("a first part").replace("deadline_seconds = 200.0\n", "");
    let seconds = |text: &str| {
        let experiment = runs::experiment(text);
        let federation = Federation::load(&experiment).expect("a federation");
        let directory = tempfile::tempdir().expect("a directory for the test");
        let mut run = runs::open(&experiment, &federation, 1, directory.path());
        while !run.is_done() {
            run.step().expect("a round");
        }
        let rows = &run.progress().rows;
        assert!(rows.iter().all(|row| row.counted >= 2), "{rows:?}");
        rows[rows.len() - 1].virtual_seconds
    };
    let (asynchronous, synchronous) = (seconds(ASYNCHRONOUS), seconds(&waits));
    assert!(asynchronous * 3.0 < synchronous, "{asynchronous} s, and {synchronous} s with waiting");
}
