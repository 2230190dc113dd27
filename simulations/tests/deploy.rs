//! `docs/deploy.md` and `deploy/` against the programs: their own readers take every configuration, and the tables of keys
//! list what there is.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use nibble_client::config::Source;
use nibble_server::settings::Settings;

const PAGE: &str = include_str!("../../docs/deploy.md");

/// Keys by table; those outside of any are under "".
type Keys = BTreeMap<String, BTreeSet<String>>;

/// The blocks of TOML on the page, by the file name in their first line.
fn configurations() -> Vec<(&'static str, &'static str)> {
    let block = |rest: &'static str| {
        let text = rest.split_once("```").expect("a block ends").0;
        let name = text.lines().next().and_then(|line| line.strip_prefix("# "));
        (name.expect("a block names its file"), text)
    };
    PAGE.split("\n```toml\n").skip(1).map(block).collect()
}

/// Reads a configuration as a program does; gives its complaint.
type Read = fn(&Path) -> Result<(), String>;

fn server(file: &Path) -> Result<(), String> {
    Settings::load(file, &[]).map(drop).map_err(|error| error.to_string())
}

fn client(file: &Path) -> Result<(), String> {
    let source = Source { file: Some(file.into()), overrides: Vec::new() };
    source.load().map(drop).map_err(|error| error.to_string())
}

fn read(reader: Read, text: &str) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("configuration.toml");
    fs::write(&file, text).unwrap();
    reader(&file)
}

#[test]
fn every_configuration_on_the_page_is_one() {
    let found = configurations();
    assert_eq!(found.len(), 3, "a block was added or lost");
    for (name, text) in found {
        let reader: Read = if name.ends_with("nibble-server.toml") { server } else { client };
        assert_eq!(read(reader, text), Ok(()), "{name}");
    }
}

#[test]
fn the_containers_configurations_are_ones() {
    let docker = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/docker");
    assert_eq!(server(&docker.join("nibble-server.toml")), Ok(()));
    let compose = fs::read_to_string(docker.join("compose.yaml")).unwrap();
    let commands: Vec<_> = compose.lines().filter_map(|line| line.trim().strip_prefix("command: [run, ")).collect();
    assert_eq!(commands.len(), 3);
    for command in commands {
        let overrides = command.trim_end_matches(']').split("--set, ").skip(1);
        let overrides = overrides.map(|text| text.trim_matches([',', ' ', '"']).parse().unwrap()).collect();
        let config = Source { file: None, overrides }.load().unwrap();
        assert!(config.share.is_some());
    }
}

#[test]
fn the_tables_list_every_key() {
    let tables = [
        "",
        "tls",
        "limits",
        "run",
        "model",
        "data",
        "local",
        "cohort",
        "compression",
        "aggregation",
        "strategy",
        "asynchronous",
        "budget",
    ];
    assert_eq!(listed("Keys of the coordinator"), known(server, &tables, ""));
    assert_eq!(listed("Keys of a client"), known(client, &["", "budget", "shape", "data"], "share"));
}

/// What a chapter's table lists.
fn listed(chapter: &str) -> Keys {
    let rest = PAGE.split_once(&format!("\n## {chapter}\n")).expect("the chapter is there").1;
    let mut keys = Keys::new();
    let mut table = "";
    for row in rest.split("\n## ").next().unwrap_or_default().lines() {
        if let Some(heading) = row.strip_prefix("| **`[") {
            table = heading.split_once(']').expect("a heading ends").0;
            keys.entry(String::new()).or_default().insert(table.into());
        } else if let Some(key) = row.strip_prefix("| `") {
            keys.entry(table.into()).or_default().insert(key.split_once('`').expect("a key ends").0.into());
        }
    }
    keys
}

/// What a reader says it expects in place of a key that nobody knows; those of the table `inner` in `data` as `inner.key`.
fn known(reader: Read, tables: &[&str], inner: &str) -> Keys {
    let expected = |text: &str| -> BTreeSet<String> {
        let complaint = read(reader, text).expect_err("there is no such key");
        let list = complaint.split_once("expected").unwrap_or_else(|| panic!("{complaint}")).1.lines().next();
        list.unwrap_or_default().split('`').skip(1).step_by(2).map(Into::into).collect()
    };
    let mut keys: Keys = tables
        .iter()
        .map(|table| {
            let header = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
            ((*table).into(), expected(&format!("{header}no-such-key = 1\n")))
        })
        .collect();
    if !inner.is_empty() {
        let more = expected(&format!("[data.{inner}]\nno-such-key = 1\n"));
        let data = keys.entry("data".into()).or_default();
        data.extend(more.into_iter().map(|key| format!("{inner}.{key}")));
    }
    keys
}
