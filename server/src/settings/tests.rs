//! Mistakes in a configuration and what is said of them.

use super::*;
use crate::aggregation::Aggregation;

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
    assert!(!settings.config.contains("listen"), "where it is served is no part of a run");
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
        (GOOD, vec!["models=ftp://host/models"], "file:///DIR"),
        (GOOD, vec!["cohort.quorum=0"], "cohort.quorum"),
        (GOOD, vec!["cohort.available=1"], "cohort.available"),
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
        (GOOD, vec!["nonsense"], "KEY=VALUE"),
        (GOOD, vec!["cohort.sise=2"], "unknown field `sise`"),
        (GOOD, vec!["tls.device_days=0"], "tls.device_days"),
    ] {
        let error = load(text, &overrides).unwrap_err().to_string();
        assert!(error.contains(says), "{error:?} does not say {says:?}");
    }
}
