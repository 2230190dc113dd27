//! Rounds that do not wait: what flies flies on, and what came counts once.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Rounds of `cohort` updates among clients 0..`clients` of which `concurrency` train, in which updates count that are up to 3
/// models old, and nobody is waited for longer than 50 s.
fn config(cohort: usize, clients: u64, concurrency: usize) -> RoundConfig {
    let config = RoundConfig::new(cohort).unwrap().quorum(1).unwrap().select_among(clients as usize, None);
    let config = config.deadline(Duration::from_secs(50)).unwrap();
    config.buffered(Buffer { concurrency, max_staleness: Some(3) })
}

fn open(id: u64, config: &RoundConfig, clients: u64, second: u64, carried: Carried) -> (Round, Vec<ClientId>) {
    let mut round = Round::open(RoundId(id), Seed(1), config.clone(), after(second)).carrying(carried);
    for client in (0..clients).map(ClientId) {
        assert!(round.step(Event::CheckIn(client), after(second)).is_empty(), "nobody is chosen before all are there");
    }
    let assigned = assigned(&round.step(Event::Tick, after(second)));
    (round, assigned)
}

fn assigned(effects: &[Effect]) -> Vec<ClientId> {
    let of = |effect: &Effect| match effect {
        Effect::Assign { client, .. } => Some(*client),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

#[test]
fn whoever_has_sent_makes_room_and_whoever_has_not_is_carried_on() {
    let config = config(3, 10, 4);
    let (mut round, first) = open(0, &config, 10, 0, Carried::default());
    assert_eq!(first.len(), 4, "as many as may train at a time");
    let effects = play(&mut round, vec![(1, update(first[0]))]);
    let second = assigned(&effects);
    assert!(second.len() == 1 && !first.contains(&second[0]), "one place, and nobody takes part twice: {effects:?}");
    assert_eq!(outcome_of(&effects, first[0]), None, "told when the buffer is full");
    assert!(play(&mut round, vec![(2, update(first[0]))]).is_empty(), "the same bytes again");
    let other = Event::Update { client: first[0], samples: 5, digest: [99; 32] };
    assert_eq!(play(&mut round, vec![(2, other)]), [receipt(first[0], Outcome::Rejected(RejectReason::Conflict))]);
    let effects = play(&mut round, vec![(3, update(first[1])), (4, update(second[0]))]);
    let record = record(&effects);
    assert_eq!((record.closed, record.selected.len(), record.ended), (Closed::CohortComplete, 6, after(4)));
    assert!(record.earlier.is_empty() && record.missing.is_empty());
    for client in [first[0], first[1], second[0]] {
        assert_eq!(outcome_of(&effects, client), Some(&Outcome::Accepted));
    }

    // Three of the six assigned still train, and the next round has one place for another.
    let carried = round.carried().clone();
    assert_eq!(carried.flying.len(), 3);
    assert!(carried.received.is_empty());
    let (mut next, assigned) = open(1, &config, 10, 5, carried.clone());
    assert_eq!(assigned.len(), 1);
    let seeds = |round: &Round, client| round.assignment(client).map(|it| (it.round, it.rounding, it.order));
    for client in carried.flying.keys() {
        assert_eq!(seeds(&next, *client), seeds(&round, *client), "it may ask again for the same");
        assert_eq!(next.assignment(*client).unwrap().round, RoundId(0));
    }
    let old: Vec<_> = carried.flying.keys().copied().collect();
    let effects = play(&mut next, vec![(6, update(old[0])), (7, update(assigned[0])), (8, update(old[1]))]);
    let Some(Effect::Aggregate(counted)) = effects.iter().find(|effect| matches!(effect, Effect::Aggregate(_))) else {
        panic!("{effects:?}");
    };
    let ages: BTreeMap<_, _> = counted.iter().map(|counted| (counted.client, counted.age(RoundId(1)))).collect();
    assert_eq!(ages, [(old[0], 1), (old[1], 1), (assigned[0], 0)].into());
    assert_eq!(super::record(&effects).earlier, [(old[0], RoundId(0)), (old[1], RoundId(0))].into());
}

#[test]
fn who_takes_too_long_or_has_too_old_a_model_is_given_up() {
    let config = config(2, 4, 4);
    let (mut round, all) = open(0, &config, 4, 0, Carried::default());
    assert_eq!(round.deadline(), Some(after(50)));
    play(&mut round, vec![(10, update(all[0]))]);
    let effects = round.step(Event::Tick, after(50));
    let given_up = |client| Effect::GiveUp { client, round: RoundId(0) };
    assert!(all[1..].iter().all(|client| effects.contains(&given_up(*client))), "{effects:?}");
    let Some(Effect::Aggregate(counted)) = effects.iter().find(|effect| matches!(effect, Effect::Aggregate(_))) else {
        panic!("it closes with its quorum: {effects:?}");
    };
    assert_eq!(counted.len(), 1);
    assert_eq!(round.assignment(all[1]), None);

    // A flight that was carried on is given up at its own time, whatever this round's is.
    let flight = Flight { round: RoundId(0), since: after(60) };
    let carried = Carried { flying: [(ClientId(0), flight)].into(), received: Vec::new() };
    let mut next = Round::open(RoundId(1), Seed(1), config.clone(), after(90)).carrying(carried);
    assert_eq!(next.step(Event::Tick, after(90)), [Effect::WakeAt(after(110))]);
    assert!(next.step(Event::Tick, after(110)).contains(&given_up(ClientId(0))));

    // A model is 3 rounds old in round 3, and too old in round 4.
    let flight = |round| Flight { round: RoundId(round), since: after(100) };
    let carried = Carried { flying: [(ClientId(0), flight(0))].into(), received: Vec::new() };
    let stay = Round::open(RoundId(3), Seed(1), config.clone(), after(100)).carrying(carried.clone());
    assert!(stay.assignment(ClientId(0)).is_some());
    let mut old = Round::open(RoundId(4), Seed(1), config, after(100)).carrying(carried);
    assert_eq!(old.assignment(ClientId(0)), None, "not even before it is given up");
    let given_up = Effect::GiveUp { client: ClientId(0), round: RoundId(0) };
    assert_eq!(old.step(Event::Tick, after(101)), [given_up, Effect::WakeAt(after(150))]);
}

#[test]
fn an_abandoned_round_leaves_its_updates_to_the_next() {
    let config = RoundConfig::new(3).unwrap().select_among(3, None);
    let config = config.buffered(Buffer { concurrency: 2, max_staleness: None });
    let (mut round, first) = open(0, &config, 3, 0, Carried::default());
    let effects = play(&mut round, vec![(1, update(first[0]))]);
    let last = assigned(&effects)[0];
    let refused = Event::Refused { client: last, reason: RejectReason::NoSamples };
    let effects = play(&mut round, vec![(2, refused), (3, Event::Lost(first[1]))]);
    let record = record(&effects);
    assert_eq!((record.closed, record.outcomes.len()), (Closed::QuorumMissed, 1), "nobody is left to wait for");
    assert_eq!(outcome_of(&effects, first[0]), None, "its update is not lost");
    let (mut next, assigned) = open(1, &config, 3, 4, round.carried().clone());
    assert!(assigned.len() == 2 && !assigned.contains(&first[0]), "who has no receipt yet trains for no other");
    let effects = play(&mut next, vec![(5, update(assigned[0])), (6, update(assigned[1]))]);
    assert_eq!(super::record(&effects).earlier, [(first[0], RoundId(0))].into());
}

#[test]
fn what_comes_while_a_round_closes_is_the_next_ones() {
    let config = config(1, 3, 3);
    let (mut round, all) = open(0, &config, 3, 0, Carried::default());
    let effects = round.step(update(all[0]), after(1));
    assert!(matches!(effects[0], Effect::Aggregate(_)) && round.record().is_some());
    assert!(round.assignment(all[1]).is_some(), "it flies on");
    assert_eq!(round.step(update(all[1]), after(1)), []);
    let none = Event::Update { client: all[2], samples: 0, digest: [2; 32] };
    assert_eq!(round.step(none, after(1)), [receipt(all[2], Outcome::Rejected(RejectReason::NoSamples))]);
    assert_eq!(round.step(update(all[0]), after(1)), [receipt(all[0], Outcome::Accepted)], "the same bytes again");
    assert!(matches!(round.step(Event::Aggregated, after(1))[..], [Effect::End(_)]));
    assert_eq!((round.carried().flying.len(), round.carried().received.len()), (0, 1));
}

proptest! {
    /// Whatever happens in whatever order: no more train than may, and every good update counts exactly once or is under way.
    #[test]
    fn every_update_counts_once(script in prop::collection::vec((0u64..7, 0u8..8), 1..120)) {
        let config = config(3, 7, 4);
        let (mut round, assigned_first) = open(0, &config, 7, 0, Carried::default());
        let mut flying: BTreeSet<_> = assigned_first.into_iter().collect();
        let (mut sent, mut counted, mut second) = (0, 0, 0);
        for (client, kind) in script {
            second += 1;
            let client = ClientId(client);
            let event = match kind {
                0..4 => update(client),
                4 => Event::Lost(client),
                5 => Event::Refused { client, reason: RejectReason::Malformed(String::new()) },
                6 => Event::CheckIn(client),
                _ => Event::Tick,
            };
            if matches!(event, Event::Update { .. }) && flying.contains(&client) {
                sent += 1;
            }
            if !matches!(event, Event::CheckIn(_) | Event::Tick) {
                flying.remove(&client);
            }
            let mut effects = round.step(event, after(second));
            while let Some(effect) = (!effects.is_empty()).then(|| effects.remove(0)) {
                match effect {
                    Effect::Assign { client, .. } => prop_assert!(flying.insert(client), "it trains already"),
                    Effect::GiveUp { client, .. } => prop_assert!(flying.remove(&client)),
                    Effect::Aggregate(of) => {
                        counted += of.len();
                        let clients: BTreeSet<_> = of.iter().map(|counted| counted.client).collect();
                        prop_assert_eq!(clients.len(), of.len());
                        effects.extend(round.step(Event::Aggregated, after(second)));
                    }
                    Effect::End(record) => {
                        let mut next = Round::open(record.round.next(), Seed(1), config.clone(), after(second))
                            .carrying(round.carried().clone());
                        (0..7).for_each(|client| drop(next.step(Event::CheckIn(ClientId(client)), after(second))));
                        effects.extend(next.step(Event::Tick, after(second)));
                        round = next;
                    }
                    Effect::Receipt { .. } | Effect::WakeAt(_) => {}
                }
            }
            prop_assert!(flying.len() <= 4);
            let of_round: BTreeSet<_> = round.carried().flying.keys().copied().collect();
            prop_assert_eq!(&of_round, &flying);
            prop_assert_eq!(sent, counted + round.carried().received.len());
        }
    }
}
