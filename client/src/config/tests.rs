//! Bad configurations are refused with the place and the mend; good ones mean what they say.

use std::{fs, path::Path, time::Duration};

use nibble_learning::partition::Partition;
use nibble_seed::{ClientId, Seed};

use super::*;

fn load(text: &str, overrides: &[&str]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("client.toml");
    fs::write(&file, text).unwrap();
    let overrides = overrides.iter().map(|set| set.parse().unwrap()).collect();
    Source { file: Some(file), overrides }.load()
}

const SECURE: &str = "server = \"https://coordinator.example:7443\"\nstate = \"state\"\n";

#[test]
fn a_small_configuration_takes_everything_else_by_default() {
    let config = load(SECURE, &[]).unwrap();
    assert!(matches!(&config.coordinator, Coordinator::Secure(address) if address.port() == 7443));
    assert_eq!(config.state, Path::new("state"));
    assert_eq!(config.hold, Duration::from_secs(20));
    assert_eq!((config.data.dataset.as_str(), config.seed), ("mnist-10k", Seed(1234)));
    assert!(config.share.is_none());
}

#[test]
fn a_share_is_a_part_of_a_seeded_partition() {
    let share = "[data]\nshare = { index = 7, clients = 20, partition = { kind = \"iid\" }, seed = 5 }\n";
    let config = load(&format!("{SECURE}{share}"), &[]).unwrap();
    let Share { index, clients, partition, seed, holdout } = config.share.unwrap();
    assert_eq!(holdout, 0.0);
    assert_eq!((index, clients, partition, seed), (7, 20, Partition::Iid {}, 5));
    assert_eq!(config.seed, Seed(5));
    let by_default = load(SECURE, &["data.share.index=0", "data.share.clients=3"]);
    assert!(by_default.is_err(), "one override alone is not a share");
    let by_default = load(SECURE, &["data.share={index=0, clients=3}"]).unwrap().share.unwrap();
    assert_eq!(by_default.partition, Partition::Dirichlet { alpha: 0.3, min_samples: 1 });
}

#[test]
fn without_a_file_everything_comes_from_overrides() {
    let sets = ["server=http://127.0.0.1:7443", "insecure_client=3", "state=here", "hold_seconds=0.5"];
    let overrides = sets.map(|set| set.parse().unwrap()).to_vec();
    let config = Source { file: None, overrides }.load().unwrap();
    assert!(matches!(config.coordinator, Coordinator::Insecure(_, ClientId(3))));
    assert_eq!((config.state.as_path(), config.hold), (Path::new("here"), Duration::from_millis(500)));
}

#[test]
fn mistakes_name_their_place_and_their_mend() {
    let insecure = "server = \"http://127.0.0.1:1\"\nstate = \"s\"\n";
    let share = "[data]\n\nshare.index = 3\nshare.clients = 3\n";
    for (text, sets, expected) in [
        ("severs = 5\n", &[][..], vec!["client.toml", "line 1", "unknown field `severs`", "`server`"]),
        ("server = 5\n", &[], vec!["line 1", "expected a string"]),
        ("state = \"s\"\n", &[], vec!["server (not set)", "help: set it to the coordinator's address"]),
        ("server = \"https://h:1\"\n", &[], vec!["state (not set)", "help: set it to a directory"]),
        ("\nserver = \"host:1\"\n", &[], vec!["client.toml:2: server", "not an address", "help: give scheme"]),
        ("server = \"http://10.0.0.1:1\"\n", &[], vec!["client.toml:1: server", "plaintext"]),
        (insecure, &[], vec!["insecure_client (not set)", "help: set it to this client's number"]),
        (SECURE, &["insecure_client=1"], vec!["--set insecure_client", "no identity", "help: remove it"]),
        (SECURE, &["hold_seconds=301"], vec!["--set hold_seconds", "301", "help: set it from 0 to 300"]),
        (SECURE, &["hold_seconds=nan"], vec!["--set hold_seconds", "NaN"]),
        (SECURE, &["data.clients=1"], vec!["--set data.clients", "unknown field `clients`"]),
        (SECURE, &["state.dir=1"], vec!["--set state.dir", "state is not a table"]),
        (&format!("{SECURE}{share}"), &[], vec!["client.toml:5: data.share.index", "no part 3 of 3", "help: count"]),
    ] {
        let error = load(text, sets).unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "{text:?} {sets:?}: {part:?} is not in\n{error}");
        }
    }
    let missing = Source { file: Some("nowhere.toml".into()), overrides: vec![] }.load().unwrap_err().to_string();
    assert!(missing.contains("cannot read nowhere.toml"), "{missing}");
}

#[test]
fn overrides_are_keys_with_values() {
    for text in ["data.dataset", "=1", "a..b=1", " =2"] {
        assert!(text.parse::<Override>().is_err(), "{text}");
    }
}
