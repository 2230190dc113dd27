//! Budgets of bytes: whatever the scheme, the links and the drop-outs, no client spends more.

#![allow(clippy::unwrap_used)] // a failing helper is a failing test

use std::collections::BTreeMap;

use nibble_seed::Seed;
use nibble_sim::{
    engine::{Run, Spent},
    experiment::{Availability, Budget, Experiment, Raw},
    federation::Federation,
};
use proptest::prelude::*;

const ROUNDS: usize = 8;

fn experiment(scheme: &str, budget: Option<Budget>, dropout: f64) -> Experiment {
    let mut raw = Raw { rounds: ROUNDS as u64, budget, ..Raw::default() };
    raw.model.name = "logreg".into();
    raw.data.clients = 12;
    raw.cohort.size = 4;
    raw.cohort.quorum = Some(1);
    raw.availability = Availability { dropout, ..raw.availability };
    raw.compression.uplink = vec![scheme.into()];
    raw.try_into().unwrap()
}

/// What every client spent, and what the rounds say that all did.
fn spent(experiment: &Experiment, seed: u64) -> (BTreeMap<u64, Spent>, Vec<nibble_sim::results::RoundRow>) {
    let (federation, dir) = (Federation::load(experiment).unwrap(), tempfile::tempdir().unwrap());
    let mut run = Run::open(experiment, &federation, (experiment.schemes[0], Seed(seed)), 2, dir.path()).unwrap();
    while !run.is_done() {
        run.step().unwrap();
    }
    let spent = run.spent().iter().map(|(client, &spent)| (client.0, spent)).collect();
    (spent, run.progress().rows.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_client_spends_more_than_it_may(
        scheme in prop::sample::select(vec![
            "fp32", "int4+ef", "auto:0.5", "auto:700B", "plan:1kB+ef", "auto:1/auto:1", "int2/int4", "auto:step=0.01/auto:2",
        ]),
        uplink_bytes in prop::option::of(100u64..60_000),
        downlink_bytes in prop::option::of(100u64..150_000),
        dropout in prop::sample::select(vec![0.0, 0.3]),
        seed in 0u64..1000,
    ) {
        let budget = Budget { uplink_bytes, downlink_bytes };
        let (spent, rows) = spent(&experiment(scheme, Some(budget), dropout), seed);
        for (client, spent) in &spent {
            prop_assert!(uplink_bytes.is_none_or(|most| spent.uplink_bytes <= most), "client {client}: {spent:?}");
            prop_assert!(downlink_bytes.is_none_or(|most| spent.downlink_bytes <= most), "client {client}: {spent:?}");
        }
        let sum = |of: fn(&Spent) -> u64| spent.values().map(of).sum::<u64>();
        prop_assert_eq!(sum(|spent| spent.uplink_bytes), rows.iter().map(|row| row.uplink_bytes).sum::<u64>());
        prop_assert_eq!(sum(|spent| spent.downlink_bytes), rows.iter().map(|row| row.downlink_bytes).sum::<u64>());
    }
}

#[test]
fn running_out_has_a_clear_outcome_and_the_model_stays() {
    let (_, free) = spent(&experiment("int4", None, 0.0), 3);
    // Twelve clients, four a round: each can afford two updates, so six rounds of the eight.
    let bytes = free[0].uplink_bytes / 4;
    let budget = Budget { uplink_bytes: Some(2 * bytes), downlink_bytes: None };
    let (spent, rows) = spent(&experiment("int4", Some(budget), 0.0), 3);
    assert!(spent.values().all(|spent| spent.uplink_bytes <= 2 * bytes));
    let ended = rows.iter().position(|row| row.selected == 0).unwrap();
    assert!((3..=6).contains(&ended), "{ended} rounds");
    for row in &rows[ended..] {
        assert_eq!((row.counted, row.uplink_bytes, row.downlink_bytes), (0, 0, 0));
        assert_eq!(row.closed_by, "too few clients have bytes left");
        assert_eq!(row.accuracy, rows[ended - 1].accuracy);
    }
    // Until somebody ran out nothing was different.
    assert_eq!(rows[0].accuracy, free[0].accuracy);
}
