//! `nibble-sim run --transport grpc`: the same command and the same experiment with real processes on shaped sockets, which
//! end with the model that virtual time ended with, and with a table of clients that says who was last.

use std::fs;

use crate::harness::Program;

const EXPERIMENT: &str = "rounds = 3\n[data]\nclients = 4\n[model]\nname = \"logreg\"\n[cohort]\nsize = 4\n\
     [links]\nprofiles = { lan = 1.0, lte = 1.0 }\n[compression]\nuplink = [\"int4+ef/auto:1\"]\n";

#[test]
fn the_simulators_own_command_deploys_what_it_simulates() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("deployed.toml"), EXPERIMENT).unwrap();
    let [memory, grpc] = ["memory", "grpc"].map(|transport| {
        let (file, out) = (path("deployed.toml"), path(transport));
        let printed = Program::Sim.ok(&["run", &file, "--transport", transport, "--out", &out, "--format", "json"]);
        let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
        let clients = fs::read_to_string(directory.path().join(transport).join("clients.csv")).unwrap();
        assert!(directory.path().join(transport).join("report.html").exists());
        (printed["results"][0].clone(), clients)
    });
    for key in ["model_hash", "uplink_bytes_total", "downlink_bytes_total", "rounds", "final_accuracy"] {
        assert_eq!(memory.0[key], grpc.0[key], "{key}");
    }
    for (clients, how) in [(&memory.1, "memory"), (&grpc.1, "grpc")] {
        let mut rows = csv::Reader::from_reader(clients.as_bytes());
        let head = rows.headers().unwrap().clone();
        let column = |name: &str| head.iter().position(|column| column == name).unwrap();
        let rows: Vec<_> = rows.records().map(Result::unwrap).collect();
        let sum = |name: &str| rows.iter().map(|row| row[column(name)].parse::<f64>().unwrap()).sum::<f64>();
        assert_eq!((sum("counted"), sum("last")), (12.0, 3.0), "{how}: twelve updates, and one of each round was last");
        assert!(rows.iter().all(|row| row[column("seconds")].parse::<f64>().unwrap() > 0.0), "{how}: {clients}");
    }
}
