//! `kill -9`, of coordinators and of clients, at every durable point and at random moments: the run ends as one that was
//! left alone.
//!
//! Cohorts are drawn once every client is available and no deadline passes, so every round of a run is determined by its
//! seed. Feedback is on at both ends, so that an update which a client counts twice or forgets, and a delta frame that
//! the coordinator makes twice or forgets, changes every later model.

use std::{
    sync::{Mutex, OnceLock},
    thread,
    time::Duration,
};

use crate::harness::{Deployment, Moments, Process, Round};

const CLIENTS: usize = 4;
const ROUNDS: u64 = 200;

fn config() -> String {
    config_of("int4+ef", ROUNDS, "")
}

fn config_of(uplink: &str, rounds: u64, tables: &str) -> String {
    format!(
        "[run]\nname = \"kills\"\nrounds = {rounds}\n[model]\nname = \"logreg\"\n[data]\ndataset = \"mnist-10k\"\n\
         [cohort]\nsize = 3\navailable = {CLIENTS}\n[compression]\nuplink = {uplink:?}\ndownlink = \"auto:1\"\n{tables}"
    )
}

/// Every client holds a fiftieth of the samples, so that rounds are short.
const PARTS: usize = 50;

/// The rounds of a run that nobody disturbed. Each names its model, and so all updates that ever counted.
fn undisturbed() -> &'static [Round] {
    static PLAYED: OnceLock<Vec<Round>> = OnceLock::new();
    PLAYED.get_or_init(|| left_alone(&config()))
}

fn left_alone(config: &str) -> Vec<Round> {
    let mut deployment = Deployment::insecure(config);
    let coordinator = deployment.start();
    let clients = deployment.clients(CLIENTS, PARTS);
    deployment.finish(coordinator, clients);
    deployment.rounds()
}

/// Holds a run that was disturbed against the one that was not.
fn check(deployment: &Deployment) {
    check_against(deployment, undisturbed());
}

fn check_against(deployment: &Deployment, expected: &[Round]) {
    let rounds = deployment.rounds();
    assert_eq!(rounds.len(), expected.len());
    for (round, expected) in rounds.iter().zip(expected) {
        assert_eq!(round, expected);
    }
    assert_eq!(Some(deployment.model()), expected.last().and_then(|round| round.model_sha256.clone()));
}

/// Names of the durable points, and the occurrences at which the coordinator is killed. Those of a run's beginning have
/// only one.
#[cfg(debug_assertions)]
const POINTS: [(&str, &[u64]); 12] = [
    ("first-model-written", &[1]),
    ("run-begun", &[1]),
    ("cohort-entered", &[1, 3]),
    ("before-commit", &[1, 2, 11, 12, 13]),
    ("committed", &[1, 2, 11, 12, 13]),
    ("payload-kept", &[1, 5]),
    ("update-entered", &[1, 5]),
    ("counted-set-fixed", &[1, 3]),
    ("folded", &[1, 3]),
    ("model-written", &[1, 3]),
    ("round-committed", &[1, 3]),
    ("frame-written", &[1, 3]),
];

#[cfg(debug_assertions)] // other builds have no such points
#[test]
fn at_every_durable_point_the_coordinator_is_killed_and_goes_on() {
    let mut deployment = Deployment::insecure(&config());
    deployment.finish_over(&POINTS, |deployment| deployment.clients(CLIENTS, PARTS));
    check(&deployment);
}

/// The same of a client, whose tensors are partly its own.
#[cfg(debug_assertions)]
const CLIENT_POINTS: [(&str, &[u64]); 8] = [
    ("slot-written", &[1, 2, 3, 4]),
    ("slot-kept", &[1, 2, 3, 4]),
    ("file-written", &[1, 2]),
    ("file-kept", &[1, 2]),
    ("own-taken", &[1, 2]),
    ("model-written", &[1, 2]),
    ("update-sent", &[1, 2]),
    ("receipt-heard", &[1, 2]),
];

#[cfg(debug_assertions)]
#[test]
fn at_every_durable_point_a_client_is_killed_and_goes_on() {
    let config = config_of("int4+ef", 120, "[local]\npersonal = [\"fc.bias\"]\n");
    let expected = left_alone(&config);
    let mut deployment = Deployment::insecure(&config);
    let coordinator = deployment.start();
    let mut clients = deployment.clients(CLIENTS, PARTS);
    let points = CLIENT_POINTS.iter().flat_map(|&(point, counts)| counts.iter().map(move |&count| (point, count)));
    for (turn, point) in points.enumerate() {
        let victim = turn % CLIENTS;
        clients.remove(victim).kill();
        deployment.client_to_crash(victim, PARTS, point).is_killed();
        clients.insert(victim, deployment.client(victim, PARTS));
    }
    assert_eq!(deployment.status()["state"], "going on", "every kill must hit the run");
    deployment.finish(coordinator, clients);
    check_against(&deployment, &expected);
}

/// Of an enrolment. Whoever is killed at one of them enrols again, with the same token.
#[cfg(debug_assertions)]
const ENROLMENT_POINTS: [&str; 2] = ["key-made", "certificate-kept"];

#[cfg(debug_assertions)]
#[test]
fn at_every_durable_point_of_an_enrolment_a_client_is_killed_and_enrols_again() {
    let mut deployment = Deployment::secure(&config_of("int4", 3, ""));
    let coordinator = deployment.start();
    for (client, point) in ENROLMENT_POINTS.iter().enumerate() {
        let mut enrolling = deployment.enrolling(client);
        let killed = enrolling.env("NIBBLE_CRASH_AT", format!("{point}:1")).status().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed), Some(9), "{point}");
        let again = enrolling.env_remove("NIBBLE_CRASH_AT").status().unwrap();
        // With a certificate there is nothing left to do, and it says so.
        assert_eq!(again.success(), *point == "key-made", "{point}");
    }
    (ENROLMENT_POINTS.len()..CLIENTS).for_each(|client| deployment.enrol(client));
    let clients = deployment.clients(CLIENTS, PARTS);
    deployment.finish(coordinator, clients);
}

#[cfg(debug_assertions)]
#[test]
fn every_durable_point_is_tested() {
    fn collect(directory: &std::path::Path, names: &mut std::collections::BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                collect(&entry.path(), names);
            } else {
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let calls = text.split("crash::point(\"").skip(1);
                names.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let collected = |directory: &str| {
        let mut names = std::collections::BTreeSet::new();
        collect(&root.join(directory), &mut names);
        names
    };
    assert_eq!(collected("server/src"), POINTS.iter().map(|(name, _)| (*name).to_owned()).collect());
    let of_client = CLIENT_POINTS.iter().map(|(name, _)| *name).chain(ENROLMENT_POINTS);
    assert_eq!(collected("client/src"), of_client.map(str::to_owned).collect());
}

/// A round takes some 20 ms, and a client takes up to 500 ms to try a dead coordinator again: what a delay is counted
/// from decides what it hits.
const ROUND_OF_TIME: Duration = Duration::from_millis(50);
const ROUNDS_OF_TIME: Duration = Duration::from_millis(150);
const START_OF_TIME: Duration = Duration::from_millis(400);

/// Kills the coordinator at a random moment, of its start or of the rounds after it, and starts it again.
fn kill_coordinator(deployment: &mut Deployment, mut coordinator: Process, moments: &mut Moments) -> Process {
    let delay = if moments.index(3) == 0 {
        moments.below(START_OF_TIME)
    } else {
        coordinator.line(|line| line.contains("the round ended"));
        moments.below(ROUNDS_OF_TIME)
    };
    coordinator.kill_after(delay);
    deployment.start()
}

/// Kills the coordinator, and then one of the clients, and starts both again.
fn kill_both(
    deployment: &mut Deployment,
    coordinator: Process,
    clients: &mut Vec<Process>,
    moments: &mut Moments,
) -> Process {
    let victim = moments.index(CLIENTS);
    let killed = clients.remove(victim);
    let coordinator = kill_coordinator(deployment, coordinator, moments);
    killed.kill();
    clients.insert(victim, deployment.client(victim, PARTS));
    coordinator
}

#[test]
fn at_sixty_random_moments_the_coordinator_is_killed_and_goes_on() {
    const RUNS: u64 = 6;
    const KILLS: u64 = 10;
    let kills = Mutex::new(0);
    thread::scope(|scope| {
        for run in 0..RUNS {
            let kills = &kills;
            scope.spawn(move || {
                let mut moments = Moments::of(run);
                let mut deployment = Deployment::insecure(&config());
                let mut coordinator = deployment.start();
                let clients = deployment.clients(CLIENTS, PARTS);
                for _ in 0..KILLS {
                    coordinator = kill_coordinator(&mut deployment, coordinator, &mut moments);
                    *kills.lock().unwrap() += 1;
                }
                assert_eq!(deployment.status()["state"], "going on", "every kill must hit the run");
                deployment.finish(coordinator, clients);
                check(&deployment);
            });
        }
    });
    assert_eq!(kills.into_inner().unwrap(), RUNS * KILLS);
}

#[test]
fn at_sixty_random_moments_clients_are_killed_and_go_on() {
    thread::scope(|scope| {
        for run in 100..102 {
            scope.spawn(move || {
                let mut moments = Moments::of(run);
                let mut deployment = Deployment::insecure(&config());
                let coordinator = deployment.start();
                let mut clients = deployment.clients(CLIENTS, PARTS);
                for _ in 0..30 {
                    let victim = moments.index(CLIENTS);
                    let killed = clients.remove(victim);
                    killed.kill_after(moments.below(ROUND_OF_TIME));
                    clients.insert(victim, deployment.client(victim, PARTS));
                }
                assert_eq!(deployment.status()["state"], "going on", "every kill must hit the run");
                deployment.finish(coordinator, clients);
                check(&deployment);
            });
        }
    });
}

#[test]
fn over_mutual_tls_both_ends_are_killed_and_go_on() {
    let mut moments = Moments::of(200);
    let mut deployment = Deployment::secure(&config());
    let mut coordinator = deployment.start();
    (0..CLIENTS).for_each(|client| deployment.enrol(client));
    let mut clients = deployment.clients(CLIENTS, PARTS);
    for _ in 0..10 {
        coordinator = kill_both(&mut deployment, coordinator, &mut clients, &mut moments);
    }
    assert_eq!(deployment.status()["state"], "going on", "every kill must hit the run");
    deployment.finish(coordinator, clients);
    check(&deployment);
}

/// What strategies remember, on either end, is as durable as the model: every one of them, and tensors that clients keep to
/// themselves.
#[test]
fn under_every_strategy_both_ends_are_killed_and_go_on() {
    const CONTROL: &str = "[aggregation]\nnorm_bound = \"off\"\n[strategy]\nclients = 4\nname = ";
    let plain = ["fedavg", "fedavgm", "fedadagrad", "fedadam", "fedyogi", "fedprox", "fednova", "qfedavg"];
    let plain = plain.map(|name| ("int4+ef", format!("[strategy]\nname = {name:?}\n")));
    let others = [
        ("int2+ef", format!("{CONTROL}\"scaffold\"\n")),
        ("int2", format!("{CONTROL}\"feddyn\"\n")),
        ("int4+ef", "[local]\npersonal = [\"fc.bias\"]\n".to_owned()),
    ];
    let runs: Vec<_> = (300..).zip(plain.iter().chain(&others)).collect();
    for few in runs.chunks(4) {
        thread::scope(|scope| {
            for (run, (uplink, tables)) in few {
                scope.spawn(move || {
                    let config = config_of(uplink, 50, tables);
                    let expected = left_alone(&config);
                    let mut moments = Moments::of(*run);
                    let mut deployment = Deployment::insecure(&config);
                    let mut coordinator = deployment.start();
                    let mut clients = deployment.clients(CLIENTS, PARTS);
                    for _ in 0..3 {
                        coordinator = kill_both(&mut deployment, coordinator, &mut clients, &mut moments);
                    }
                    assert_eq!(deployment.status()["state"], "going on", "{tables}: every kill must hit the run");
                    deployment.finish(coordinator, clients);
                    check_against(&deployment, &expected);
                });
            }
        });
    }
}

#[test]
fn both_ends_are_stopped_by_sigterm_and_go_on() {
    let mut moments = Moments::of(500);
    let mut deployment = Deployment::insecure(&config());
    let mut coordinator = deployment.start();
    let mut clients = deployment.clients(CLIENTS, PARTS);
    for _ in 0..8 {
        coordinator.line(|line| line.contains("the round ended"));
        coordinator.passes(moments.below(ROUNDS_OF_TIME));
        coordinator.terminate();
        coordinator.ends_with(0);
        coordinator = deployment.start();
        let victim = moments.index(CLIENTS);
        let mut stopped = clients.remove(victim);
        stopped.terminate();
        stopped.ends_with(0);
        clients.insert(victim, deployment.client(victim, PARTS));
    }
    assert_eq!(deployment.status()["state"], "going on", "every stop must hit the run");
    deployment.finish(coordinator, clients);
    check(&deployment);
}
