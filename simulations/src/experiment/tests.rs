//! Bad experiments are refused with the place and the mend; good ones print back as they were read.

use std::{fs, path::Path};

use super::*;

fn load(text: &str, overrides: &[&str]) -> Result<Experiment, ExperimentError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("experiment.toml");
    fs::write(&file, text).unwrap();
    let overrides = overrides.iter().map(|set| set.parse().unwrap()).collect();
    Source { file: Some(file), overrides }.load()
}

#[test]
fn every_shipped_experiment_is_valid_and_the_built_in_one_is_among_them() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let load = |file| Source { file: Some(file), overrides: Vec::new() }.load().unwrap();
    let mut names: Vec<_> = fs::read_dir(&shipped).unwrap().map(|entry| load(entry.unwrap().path()).raw.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "budgets",
            "fleet",
            "levels",
            "links",
            "non-iid",
            "population",
            "rate",
            "schedules",
            "shaped",
            "stragglers",
            "two-bits"
        ]
    );
    assert_eq!(load(shipped.join("levels.toml")).raw, Source::default().load().unwrap().raw);
}

#[test]
fn a_resolved_experiment_reads_back_as_itself() {
    let experiment = load("rounds = 3\n[cohort]\nquorum = 2\n", &["local.lr=0.5"]).unwrap();
    let text = toml::to_string(&experiment.raw).unwrap();
    assert_eq!(load(&text, &[]).unwrap().raw, experiment.raw);
}

#[test]
fn overrides_replace_keys_and_take_bare_words() {
    let sets = ["model.name=cnn", "local.lr=0.05", "compression.uplink=[\"int4\"]", "data.partition.kind=\"iid\""];
    let experiment = load("[data]\npartition = { kind = \"iid\" }\n", &sets).unwrap();
    assert_eq!(experiment.raw.model.name, "cnn");
    assert_eq!(experiment.sgd.lr, 0.05);
    let bounds =
        ["aggregation.norm_bound=2", "aggregation.norm_bound=off"].map(|set| load("", &[set]).unwrap().aggregation);
    assert_eq!(bounds.map(|aggregation| aggregation.norm_bound), [Some(2.0), None]);
    assert_eq!(experiment.schemes, ["int4".parse().unwrap()]);
}

#[test]
fn mistakes_name_their_place_and_their_mend() {
    let error = |text: &str, sets: &[&str]| load(text, sets).unwrap_err().to_string();
    for (text, expected) in [
        ("rounds = 5\ncohorts = 3\n", vec!["line 2", "unknown field `cohorts`", "`cohort`"]),
        ("[local]\n\nlr = \"fast\"\n", vec!["line 3", "expected f64"]),
        ("[data]\nclients = 0\n", vec!["experiment.toml:2", "data.clients", "help: set it to 1"]),
        ("rounds = 0", vec!["experiment.toml:1", "0 rounds"]),
        ("[cohort]\nsize = 101", vec!["experiment.toml:2", "101 clients", "only 100", "help: lower it to at most 100"]),
        ("[data]\nclients = 5\n", vec!["cohort.size (by default)", "only 5"]),
        ("[cohort]\nquorum = 11", vec!["experiment.toml:2", "quorum is 11", "cohort size 10"]),
        ("[cohort]\nsize = 90\nover_select = 0.2", vec!["experiment.toml:3", "108 clients"]),
        ("[cohort]\ndeadline_seconds = -1.0", vec!["cohort.deadline_seconds", "help"]),
        ("[compression]\nuplink_budget_bytes = 0", vec!["experiment.toml:2", "a budget of 0 bytes", "help"]),
        ("target_accuracy = 80", vec!["experiment.toml:1", "no share", "0.8"]),
        ("[budget]\nuplink_bytes = 0", vec!["experiment.toml:2", "a budget of 0 bytes", "help"]),
        ("[links]\nprofiles = {}", vec!["links.profiles", "no kinds of links", "lte-m"]),
        ("[links.profiles]\nlte9 = 1", vec!["lte9", "no kind of link", "nb-iot"]),
        ("[links.profiles]\nlte = -1", vec!["links.profiles.lte", "no share"]),
        ("[compression]\nuplink = [\"int4/int9\"]", vec!["experiment.toml:2", "\"int9\""]),
        ("[compression]\nuplink = [\"int9\"]", vec!["experiment.toml:2", "\"int9\"", "int2 to int8"]),
        ("[compression]\nuplink = [\"int4\", \"int4:block64\"]", vec!["int4 is listed twice"]),
        ("[aggregation]\nrule = \"mode\"", vec!["experiment.toml:2", "no rule", "geometric-median"]),
        ("[aggregation]\nnorm_bound = \"none\"", vec!["experiment.toml:2", "no bound", "\"off\""]),
        ("[aggregation]\nrule = \"bulyan\"\nattackers = 2", vec!["experiment.toml:3", "takes 11 updates, but 10"]),
        (
            "[aggregation]\nrule = \"trimmed-mean\"\n[availability]\ndropout = 0.1",
            vec!["aggregation.cut (by default)", "takes nobody from 1", "cohort.quorum"],
        ),
        ("seeds = []", vec!["no seeds"]),
        ("seeds = [1, 1]", vec!["seed 1 is listed twice"]),
        ("name = \"../x\"", vec!["cannot name a directory"]),
        ("[local]\nlr = nan", vec!["local.lr", "NaN"]),
        ("[availability]\ndropout = 1.0", vec!["availability.dropout"]),
    ] {
        let error = error(text, &[]);
        for part in expected {
            assert!(error.contains(part), "{error:?} should say {part:?}");
        }
    }
    assert!(error("", &["cohort.size=200"]).contains("--set cohort.size"));
    assert!(error("", &["cohort.sice=2"]).contains("unknown field `sice`"));
    assert!(error("rounds = 2", &["rounds.deep=1"]).contains("rounds is not a table"));
    assert!("novalue".parse::<Override>().is_err());
}

#[test]
fn a_missing_file_is_named() {
    let error = Source { file: Some("nowhere.toml".into()), overrides: Vec::new() }.load().unwrap_err();
    assert!(error.to_string().contains("nowhere.toml"), "{error}");
}
