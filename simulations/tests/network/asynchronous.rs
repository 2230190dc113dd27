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

#[test]
fn slow_clients_count_late_and_kills_lose_nothing() {
    let mut deployment = Deployment::insecure(&format!(
        "[run]\nname = \"asynchronous\"\nrounds = {ROUNDS}\n[model]\nname = \"logreg\"\n[cohort]\nsize = 2\n\
         [compression]\nuplink = \"int4+ef\"\ndownlink = \"auto:1\"\ndownlink_span = 4\n[asynchronous]\nconcurrency = 4\n"
    ));
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

    let rounds = deployment.rounds();
    assert_eq!(rounds.len() as u64, ROUNDS);
    for round in &rounds {
        assert_eq!((round.accepted, round.rejected, round.discarded), (2, 0, 0), "{round:?}");
        assert_eq!(round.closed.as_deref(), Some("cohort complete"));
    }
    let assigned: usize = rounds.iter().map(|round| round.selected).sum();
    let counted = 2 * rounds.len();
    assert!(
        (counted..=counted + 4).contains(&assigned),
        "{assigned} were assigned, and only who flies at the end is left"
    );
    let none = rounds.iter().filter(|round| round.selected == 0).count();
    assert!(rounds.iter().any(|round| round.selected < 2) || none > 0, "some updates are of earlier rounds");
    let accuracy = deployment.status()["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.7, "{accuracy}");
}
