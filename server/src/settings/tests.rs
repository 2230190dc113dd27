//! Mistakes in a configuration and what is said of them.

use super::*;
use crate::{
    aggregation::Aggregation,
    selection::{Oort, PowerOfChoice, Rule},
};

const GOOD: &str = "[run]\nname = \"pumps\"\nrounds = 3\n[cohort]\nsize = 2\n";

fn load(text: &str, overrides: &[&str]) -> Result<Settings, SettingsError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nibble-server.toml");
    fs::write(&file, text).unwrap();
    Settings::load(&file, &overrides.iter().map(ToString::to_string).collect::<Vec<_>>())
}

#[test]
fn what_is_left_out_has_its_default_and_overrides_count() {
    let settings = load(GOOD, &["cohort.size=5", "compression.uplink=int2:nearest", "run.seed=7"]).unwrap();
    assert_eq!((settings.round.cohort(), settings.seed.0), (5, 7));
    assert_eq!(settings.policy.to_string(), "int2:nearest");
    assert_eq!(settings.listen.port(), 7443);
    assert_eq!(settings.aggregation, Aggregation::default());
    assert!(settings.config.contains("[aggregation]\nrule = \"mean\"\nnorm_bound = 3.0\n"), "{}", settings.config);
    assert!(settings.config.contains("deadline_seconds = 600.0"), "every key of the run is spelled out");
    assert!(!settings.config.contains("selection"), "runs from before there were rules can be resumed");
    assert!(!settings.config.contains("listen"), "where it is served is no part of a run");
    assert!(!settings.config.contains("steps"), "a run begun before there was a key goes on without it");
    let settings = load(GOOD, &["local.schedule=cosine", "local.warmup_rounds=1", "local.steps=9"]).unwrap();
    assert_eq!([0, 1, 2].map(|round| settings.training.lr.in_round(round, 3)), [0.05, 0.1, 0.05]);
    assert!(settings.config.contains("steps = 9"));
}

#[test]
fn devices_have_the_budget_of_their_name_and_it_is_no_part_of_the_run() {
    let text = format!(
        "{GOOD}[budget]\nuplink_bytes = 50000\n[budget.devices.\"gateway-*\"]\ndownlink_bytes_per_day = 900000\n"
    );
    let settings = load(&text, &[]).unwrap();
    let (pump, gateway) = (settings.budgets.of("pump-7"), settings.budgets.of("gateway-1"));
    assert_eq!((pump.up.run, pump.down.day), (Some(50_000), None));
    assert_eq!((gateway.up.run, gateway.down.day), (None, Some(900_000)));
    assert_eq!(settings.config, load(GOOD, &[]).unwrap().config, "it may change from one start to the next");
}

#[test]
fn a_rule_of_selection_is_a_name_or_a_table() {
    let rule = |set: &str| load(GOOD, &[set, "cohort.available=6"]).unwrap();
    let oort = Rule::Oort(Oort::default());
    assert_eq!(*rule("cohort.selection=oort").round.rule(), oort);
    assert_eq!(*rule("cohort.selection={ rule = \"oort\", cutoff = 0.95 }").round.rule(), oort);
    let table = format!("{GOOD}[cohort.selection]\nrule = \"power-of-choice\"\ncandidates = 6\n");
    let table = load(&table, &["cohort.available=6"]).unwrap();
    assert_eq!(*table.round.rule(), Rule::PowerOfChoice(PowerOfChoice { candidates: Some(6) }));
    let resumed: toml::Table = table.config.parse().unwrap();
    assert_eq!(resumed["cohort"]["selection"]["candidates"].as_integer(), Some(6));
    for name in ["uniform", "weighted", "availability-aware"] {
        assert_eq!(rule(&format!("cohort.selection={name}")).round.rule().is_uniform(), name == "uniform");
    }
}

#[test]
fn every_mistake_names_its_place_and_its_mend() {
    for (text, overrides, says) in [
        ("rounds = 3", vec![], "unknown field `rounds`"),
        ("[run]\nname = \"a\"\n", vec![], "missing field `rounds`"),
        ("[run]\nname = \"a/b\"\nrounds = 1\n", vec![], "nibble-server.toml:2: run.name"),
        ("[run]\nname = \"a\"\nrounds = 0\n", vec![], "nibble-server.toml:3: run.rounds"),
        ("[run]\nname = \"a\"\nrounds = 1\n[cohort]\nsize = 3\nquorum = 4\n", vec![], "toml:6: cohort.quorum"),
        (GOOD, vec!["models=bucket"], "not an address"),
        (GOOD, vec!["budget.uplink_bytes=9"], "budget.uplink_bytes: 9 bytes may be spent before"),
        (GOOD, vec!["budget={ devices = { p = { downlink_bytes = 1 } } }"], "budget.devices.\"p\".downlink_bytes"),
        (GOOD, vec!["budget={ devices = { p = { devices = { q = {} } } } }"], "devices have no devices"),
        (GOOD, vec!["models=ftp://host/models"], "file:///DIR"),
        (GOOD, vec!["cohort.quorum=0"], "cohort.quorum"),
        (GOOD, vec!["cohort.available=1"], "cohort.available"),
        (GOOD, vec!["cohort.selection=fastest"], "unknown variant `fastest`"),
        (GOOD, vec!["cohort.selection={ rule = \"weighted\", alpha = 1 }"], "unknown field `alpha`"),
        (GOOD, vec!["cohort.selection={ rule = \"oort\", alpha = -1 }"], "alpha is -1, but it must be from 0 to 100"),
        (GOOD, vec!["cohort.selection={ rule = \"power-of-choice\", candidates = 1 }"], "1 candidates, but 2 clients"),
        (GOOD, vec!["cohort.selection=weighted"], "set cohort.available to 3 or more"),
        (
            GOOD,
            vec!["cohort.selection={ rule = \"power-of-choice\", candidates = 9 }", "cohort.available=8"],
            "set cohort.available to 9 or more",
        ),
        (GOOD, vec!["cohort.selection=3"], "the name of a rule"),
        (GOOD, vec!["cohort.deadline_seconds=0"], "cohort.deadline_seconds"),
        (GOOD, vec!["cohort.decline_pause_seconds=-1"], "cohort.decline_pause_seconds"),
        (GOOD, vec!["compression.uplink=int9"], "compression.uplink"),
        (GOOD, vec!["compression.uplink_budget_bytes=0"], "a budget of 0 bytes"),
        (GOOD, vec!["data.dataset=none"], "model.initial"),
        (GOOD, vec!["aggregation.rule=mode"], "there are mean, median"),
        (GOOD, vec!["aggregation.norm_bound=0.5"], "aggregation.norm_bound"),
        (GOOD, vec!["aggregation.norm_bound=true"], "a number from 1, or \"off\""),
        (GOOD, vec!["aggregation.rule=krum", "aggregation.attackers=1"], "takes 5 updates, but 2 may close a round"),
        (
            "[run]\nname = \"a\"\nrounds = 1\n[aggregation]\nrule = \"trimmed-mean\"\ncut = 0.7\n",
            vec![],
            "toml:6: aggregation.cut",
        ),
        (GOOD, vec!["local.lr=-1"], "local.lr"),
        (GOOD, vec!["local.steps=0"], "local.steps"),
        (GOOD, vec!["local.qat=int3"], "int4-weights"),
        (GOOD, vec!["local.personal=[\"fc3\"]", "model.initial=a.safetensors"], "leave model.initial out"),
        (
            GOOD,
            vec![
                "local.personal=[\"fc3\"]",
                "strategy.name=feddyn",
                "strategy.clients=9",
                "aggregation.norm_bound=off",
            ],
            "leave local.personal out",
        ),
        (GOOD, vec!["local.clip_norm=-1.0"], "local.clip_norm"),
        (GOOD, vec!["local.schedule=step:0"], "EVERY"),
        (GOOD, vec!["local.warmup_rounds=3"], "in a run of 3"),
        (GOOD, vec!["nonsense"], "KEY=VALUE"),
        (GOOD, vec!["cohort.sise=2"], "unknown field `sise`"),
        (GOOD, vec!["tls.device_days=0"], "tls.device_days"),
    ] {
        let error = load(text, &overrides).unwrap_err().to_string();
        assert!(error.contains(says), "{error:?} does not say {says:?}");
    }
}
