//! Rules of selection in whole runs: the same model on any number of threads, and resumed from any round.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use nibble_sim::{
    engine::Run,
    experiment::{Experiment, Source},
    federation::Federation,
};

const COMMON: &str = "seeds = [5]\nrounds = 8\n[model]\nname = \"logreg\"\n[data]\nclients = 40\n\
     [availability]\ndropout = 0.1\nspread = 0.5\n[links]\nprofiles = { lte-m = 1, dsl = 1 }\nspread = 0.3\n\
     [compression]\nuplink = [\"int4+ef\"]\n[cohort]\nsize = 6\nover_select = 0.5\nquorum = 3\n";

const RULES: [&str; 5] = [
    "\"uniform\"",
    "\"weighted\"",
    "{ rule = \"power-of-choice\", candidates = 20 }",
    "{ rule = \"oort\", explore_decay = 0.7 }",
    "\"availability-aware\"",
];

fn experiment(directory: &Path, rule: &str) -> Experiment {
    let file = directory.join("experiment.toml");
    std::fs::write(&file, format!("{COMMON}selection = {rule}\n")).unwrap();
    Source { file: Some(file), overrides: Vec::new() }.load().unwrap()
}

/// The model that a run ends in, if it is killed and resumed after each of `breaks` rounds.
fn play(experiment: &Experiment, federation: &Federation, threads: usize, breaks: &[usize]) -> String {
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
    run.result().summary.model_hash
}

#[test]
fn every_rule_ends_in_one_model_on_any_number_of_threads_and_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let federation = Federation::load(&experiment(directory.path(), RULES[0])).unwrap();
    let mut models = Vec::new();
    for rule in RULES {
        let experiment = experiment(directory.path(), rule);
        let model = play(&experiment, &federation, 1, &[]);
        assert_eq!(play(&experiment, &federation, 3, &[2, 3, 6]), model, "{rule}");
        assert!(!models.contains(&model), "{rule} selects as another rule does");
        models.push(model);
    }
}
