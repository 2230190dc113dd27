//! Bad experiments are refused with the place and the mend; good ones print back as they were read.

use std::{fs, path::Path};

use nibble_seed::RoundId;

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
            "asynchronous",
            "attacks",
            "budgets",
            "fine-tuning",
            "fleet",
            "levels",
            "links",
            "non-iid",
            "population",
            "qat",
            "rate",
            "schedules",
            "shaped",
            "stragglers",
            "strategies",
            "two-bits"
        ]
    );
    assert_eq!(load(shipped.join("levels.toml")).raw, Source::default().load().unwrap().raw);
}

#[test]
fn a_resolved_experiment_reads_back_as_itself() {
    for selection in ["weighted", "{ rule = \"oort\", preferred_seconds = 3.0 }"] {
        let sets = ["local.lr=0.5", &format!("cohort.selection={selection}")];
        let experiment = load("rounds = 3\n[cohort]\nquorum = 2\n", &sets).unwrap();
        let text = toml::to_string(&experiment.raw).unwrap();
        assert_eq!(load(&text, &[]).unwrap().raw, experiment.raw);
        assert!(!experiment.raw.cohort.selection.is_uniform());
    }
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
        ("[cohort]\nselection = \"fastest\"", vec!["line 2", "unknown variant `fastest`", "`oort`"]),
        ("[cohort]\nselection = { rule = \"uniform\", alpha = 1 }", vec!["line 2", "unknown field `alpha`"]),
        ("[cohort]\nselection = { rule = \"oort\", explore = 2 }", vec!["toml:2", "explore is 2", "from 0 to 1"]),
        (
            "[cohort]\nselection = { rule = \"power-of-choice\", candidates = 9 }",
            vec!["toml:2", "9 candidates, but 10 clients"],
        ),
        (
            "[cohort.selection]\nrule = \"power-of-choice\"\ncandidates = 101",
            vec!["101 candidates", "only 100 clients"],
        ),
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
        ("[attack]\nkind = \"krum\"", vec!["line 2", "unknown variant `krum`", "`alie`"]),
        ("[attack]\nkind = \"alie\"\nfraction = 1", vec!["experiment.toml:3", "100 attackers", "[attack]"]),
        ("[attack]\nkind = \"alie\"\nfraction = 0.004", vec!["experiment.toml:3", "0 attackers"]),
        ("[attack]\nkind = \"scaling\"\nstrength = -1", vec!["experiment.toml:3", "no strength"]),
        ("[attack]\nkind = \"label-flip\"\nstrength = 2", vec!["experiment.toml:3", "wrong labels", "scaling"]),
        ("[attack]\nfraction = 0.1", vec!["missing field `kind`"]),
        ("[availability]\ndropout = 1.0", vec!["availability.dropout"]),
        ("[local]\npersonal = [\"fc3\"]", vec!["experiment.toml:2", "keep nothing", "data.holdout"]),
        ("[data]\nholdout = 1.0", vec!["experiment.toml:2", "no share", "help"]),
        ("[evaluate]\nfine_tune_epochs = 2", vec!["experiment.toml:2", "nothing to evaluate", "data.holdout"]),
        ("[evaluate]\nquantised = [\"int3\"]", vec!["experiment.toml:2", "\"int3\"", "int4-weights"]),
        ("[evaluate]\nquantised = [\"int8\", \"int8\"]", vec!["int8 is listed twice"]),
        ("[local]\nqat = \"int2\"", vec!["experiment.toml:2", "\"int2\"", "int4-weights", "help"]),
        ("[local]\nsteps = 0", vec!["experiment.toml:2", "0 steps", "help"]),
        ("[local]\nsteps = 4\nepochs = 2", vec!["experiment.toml:2", "4 steps and 2 epochs", "help"]),
        ("[local]\nclip_norm = 0.0", vec!["experiment.toml:2", "not a norm", "help"]),
        ("[local]\nschedule = \"step\"", vec!["experiment.toml:2", "\"step\"", "cosine[:FLOOR]"]),
        ("rounds = 4\n[local]\nwarmup_rounds = 4", vec!["experiment.toml:3", "a run of 4", "help"]),
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
fn every_round_has_its_learning_rate() {
    let sets = ["rounds=6", "local.lr=0.4", "local.schedule=exponential:0.5", "local.warmup_rounds=1", "local.steps=7"];
    let experiment = load("", &sets).unwrap();
    let rates: Vec<f32> = (0..4).map(|round| experiment.sgd_in(RoundId(round)).lr).collect();
    assert_eq!(rates, [0.2, 0.4, 0.2, 0.1]);
    assert_eq!(experiment.sgd_in(RoundId(3)).steps, Some(7));
    let text = toml::to_string(&experiment.raw).unwrap();
    assert_eq!(load(&text, &[]).unwrap().raw, experiment.raw);
}

#[test]
fn a_missing_file_is_named() {
    let error = Source { file: Some("nowhere.toml".into()), overrides: Vec::new() }.load().unwrap_err();
    assert!(error.to_string().contains("nowhere.toml"), "{error}");
}

#[test]
fn what_does_not_go_with_rounds_that_do_not_wait_is_refused() {
    let refused = |sets: &[&str]| {
        let sets: Vec<_> = [&["asynchronous.concurrency=5"], sets].concat();
        load("", &sets).unwrap_err().to_string()
    };
    for (sets, says) in [
        (&["asynchronous.concurrency=0"][..], "asynchronous.concurrency: nothing says how many"),
        (&["asynchronous.staleness=-1"], "asynchronous.staleness: -1 is no exponent"),
        (&["cohort.over_select=0.5"], "cohort.over_select"),
        (&["cohort.uplink_bytes=9000"], "cohort.uplink_bytes: clients that start one by one"),
        (&["cohort.selection=oort"], "cohort.selection"),
        (&["strategy.name=scaffold", "aggregation.norm_bound=off"], "strategy.name: control variates"),
    ] {
        let error = refused(sets);
        assert!(error.contains(says), "{error}");
    }
    let experiment = load("", &["asynchronous.concurrency=5", "strategy.name=fedadam"]).unwrap();
    assert_eq!(experiment.aggregation.staleness, 0.5);
    assert_eq!(experiment.round.buffer().map(|buffer| buffer.concurrency), Some(5));
    let error = load("", &["aggregation.rule=median", "compression.uplink=[\"auto:0.1\"]"]).unwrap_err().to_string();
    assert!(error.contains("aggregation.rule: median sorts"), "{error}");
    let sets = ["strategy.name=feddyn", "aggregation.norm_bound=off", "local.personal=[\"fc3\"]", "data.holdout=0.2"];
    assert!(load("", &sets).unwrap_err().to_string().contains("leave local.personal out"));
}
