//! One experiment and one seed end in one model, to the bit, in memory and over sockets.

use nibble_codec::Layout;
use nibble_server::wire;

use crate::harness::{Deployment, Program};

struct Experiment<'a> {
    model: &'static str,
    /// Scheme of updates, and after a slash that of the model's changes.
    scheme: &'static str,
    seed: u64,
    rounds: u64,
    clients: usize,
    cohort: usize,
    /// How the cohort is chosen.
    selection: &'static str,
    local: &'static str,
    /// More tables, with their keys.
    tables: &'a str,
}

/// Local training in which nothing has its default.
const LOCAL: &str = "epochs = 2\nbatch = 20\nlr = 0.05\nmomentum = 0.5\nweight_decay = 0.001\n";

impl Experiment<'_> {
    /// What both ends read alike. Nothing has its default.
    fn common(&self) -> String {
        let Self { model, local, tables, .. } = self;
        format!("[model]\nname = {model:?}\n[local]\n{local}{tables}\n")
    }

    /// What the simulator makes of it, with virtual clients in its own process.
    fn in_memory(&self, deployment: &Deployment, more: &[&str]) -> serde_json::Value {
        let Self { scheme, seed, rounds, clients, cohort, selection, .. } = self;
        let common = self.common();
        let experiment = format!(
            "seeds = [{seed}]\nrounds = {rounds}\n[compression]\nuplink = [{scheme:?}]\n[data]\nclients = {clients}\n\
             [cohort]\nsize = {cohort}\nselection = {selection}\n{common}"
        );
        deployment.write("experiment.toml", &experiment);
        let [file, out] = ["experiment.toml", "out"].map(|name| deployment.path(name).display().to_string());
        let printed = Program::Sim.ok(&[&["compare", &file, "--format", "json", "--out", &out], more].concat());
        let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
        printed["results"][0].clone()
    }

    fn config(&self) -> String {
        let Self { scheme, seed, rounds, clients, cohort, selection, .. } = self;
        let common = self.common();
        let (up, down) = scheme.split_once('/').unzip();
        let (up, down) = (up.unwrap_or(scheme), down.map_or(String::new(), |down| format!("downlink = {down:?}\n")));
        format!(
            "[run]\nname = \"one-hash\"\nseed = {seed}\nrounds = {rounds}\n[compression]\nuplink = {up:?}\n{down}\
             [cohort]\nsize = {cohort}\nselection = {selection}\navailable = {clients}\n{common}"
        )
    }

    /// What sockets carried is within what is planned with, client by client, but for one connection, and for ten check-ins
    /// that came to nothing: on a busy machine clients wait, and each wait of 20 seconds takes another.
    fn hold_wire_against_bounds(&self, deployment: &Deployment) {
        const BESIDE: (u64, u64) = (1500 + 10 * 300, 3500 + 10 * 200);
        let shapes: &[(&str, &[usize])] = match self.model {
            "mlp" => &[
                ("fc1.weight", &[200, 784]),
                ("fc1.bias", &[200]),
                ("fc2.weight", &[200, 200]),
                ("fc2.bias", &[200]),
                ("fc3.weight", &[10, 200]),
                ("fc3.bias", &[10]),
            ],
            _ => &[("fc.weight", &[10, 784]), ("fc.bias", &[10])],
        };
        let layout = Layout::new(shapes.iter().map(|(name, shape)| (*name, shape.to_vec()))).unwrap();
        let entries = deployment.ledger();
        for client in 0..self.clients as u64 {
            let (mut wire, mut planned) = ((0, 0), BESIDE);
            for entry in entries.iter().filter(|entry| entry["client"] == client) {
                let bytes = |key: &str| entry[key].as_u64().unwrap();
                wire = (wire.0 + bytes("wire_up"), wire.1 + bytes("wire_down"));
                if bytes("payload_up") > 0 {
                    planned.0 += wire::up(bytes("payload_up"));
                    planned.1 += wire::down(bytes("payload_down"), &layout);
                }
            }
            assert!(wire.0 <= planned.0 && wire.1 <= planned.1, "client {client}: {wire:?}, planned {planned:?}");
        }
    }

    /// Runs a process for every client, and holds what comes of it against the simulation.
    fn check(&self, mut deployment: Deployment, enrol: bool) {
        let coordinator = deployment.start();
        if enrol {
            (0..self.clients).for_each(|index| deployment.enrol(index));
        }
        let clients = deployment.clients(self.clients, self.clients);
        deployment.finish(coordinator, clients);
        let (simulated, status) = (self.in_memory(&deployment, &[]), deployment.status());
        assert_eq!(status["state"], "over");
        assert_eq!(status["model_sha256"], simulated["model_hash"]);
        assert_eq!(status["accuracy"], simulated["final_accuracy"]);
        assert_eq!(status["payload_bytes_up"], simulated["uplink_bytes_total"]);
        assert_eq!(status["payload_bytes_down"], simulated["downlink_bytes_total"]);
        self.hold_wire_against_bounds(&deployment);
        let rounds = deployment.rounds();
        assert_eq!(rounds.len() as u64, self.rounds);
        for round in rounds {
            assert_eq!((round.selected, round.accepted), (self.cohort, self.cohort), "{round:?}");
        }
    }
}

const UNIFORM: &str = "\"uniform\"";

#[test]
fn six_clients_in_plaintext_with_feedback() {
    let (model, scheme) = ("logreg", "int4+ef");
    let experiment = Experiment {
        model,
        scheme,
        seed: 3,
        rounds: 12,
        clients: 6,
        cohort: 4,
        selection: UNIFORM,
        local: LOCAL,
        tables: "",
    };
    experiment.check(Deployment::insecure(&experiment.config()), false);
}

#[test]
fn twenty_enrolled_clients_over_mutual_tls() {
    let (model, scheme) = ("mlp", "int4");
    let experiment = Experiment {
        model,
        scheme,
        seed: 0,
        rounds: 3,
        clients: 20,
        cohort: 8,
        selection: UNIFORM,
        local: LOCAL,
        tables: "",
    };
    experiment.check(Deployment::secure(&experiment.config()), true);
}

#[test]
fn entropy_coded_updates_whose_sizes_differ() {
    for (model, scheme, seed) in [("logreg", "auto:0.5+ef", 4), ("mlp", "auto:0.1", 5)] {
        let experiment = Experiment {
            model,
            scheme,
            seed,
            rounds: 3,
            clients: 6,
            cohort: 4,
            selection: UNIFORM,
            local: LOCAL,
            tables: "",
        };
        experiment.check(Deployment::insecure(&experiment.config()), false);
    }
}

#[test]
fn models_that_go_out_as_delta_frames() {
    for (model, scheme, seed) in [("logreg", "int4+ef/auto:0.5", 6), ("mlp", "auto:0.1/int2", 7)] {
        let experiment = Experiment {
            model,
            scheme,
            seed,
            rounds: 8,
            clients: 6,
            cohort: 3,
            selection: UNIFORM,
            local: LOCAL,
            tables: "",
        };
        experiment.check(Deployment::insecure(&experiment.config()), false);
    }
}

#[test]
fn rules_that_look_at_columns_and_at_inner_products() {
    for (model, tables) in [
        ("mlp", "[aggregation]\nrule = \"trimmed-mean\"\ncut = 0.3\nnorm_bound = 1.0"),
        ("logreg", "[aggregation]\nrule = \"geometric-median\"\nweights = \"samples\""),
        ("logreg", "[aggregation]\nrule = \"bulyan\"\nattackers = 1"),
    ] {
        let experiment = Experiment {
            model,
            scheme: "int8",
            seed: 8,
            rounds: 3,
            clients: 8,
            cohort: 7,
            selection: UNIFORM,
            local: LOCAL,
            tables,
        };
        experiment.check(Deployment::insecure(&experiment.config()), false);
    }
}

#[test]
fn cohorts_that_are_chosen_by_what_clients_reported() {
    let rules = ["\"weighted\"", "{ rule = \"power-of-choice\", candidates = 5 }", "\"availability-aware\""];
    for selection in rules {
        let (model, scheme) = ("logreg", "int4+ef");
        let experiment = Experiment {
            model,
            scheme,
            seed: 8,
            rounds: 8,
            clients: 6,
            cohort: 2,
            selection,
            local: LOCAL,
            tables: "",
        };
        experiment.check(Deployment::insecure(&experiment.config()), false);
    }
}

#[test]
fn a_round_knows_its_learning_rate_and_every_step_is_clipped() {
    let local = "steps = 7\nbatch = 20\nlr = 0.2\nmomentum = 0.5\nclip_norm = 0.5\nschedule = \"cosine:0.1\"\n\
                 warmup_rounds = 2\nqat = \"int8\"\n";
    let (model, scheme) = ("mlp", "int4+ef");
    let experiment =
        Experiment { model, scheme, seed: 8, rounds: 5, clients: 6, cohort: 4, selection: UNIFORM, local, tables: "" };
    experiment.check(Deployment::insecure(&experiment.config()), false);
}

#[test]
fn optimisers_that_remember_and_clients_that_are_pulled_back() {
    for (model, tables) in [
        ("mlp", "[strategy]\nname = \"fedyogi\"\nlr = 0.02"),
        ("logreg", "[strategy]\nname = \"fedavgm\"\nlr = 0.5"),
        ("logreg", "[strategy]\nname = \"fedprox\"\nmu = 0.5"),
        ("logreg", "[strategy]\nname = \"fednova\""),
        ("logreg", "[strategy]\nname = \"qfedavg\"\nq = 0.5"),
    ] {
        let (scheme, local) = ("int8", LOCAL);
        let experiment =
            Experiment { model, scheme, seed: 9, rounds: 4, clients: 6, cohort: 4, selection: UNIFORM, local, tables };
        experiment.check(Deployment::insecure(&experiment.config()), false);
    }
}

#[test]
fn clients_with_control_variates_and_a_server_that_sends_its_own() {
    let plain = "epochs = 2\nbatch = 20\nlr = 0.05\nweight_decay = 0.001\nschedule = \"cosine\"\n";
    for (model, scheme, local, strategy) in [
        ("logreg", "int4", plain, "\"scaffold\"\nlr = 0.9\ncontrol = \"auto:2\""),
        ("mlp", "auto:0.3+ef/auto:1", plain, "\"scaffold\""),
        ("mlp", "int8", LOCAL, "\"feddyn\"\nalpha = 0.2"),
    ] {
        let tables = format!("[strategy]\nclients = 6\nname = {strategy}\n[aggregation]\nnorm_bound = \"off\"");
        let (seed, rounds, clients, cohort) = (10, 8, 6, 3);
        let experiment =
            Experiment { model, scheme, seed, rounds, clients, cohort, selection: UNIFORM, local, tables: &tables };
        experiment.check(Deployment::insecure(&experiment.config()), false);
    }
}

#[test]
fn a_cohort_that_shares_its_bytes() {
    let (model, scheme, selection) = ("mlp", "fit/auto:1", "\"uniform\"\nuplink_bytes = 30000");
    let (seed, rounds, clients, cohort) = (11, 4, 6, 3);
    let experiment = Experiment { model, scheme, seed, rounds, clients, cohort, selection, local: LOCAL, tables: "" };
    experiment.check(Deployment::insecure(&experiment.config()), false);
}

#[test]
fn heads_that_are_each_clients_own() {
    let local = "epochs = 2\nbatch = 20\nlr = 0.05\nmomentum = 0.5\npersonal = [\"fc3\"]\n";
    let (model, scheme, seed, rounds, clients, cohort) = ("mlp", "int4+ef/auto:2", 12, 4, 6, 3);
    let experiment = Experiment { model, scheme, seed, rounds, clients, cohort, selection: UNIFORM, local, tables: "" };
    let mut deployment = Deployment::insecure(&experiment.config());
    let coordinator = deployment.start();
    let share = |index| format!("index = {index}, clients = {clients}, holdout = 0.25");
    let clients = (0..clients).map(|index| deployment.client_sharing(index, &share(index), "")).collect();
    deployment.finish(coordinator, clients);
    let (simulated, status) = (experiment.in_memory(&deployment, &["--set", "data.holdout=0.25"]), deployment.status());
    assert_eq!(status["model_sha256"], simulated["model_hash"]);
    assert_eq!(status["payload_bytes_up"], simulated["uplink_bytes_total"]);
    assert_eq!(status["payload_bytes_down"], simulated["downlink_bytes_total"]);
    assert_eq!(status["accuracy"], serde_json::Value::Null, "nobody but its clients can evaluate it");
}
