//! Event tables: what a round does with what happens to it.

use std::time::Duration;

use nibble_seed::{ClientId, RoundId, Seed};
use proptest::prelude::*;

use super::*;

mod buffering;

const NOW: Duration = Duration::from_secs(100);

fn after(seconds: u64) -> Duration {
    NOW + Duration::from_secs(seconds)
}

/// A round of `config` among clients 0..`clients`, all checked in, with the cohort it drew.
fn collecting(config: RoundConfig, clients: u64) -> (Round, Vec<ClientId>) {
    let mut round = Round::open(RoundId(7), Seed(1), config.select_among(clients as usize, None), NOW);
    let effects: Vec<_> = (0..clients).flat_map(|client| round.step(Event::CheckIn(ClientId(client)), NOW)).collect();
    let assigned = effects.iter().filter_map(|effect| match effect {
        Effect::Assign { client, .. } => Some(*client),
        _ => None,
    });
    let cohort = assigned.collect();
    (round, cohort)
}

fn update(client: ClientId) -> Event {
    Event::Update { client, samples: 10 + client.0, digest: [client.0 as u8; 32] }
}

fn record(effects: &[Effect]) -> &Record {
    effects.iter().find_map(|e| if let Effect::End(record) = e { Some(record) } else { None }).expect("an ended round")
}

fn outcome_of(effects: &[Effect], of: ClientId) -> Option<&Outcome> {
    effects.iter().find_map(|effect| match effect {
        Effect::Receipt { client, outcome } if *client == of => Some(outcome),
        _ => None,
    })
}

/// Feeds the events, each at its second, then says `Aggregated` if asked to aggregate; returns all effects.
fn play(round: &mut Round, events: Vec<(u64, Event)>) -> Vec<Effect> {
    let mut all = Vec::new();
    for (second, event) in events {
        let effects = round.step(event, after(second));
        let aggregate = effects.iter().any(|effect| matches!(effect, Effect::Aggregate(_)));
        all.extend(effects);
        if aggregate {
            all.extend(round.step(Event::Aggregated, after(second)));
        }
    }
    all
}

#[test]
fn a_round_closes_when_the_cohort_is_complete_whatever_the_order() {
    let (mut round, cohort) = collecting(RoundConfig::new(3).unwrap(), 10);
    assert_eq!(cohort.len(), 3);
    let effects = play(&mut round, cohort.iter().rev().map(|&client| (5, update(client))).collect());
    let mut sorted = cohort;
    sorted.sort();
    let counted: Vec<_> =
        sorted.iter().map(|&client| Counted { client, samples: 10 + client.0, round: RoundId(7) }).collect();
    assert_eq!(effects[0], Effect::Aggregate(counted), "counted in ClientId order");
    assert!(sorted.iter().all(|&client| outcome_of(&effects, client) == Some(&Outcome::Accepted)));
    assert_eq!((record(&effects).closed, record(&effects).ended), (Closed::CohortComplete, after(5)));
    assert!(round.is_over());
}

#[test]
fn over_selection_discards_the_last_to_report() {
    let config = RoundConfig::new(4).unwrap().over_select(0.3).unwrap();
    let (mut round, cohort) = collecting(config, 20);
    assert_eq!(cohort.len(), 6, "4 x 1.3, rounded up");
    let effects = play(&mut round, cohort.iter().map(|&client| (1, update(client))).collect());
    for (place, &client) in cohort.iter().enumerate() {
        let expected = if place < 4 { Outcome::Accepted } else { Outcome::Discarded(DiscardReason::Late) };
        assert_eq!(outcome_of(&effects, client), Some(&expected), "place {place}");
    }
    assert_eq!(record(&effects).missing, cohort[4..]);
}

#[test]
fn the_deadline_closes_with_a_quorum_and_abandons_without() {
    let config = RoundConfig::new(4).unwrap().quorum(2).unwrap().deadline(Duration::from_secs(60)).unwrap();
    for (reports, closed) in [(3, Closed::Deadline), (2, Closed::Deadline), (1, Closed::QuorumMissed)] {
        let (mut round, cohort) = collecting(config.clone(), 10);
        let mut events: Vec<_> = cohort[..reports].iter().map(|&client| (1, update(client))).collect();
        events.push((59, Event::Tick));
        assert!(play(&mut round, events).iter().all(|effect| !matches!(effect, Effect::End(_))), "59 s is not 60 s");
        let effects = play(&mut round, vec![(60, Event::Tick), (61, update(cohort[3]))]);
        assert_eq!(record(&effects).closed, closed);
        assert_eq!(outcome_of(&effects, cohort[3]), Some(&Outcome::Discarded(DiscardReason::Late)));
        let expected =
            if closed.is_committed() { Outcome::Accepted } else { Outcome::Discarded(DiscardReason::Abandoned) };
        assert_eq!(outcome_of(&effects, cohort[0]), Some(&expected));
    }
}

#[test]
fn losses_close_the_round_early_or_abandon_it_once_the_quorum_is_out_of_reach() {
    let config = RoundConfig::new(4).unwrap().quorum(3).unwrap();
    let (mut round, cohort) = collecting(config.clone(), 10);
    let mut events: Vec<_> = cohort[..3].iter().map(|&client| (1, update(client))).collect();
    events.push((2, Event::Lost(cohort[3])));
    let effects = play(&mut round, events);
    assert_eq!((record(&effects).closed, &record(&effects).missing[..]), (Closed::AllReported, &cohort[3..]));

    let (mut round, cohort) = collecting(config, 10);
    let effects = play(&mut round, vec![(1, Event::Lost(cohort[0])), (2, Event::Lost(cohort[1]))]);
    assert_eq!((record(&effects).closed, record(&effects).ended), (Closed::QuorumMissed, after(2)));
}

#[test]
fn the_same_update_twice_counts_once_and_a_different_one_does_not_replace_it() {
    let (mut round, cohort) = collecting(RoundConfig::new(2).unwrap(), 5);
    let first = cohort[0];
    let other = Event::Update { client: first, samples: 1_000_000, digest: [0xee; 32] };
    let effects = play(&mut round, vec![(1, update(first)), (2, update(first)), (3, other)]);
    assert_eq!(effects, [receipt(first, Outcome::Rejected(RejectReason::Conflict))]);
    let effects = play(&mut round, vec![(4, update(cohort[1]))]);
    assert_eq!(outcome_of(&effects, first), Some(&Outcome::Accepted), "the first update stands");
    let Effect::Aggregate(counted) = &effects[0] else { panic!("{effects:?}") };
    assert_eq!(counted.iter().map(|counted| counted.samples).sum::<u64>(), 20 + first.0 + cohort[1].0);
}

#[test]
fn the_same_update_after_the_end_gets_the_same_receipt() {
    let config = RoundConfig::new(2).unwrap().over_select(0.5).unwrap();
    let (mut round, cohort) = collecting(config, 5);
    let _ = play(&mut round, vec![(1, update(cohort[0])), (2, update(cohort[1]))]);
    assert!(round.is_over());
    let late = Outcome::Discarded(DiscardReason::Late);
    for (event, client, expected) in [
        (update(cohort[0]), cohort[0], Outcome::Accepted),
        (
            Event::Update { client: cohort[0], samples: 3, digest: [0xee; 32] },
            cohort[0],
            Outcome::Rejected(RejectReason::Conflict),
        ),
        (update(cohort[2]), cohort[2], late),
    ] {
        assert_eq!(round.step(event, after(9)), [receipt(client, expected)]);
    }
}

#[test]
fn unusable_updates_are_refused_with_their_reason() {
    let config = RoundConfig::new(3).unwrap().quorum(1).unwrap();
    let (mut round, cohort) = collecting(config, 10);
    let stranger = (0..10).map(ClientId).find(|client| !cohort.contains(client)).unwrap();
    let malformed = RejectReason::Malformed("truncated".into());
    let effects = play(
        &mut round,
        vec![
            (1, update(stranger)),
            (1, Event::Update { client: cohort[0], samples: 0, digest: [0; 32] }),
            (1, Event::Refused { client: cohort[1], reason: malformed.clone() }),
            (2, update(cohort[2])),
        ],
    );
    assert_eq!(outcome_of(&effects, stranger), Some(&Outcome::Rejected(RejectReason::NotSelected)));
    assert_eq!(outcome_of(&effects, cohort[0]), Some(&Outcome::Rejected(RejectReason::NoSamples)));
    assert_eq!(outcome_of(&effects, cohort[1]), Some(&Outcome::Rejected(malformed)));
    let record = record(&effects);
    assert_eq!((record.closed, record.outcomes.len()), (Closed::AllReported, 3));
}

#[test]
fn a_selection_window_ends_with_whoever_is_there() {
    let config = RoundConfig::new(3).unwrap().quorum(2).unwrap().select_among(100, Some(Duration::from_secs(30)));
    for (clients, assigned) in [(1, 0), (2, 2), (50, 3)] {
        let mut round = Round::open(RoundId(0), Seed(0), config.clone(), NOW);
        let checked_in: Vec<_> = (0..clients).map(|client| (1, Event::CheckIn(ClientId(client)))).collect();
        assert_eq!(play(&mut round, checked_in)[0], Effect::WakeAt(after(30)));
        assert!(play(&mut round, vec![(29, Event::Tick)]).is_empty());
        let effects = play(&mut round, vec![(30, Event::Tick)]);
        assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::Assign { .. })).count(), assigned);
        if assigned == 0 {
            assert_eq!(record(&effects).closed, Closed::TooFewClients);
        }
    }
}

#[test]
fn impossible_configurations_are_refused() {
    use crate::error::RoundConfigError as E;
    let config = || RoundConfig::new(4).unwrap();
    assert_eq!(RoundConfig::new(0), Err(E::NoCohort));
    assert_eq!(config().quorum(0), Err(E::Quorum { quorum: 0, cohort: 4 }));
    assert_eq!(config().quorum(5), Err(E::Quorum { quorum: 5, cohort: 4 }));
    assert!(matches!(config().over_select(f64::NAN), Err(E::OverSelect { .. })));
    assert_eq!(config().over_select(-0.1), Err(E::OverSelect { found: -0.1 }));
    assert_eq!(config().deadline(Duration::ZERO), Err(E::Deadline));
}

proptest! {
    /// Whatever happens before the deadline, the round ends there at the latest, nobody counts twice, and every
    /// counted client is told so.
    #[test]
    fn a_round_with_a_deadline_always_ends(script in prop::collection::vec((0u64..6, 0u8..5), 0..40)) {
        let config = RoundConfig::new(3).unwrap().over_select(0.5).unwrap().quorum(2).unwrap();
        let (mut round, cohort) = collecting(config.deadline(Duration::from_secs(50)).unwrap(), 8);
        let mut events: Vec<_> = script.iter().enumerate().map(|(second, &(client, kind))| {
            let client = ClientId(client);
            (second as u64, match kind {
                0 | 1 => update(client),
                2 => Event::Lost(client),
                3 => Event::Refused { client, reason: RejectReason::Malformed(String::new()) },
                _ => Event::Tick,
            })
        }).collect();
        events.push((50, Event::Tick));
        let effects = play(&mut round, events);
        prop_assert!(round.is_over());
        prop_assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::End(_))).count(), 1);
        let record = record(&effects);
        let accepted: Vec<_> = record.outcomes.iter().filter(|(_, o)| **o == Outcome::Accepted).map(|(c, _)| *c).collect();
        prop_assert!(accepted.len() <= 3 && accepted.iter().all(|client| cohort.contains(client)));
        prop_assert_eq!(accepted.len() >= 2, record.closed.is_committed());
        for client in accepted {
            let told = effects.iter().filter(|e| **e == receipt(client, Outcome::Accepted)).count();
            prop_assert!(told >= 1, "again for the same bytes sent again");
        }
    }
}

fn receipt(client: ClientId, outcome: Outcome) -> Effect {
    Effect::Receipt { client, outcome }
}

#[test]
fn a_client_that_left_before_the_selection_is_not_selected() {
    let config = RoundConfig::new(2).unwrap();
    let mut round = Round::open(RoundId(0), Seed(0), config, NOW);
    assert!(play(&mut round, vec![(0, Event::CheckIn(ClientId(1))), (1, Event::Lost(ClientId(1)))]).is_empty());
    assert!(play(&mut round, vec![(2, Event::CheckIn(ClientId(2)))]).is_empty(), "one is not enough");
    let effects = play(&mut round, vec![(3, Event::CheckIn(ClientId(3)))]);
    let assigned: BTreeSet<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Assign { client, .. } => Some(*client),
            _ => None,
        })
        .collect();
    assert_eq!(assigned, [2, 3].map(ClientId).into());
}

#[test]
fn a_resumed_round_ends_as_the_unbroken_one() {
    let config = RoundConfig::new(3).unwrap().over_select(0.5).unwrap().quorum(2).unwrap();
    let config = config.deadline(Duration::from_secs(50)).unwrap();
    let (mut unbroken, cohort) = collecting(config.clone(), 8);
    let events = vec![
        (3, update(cohort[1])),
        (4, Event::Refused { client: cohort[0], reason: RejectReason::Malformed("bits".into()) }),
        (5, Event::Lost(cohort[2])),
        (6, update(cohort[3])),
        (50, Event::Tick),
    ];
    let mut resumed = Round::resume(unbroken.id(), Seed(1), config, NOW, cohort.clone(), NOW);
    assert_eq!(resumed.assignment(cohort[1]), unbroken.assignment(cohort[1]));
    assert!(resumed.assignment(cohort[1]).is_some() && resumed.assignment(ClientId(99)).is_none());
    let told = play(&mut resumed, events.clone());
    assert_eq!(told, play(&mut unbroken, events));
    assert!(told.iter().any(|effect| matches!(effect, Effect::Aggregate(counted) if counted.len() == 2)));
    assert_eq!(resumed.assignment(cohort[1]), None);
}

#[test]
fn a_round_that_too_few_can_afford_is_abandoned_and_one_that_enough_can_goes_on_without_the_rest() {
    let config = || RoundConfig::new(3).unwrap().quorum(2).unwrap().select_among(5, None);
    let open = || Round::open(RoundId(0), Seed(0), config(), NOW);
    let there =
        |able: u64| (0..5).map(move |client| (client, if client < able { Event::CheckIn } else { Event::Unable }));
    let events = |able| there(able).map(|(client, event)| (client, event(ClientId(client)))).collect::<Vec<_>>();

    let mut round = open();
    assert!(play(&mut round, events(1)[..4].to_vec()).is_empty(), "the fifth is waited for");
    let effects = play(&mut round, events(1));
    assert_eq!(record(&effects).closed, Closed::TooFewClients);

    let effects = play(&mut open(), events(2));
    let assigned = effects.iter().filter(|effect| matches!(effect, Effect::Assign { .. })).count();
    assert_eq!(assigned, 2, "those who can, as they make the quorum");

    // Who can again, or cannot any more, counts once.
    let mut round = open();
    play(
        &mut round,
        vec![(0, Event::Unable(ClientId(0))), (1, Event::CheckIn(ClientId(0))), (2, Event::Unable(ClientId(1)))],
    );
    play(
        &mut round,
        vec![(3, Event::CheckIn(ClientId(1))), (4, Event::Unable(ClientId(0))), (5, Event::Lost(ClientId(2)))],
    );
    assert!(round.is_selecting());
    let effects = play(&mut round, (2..5).map(|client| (6, Event::CheckIn(ClientId(client)))).collect());
    let assigned: Vec<_> = effects.iter().filter(|effect| matches!(effect, Effect::Assign { .. })).collect();
    assert_eq!(assigned.len(), 3);
    assert!(!assigned.iter().any(|effect| matches!(effect, Effect::Assign { client: ClientId(0), .. })));
}
