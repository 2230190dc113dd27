//! Rules of selection in whole runs: the same model on any number of threads, and resumed from any round.

mod support;

use nibble_sim::{experiment::Experiment, federation::Federation};
use support::runs::{self, play};

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

fn experiment(rule: &str) -> Experiment {
    runs::experiment(&format!("{COMMON}selection = {rule}\n"))
}

#[test]
fn every_rule_ends_in_one_model_on_any_number_of_threads_and_resumed() {
    let federation = Federation::load(&experiment(RULES[0])).expect("a federation");
    let mut models = Vec::new();
    for rule in RULES {
        let experiment = experiment(rule);
        let model = play(&experiment, &federation, 1, &[]).0;
        assert_eq!(play(&experiment, &federation, 3, &[2, 3, 6]).0, model, "{rule}");
        assert!(!models.contains(&model), "{rule} selects as another rule does");
        models.push(model);
    }
}
