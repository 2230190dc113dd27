//! Rounds that do not wait, of real processes: some clients take much longer than a round, their updates count all the same,
//! and both ends are killed meanwhile.

use std::time::Duration;

use crate::harness::{Deployment, Moments, Process};

const CLIENTS: usize = 6;
/// Every client holds a twentieth of the samples.
const PARTS: usize = 20;
const ROUNDS: u64 = 60;

/// Every third client takes some ten rounds for one.
fn client(deployment: &Deployment, index: usize) -> Process {
    let seconds = if index.is_multiple_of(3) { 0.4 } else { 0.02 };
    let rates = "down_bits_per_second = 1e9\nup_bits_per_second = 1e9\n";
    deployment.client_with(index, PARTS, &format!("[shape]\n{rates}training_seconds = {seconds}\n"))
}

fn config() -> String {
    format!(
        "[run]\nname = \"asynchronous\"\nrounds = {ROUNDS}\n[model]\nname = \"logreg\"\n[cohort]\nsize = 2\n\
         [compression]\nuplink = \"int4+ef\"\ndownlink = \"auto:1\"\ndownlink_span = 4\n[asynchronous]\nconcurrency = 4\n"
    )
}

/// Every round counted as many updates as it wants, and all but those who fly at the end were counted.
fn check(deployment: &Deployment) {
    let rounds = deployment.rounds();
    assert_eq!(rounds.len() as u64, ROUNDS);
    for round in &rounds {
        assert_eq!((round.accepted, round.rejected, round.discarded), (2, 0, 0), "{round:?}");
        assert_eq!(round.closed.as_deref(), Some("cohort complete"));
    }
    let (assigned, counted) = (rounds.iter().map(|round| round.selected).sum::<usize>(), 2 * rounds.len());
    assert!((counted..=counted + 4).contains(&assigned), "{assigned} were assigned, {counted} counted");
    assert!(rounds.iter().map(|round| round.older).sum::<usize>() > 0, "slow clients count in later rounds");
    let accuracy = deployment.status()["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.7, "{accuracy}");
}

/// Where the coordinator is killed: in the middle of closing above all, while updates of earlier rounds are counted.
#[cfg(debug_assertions)]
const POINTS: [(&str, &[u64]); 7] = [
    ("cohort-entered", &[1, 5]),
    ("payload-kept", &[3]),
    ("update-entered", &[1, 5]),
    ("counted-set-fixed", &[1, 2, 4]),
    ("folded", &[1, 2, 4]),
    ("model-written", &[1, 3]),
    ("round-committed", &[1, 3]),
];

#[cfg(debug_assertions)] // other builds have no such points
#[test]
fn at_durable_points_the_coordinator_is_killed_and_every_update_counts_once() {
    let mut deployment = Deployment::insecure(&config());
    deployment.finish_over(&POINTS, |deployment| (0..CLIENTS).map(|index| client(deployment, index)).collect());
    check(&deployment);
}

#[test]
fn slow_clients_count_late_and_kills_lose_nothing() {
    let mut deployment = Deployment::insecure(&config());
    let mut moments = Moments::of(600);
    let mut coordinator = deployment.start();
    let mut clients: Vec<_> = (0..CLIENTS).map(|index| client(&deployment, index)).collect();
    for kill in 0..8 {
        coordinator.line(|line| line.contains("the round ended"));
        coordinator.passes(moments.below(Duration::from_millis(150)));
        if kill % 2 == 0 {
            coordinator.kill();
            coordinator = deployment.start();
        }
        let victim = moments.index(CLIENTS);
        clients.remove(victim).kill();
        clients.insert(victim, client(&deployment, victim));
    }
    assert_eq!(deployment.status()["state"], "going on", "every kill must hit the run");
    deployment.finish(coordinator, clients);
    check(&deployment);
}
