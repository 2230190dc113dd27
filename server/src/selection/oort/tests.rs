//! Utilities against the formula in Python, and the shares and exclusions of cohorts against counting.

use std::time::Duration;

use nibble_seed::{Purpose, Seed};

use super::*;
use crate::selection::Heard;

fn draws(round: u64) -> [Draw; 2] {
    [1, 2].map(|draw| Draw(Seed(4).derive(Purpose::Selection, round, draw)))
}

fn clients(range: std::ops::Range<u64>) -> Vec<ClientId> {
    range.map(ClientId).collect()
}

/// 21 clients that differ in everything.
fn differing() -> Knowledge {
    let mut knowledge = Knowledge::default();
    for i in 0..21u64 {
        knowledge.selected(ClientId(i), RoundId(i % 7));
        let (loss, took) = (Some((i * 8 % 21) as f64 / 5.0), Some(Duration::from_secs(1 + i * 5 % 21)));
        knowledge.heard(ClientId(i), Heard { samples: 10 + i, loss, took });
    }
    knowledge
}

#[test]
fn utilities_are_those_of_the_formula() {
    // As utilities.py prints them, from samples, losses, durations and rounds as above.
    let median = [
        0.456008941,
        0.513751362,
        0.680668189,
        0.147840768,
        0.147810968,
        0.805730088,
        0.381050831,
        0.523473021,
        0.109377178,
        0.635016015,
        0.967134905,
        0.238630578,
        0.254762957,
        1.172355179,
        0.821226332,
        0.814540788,
        0.140539395,
        0.814960992,
        1.203933398,
        0.421300373,
        0.427134717,
    ];
    let three = [
        0.456008941,
        0.128437841,
        0.050628212,
        0.010996421,
        0.010994204,
        0.290062832,
        0.034294575,
        0.038936010,
        0.008135493,
        0.357196509,
        0.107459434,
        0.017749382,
        0.018949311,
        1.172355179,
        0.115484953,
        0.060585678,
        0.010453343,
        0.814960992,
        0.221130624,
        0.031336391,
        0.031770351,
    ];
    let known: Vec<_> = differing().iter().map(|(_, known)| known).collect();
    for (preferred_seconds, expected) in [(None, median), (Some(3.0), three)] {
        let config = Oort { preferred_seconds, ..Oort::default() };
        let found = utilities(&config, &known, RoundId(7));
        for (client, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!((found - expected).abs() < 1e-9, "client {client}: {found}, not {expected}");
        }
    }
}

#[test]
fn newcomers_have_their_share_while_there_are_any() {
    let everyone = clients(0..121); // 21 are known
    let newcomers = |round: u64, available: &[ClientId]| {
        let cohort = select(&Oort::default(), available, 20, &differing(), RoundId(round), draws(round));
        assert_eq!(cohort.len(), 20);
        cohort.iter().filter(|client| client.0 >= 21).count()
    };
    // 20 x max(0.9 x 0.98^round, 0.2), rounded.
    assert_eq!(newcomers(0, &everyone), 18);
    assert_eq!(newcomers(10, &everyone), 15);
    assert_eq!(newcomers(200, &everyone), 4);
    assert_eq!(newcomers(0, &clients(0..24)), 3, "as many as there are");
    assert_eq!(newcomers(200, &clients(18..121)), 17, "where fewer than are wanted were heard of");
}

#[test]
fn the_useful_are_drawn_and_the_slow_are_not() {
    let mut knowledge = Knowledge::default();
    for client in 0..20 {
        // Ten teach ten times as much; two of them take ten times as long, which costs a factor of 100.
        let loss = Some(if client < 10 { 2.0 } else { 0.2 });
        let took = Some(Duration::from_secs(if client < 2 { 100 } else { 10 }));
        knowledge.selected(ClientId(client), RoundId(0));
        knowledge.heard(ClientId(client), Heard { samples: 50, loss, took });
    }
    for round in 1..50 {
        let select = |config: &Oort| {
            let mut cohort = select(config, &clients(0..20), 8, &knowledge, RoundId(round), draws(round));
            cohort.sort();
            cohort
        };
        assert_eq!(select(&Oort::default()), clients(2..10));
        // Ten are as good now; which eight of them is up to the draw.
        assert!(select(&Oort { alpha: 0.0, ..Oort::default() }).iter().all(|client| client.0 < 10));
    }
}

#[test]
fn draws_are_in_proportion_to_utility() {
    // 20,000 draws of 1 of 2 whose utilities are 1.44 and 0.72: both are above the cutoff of half, so 2/3 and 1/3.
    let mut knowledge = Knowledge::default();
    for client in 0..2 {
        knowledge.selected(ClientId(client), RoundId(0));
        let took = Some(Duration::from_secs(1 + client));
        knowledge.heard(ClientId(client), Heard { samples: 5, loss: Some(1.0), took });
    }
    let config = Oort { cutoff: 0.5, alpha: 1.0, preferred_seconds: Some(1.0), ..Oort::default() };
    let first = |round| select(&config, &clients(0..2), 1, &knowledge, RoundId(6), draws(round))[0].0;
    let count = (0..20_000).filter(|&round| first(round) == 0).count() as f64;
    let deviation = (20_000.0f64 * 2.0 / 9.0).sqrt();
    assert!((count - 40_000.0 / 3.0).abs() < 5.0 * deviation, "{count}");
}

#[test]
fn who_was_selected_far_above_the_mean_waits_unless_nobody_else_is_there() {
    let mut knowledge = differing();
    (0..40).for_each(|round| knowledge.selected(ClientId(5), RoundId(round)));
    let select = |available: &[ClientId], count| {
        select(&Oort::default(), available, count, &knowledge, RoundId(300), draws(300))
    };
    let cohort = select(&clients(0..21), 20);
    assert!(cohort.len() == 20 && !cohort.contains(&ClientId(5)), "{cohort:?}");
    assert!(select(&clients(0..21), 21).contains(&ClientId(5)));
    assert_eq!(select(&clients(5..6), 3), clients(5..6));
}
