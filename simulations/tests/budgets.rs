//! Budgets of bytes: whatever the policy, the links and the drop-outs, no client spends more.

#![allow(clippy::unwrap_used)] // a failing helper is a failing test

use nibble_client::budget::{Account, Budget as Caps};
use nibble_seed::Seed;
use nibble_server::round::Asynchronous;
use nibble_sim::{
    engine::Run,
    experiment::{Availability, Budget, Experiment, Links, Raw},
    federation::Federation,
    results::{ClassRow, RoundRow},
};
use proptest::prelude::*;

const ROUNDS: u64 = 8;

fn experiment(scheme: &str, budget: Option<Budget>, dropout: f64, links: Option<Links>) -> Experiment {
    of_model("logreg", scheme, budget, dropout, links)
}

fn of_model(model: &str, scheme: &str, budget: Option<Budget>, dropout: f64, links: Option<Links>) -> Experiment {
    raw_of(model, scheme, budget, dropout, links).try_into().unwrap()
}

fn raw_of(model: &str, scheme: &str, budget: Option<Budget>, dropout: f64, links: Option<Links>) -> Raw {
    let mut raw = Raw { rounds: ROUNDS, budget, links, ..Raw::default() };
    raw.model.name = model.into();
    raw.data.clients = 12;
    raw.cohort.size = 4;
    raw.cohort.quorum = Some(1);
    raw.availability = Availability { dropout, ..raw.availability };
    raw.compression.uplink = vec![scheme.into()];
    raw
}

/// Plays a run, and looks at every account after every round.
fn play(experiment: &Experiment, seed: u64, look: impl Fn(&Caps, &Account)) -> (Vec<RoundRow>, Vec<ClassRow>) {
    let (federation, dir) = (Federation::load(experiment).unwrap(), tempfile::tempdir().unwrap());
    let mut run = Run::open(experiment, &federation, (experiment.schemes[0], Seed(seed)), 2, dir.path()).unwrap();
    while !run.is_done() {
        run.step().unwrap();
        run.accounts().for_each(|(budget, account)| look(budget, account.unwrap_or(&Account::default())));
    }
    let spent = |of: fn(&Account) -> u64| run.accounts().filter_map(|(_, account)| account).map(of).sum::<u64>();
    let classes = run.progress().classes.clone();
    if !classes.is_empty() {
        assert_eq!(spent(|account| account.up.run), classes.iter().map(|row| row.spent_up).sum::<u64>());
        assert_eq!(spent(|account| account.down.run), classes.iter().map(|row| row.spent_down).sum::<u64>());
    }
    (run.progress().rows.clone(), classes)
}

fn within(budget: &Caps, account: &Account) {
    for (caps, spent) in [(budget.up, account.up), (budget.down, account.down)] {
        for (cap, spent) in [(caps.round, spent.round), (caps.day, spent.day), (caps.run, spent.run)] {
            assert!(cap.is_none_or(|cap| spent <= cap), "{budget:?}, {account:?}");
        }
    }
}

fn cap(range: std::ops::Range<u64>) -> impl Strategy<Value = Option<u64>> {
    prop::option::weighted(0.4, range)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_client_spends_more_than_it_may(
        scheme in prop::sample::select(vec![
            "fp32", "int4+ef", "int8@adaptive", "auto:0.5", "auto:700B", "plan:1kB+ef", "auto:1/auto:1", "int2/int4",
            "auto:step=0.01/auto:2", "auto:1@ascending/auto:0.5", "fit+ef", "fit@descending/auto:0.5",
        ]),
        up in [cap(1_000..60_000), cap(1_000..20_000), cap(1_000..40_000)],
        down in [cap(1_000..150_000), cap(1_000..60_000), cap(1_000..90_000)],
        class in cap(1_500..20_000),
        seconds in prop::option::weighted(0.3, 0.1..20.0),
        dropout in prop::sample::select(vec![0.0, 0.3]),
        (model, times) in prop::sample::select(vec![("logreg", 1), ("mlp", 25)]),
        // Rounds that do not wait, and give up whoever is late: most of those on NB-IoT.
        waits in prop::bool::weighted(0.7),
        seed in 0u64..1000,
    ) {
        let larger = |cap: Option<u64>| cap.map(|bytes| bytes * times);
        let (up, down, class) = (up.map(larger), down.map(larger), larger(class));
        let budget = Budget {
            // `fit` wants one that is there.
            uplink_bytes: up[0].or(Some(50_000)),
            uplink_bytes_per_round: up[1],
            uplink_bytes_per_day: up[2],
            downlink_bytes: down[0],
            downlink_bytes_per_round: down[1],
            downlink_bytes_per_day: down[2],
            uplink_seconds_per_round: seconds,
            classes: [("nb-iot".into(), Budget { uplink_bytes: class, ..Budget::default() })].into(),
        };
        let links = Links { profiles: [("nb-iot".into(), 1.0), ("lte".into(), 1.0)].into(), ..Links::default() };
        let mut raw = raw_of(model, scheme, Some(budget), dropout, Some(links));
        if !waits {
            raw.asynchronous = Some(Asynchronous { concurrency: 6, staleness: 0.5, max_staleness: Some(1) });
            raw.cohort.deadline_seconds = Some(5.0);
        }
        play(&raw.try_into().unwrap(), seed, within);
    }
}

#[test]
fn whoever_is_given_up_has_spent_what_it_sent() {
    let links = Links { profile: Some("nb-iot".into()), ..Links::default() };
    let mut raw = raw_of("logreg", "int4", Some(Budget::default()), 0.0, Some(links));
    raw.asynchronous = Some(Asynchronous { concurrency: 6, staleness: 0.5, max_staleness: None });
    // An update of 4 kB takes some, and not everybody's comes in time.
    raw.links.as_mut().unwrap().spread = 0.5;
    raw.cohort.deadline_seconds = Some(12.0);
    let (rows, classes) = play(&raw.try_into().unwrap(), 3, within);
    let sum = |of: fn(&RoundRow) -> u64| rows.iter().map(of).sum::<u64>();
    let (counted, late) = (sum(|row| row.counted), sum(|row| row.uncounted));
    assert!(counted > 0 && late > 0, "{counted} in time, {late} late");
    let [all] = &classes[..] else { panic!("{classes:?}") };
    assert_eq!((all.counted, all.uncounted, all.uplink_bytes), (counted, late, sum(|row| row.uplink_bytes)));
    assert_eq!(all.spent_up, (counted + late) * nibble_server::wire::up(all.uplink_bytes / (counted + late)));
}

#[test]
fn running_out_has_a_clear_outcome_and_the_model_stays() {
    let (free, _) = play(&experiment("int4", None, 0.0, None), 3, within);
    // Twelve clients, four a round or, at the end, those who are left: each can afford two updates.
    let bytes = 2 * nibble_server::wire::up(free[0].uplink_bytes / 4);
    let budget = Budget { uplink_bytes: Some(bytes), ..Budget::default() };
    let (rows, classes) = play(&experiment("int4", Some(budget), 0.0, None), 3, within);
    let ended = rows.iter().position(|row| row.selected == 0).unwrap();
    assert!((6..8).contains(&ended), "{ended} rounds");
    for row in &rows[ended..] {
        assert_eq!((row.counted, row.uplink_bytes, row.downlink_bytes), (0, 0, 0));
        assert_eq!(row.closed_by, "abandoned: too few clients: they have no bytes left");
        assert_eq!(row.accuracy, rows[ended - 1].accuracy);
    }
    // Until somebody ran out nothing was different.
    assert_eq!(rows[0].accuracy, free[0].accuracy);
    let [all] = &classes[..] else { panic!("{classes:?}") };
    assert_eq!((all.class.as_str(), all.clients, all.budget_up, all.budget_down), ("all", 12, Some(12 * bytes), None));
    assert_eq!(all.spent_up, 12 * bytes, "all that there was");
}

#[test]
fn fit_spends_what_there_is_and_lasts_to_the_end() {
    let budget = Budget { uplink_bytes: Some(20_000), ..Budget::default() };
    let (rows, classes) = play(&experiment("fit+ef", Some(budget), 0.0, None), 3, within);
    assert!(rows.iter().all(|row| row.counted == 4), "every round has its cohort");
    let (spent, most) = (classes[0].spent_up, classes[0].budget_up.unwrap());
    // Who is drawn less often than the mean keeps some of it.
    assert!(spent > most / 2 && spent <= most, "{spent} of {most}");
}

#[test]
fn a_day_that_is_over_gives_its_bytes_again() {
    let links = Links { profile: Some("nb-iot".into()), ..Links::default() };
    let budget = Budget { uplink_bytes_per_day: Some(6_000), ..Budget::default() };
    let slow = experiment("int4", Some(budget), 0.0, Some(links));
    // An update a day, and twelve clients: after three rounds the fourth is on the next day.
    let (rows, _) = play(&slow, 3, within);
    assert!(rows.iter().all(|row| row.counted == 4));
    let days: Vec<_> = rows.iter().map(|row| (row.virtual_seconds / 86_400.0) as u64).collect();
    assert_eq!(days, [0, 0, 0, 1, 1, 1, 2, 2]);
}

#[test]
fn fast_links_get_more_bits() {
    let budget = Budget { uplink_seconds_per_round: Some(0.1), ..Budget::default() };
    let links = Links { profiles: [("lte-m".into(), 1.0), ("lte".into(), 1.0)].into(), ..Links::default() };
    let (_, classes) = play(&experiment("fit", Some(budget), 0.0, Some(links)), 3, within);
    let each = |class: &str| {
        let row = classes.iter().find(|row| row.class == class).unwrap();
        row.uplink_bytes / row.selected
    };
    // 375 kbit/s for a tenth of a second are 4,687 bytes, messages and all; of 12 Mbit/s, 8 bits for each of 7,850
    // coordinates are all that is of use.
    assert!((7_000..7_900).contains(&each("lte")), "{}", each("lte"));
    assert!((3_000..3_440).contains(&each("lte-m")), "{}", each("lte-m"));
}

#[test]
fn a_cohort_never_sends_more_than_it_may_and_whoever_weighs_more_sends_more() {
    const MOST: u64 = 20_000;
    let play = |threads| {
        let mut raw = Raw { rounds: ROUNDS, ..Raw::default() };
        raw.model.name = "logreg".into();
        raw.data.clients = 12;
        raw.data.partition =
            toml::from_str::<toml::Table>("kind = \"size-skewed\"\nsigma = 1.0").unwrap().try_into().unwrap();
        (raw.cohort.size, raw.cohort.uplink_bytes) = (6, Some(MOST));
        raw.compression.uplink = vec!["fit".into()];
        let experiment: Experiment = raw.try_into().unwrap();
        let (federation, dir) = (Federation::load(&experiment).unwrap(), tempfile::tempdir().unwrap());
        let which = (experiment.schemes[0], Seed(3));
        let mut run = Run::open(&experiment, &federation, which, threads, dir.path()).unwrap();
        let (mut spent, mut sent) = (vec![0; 12], Vec::new());
        while !run.is_done() {
            run.step().unwrap();
            let now: Vec<u64> =
                run.accounts().map(|(_, account)| account.map_or(0, |account| account.up.run)).collect();
            sent.push(now.iter().zip(&spent).map(|(now, before)| now - before).collect::<Vec<_>>());
            spent = now;
        }
        let samples: Vec<_> = federation.assignment().clients.iter().map(Vec::len).collect();
        (sent, samples, run.progress().global.clone())
    };
    let (sent, samples, global) = play(1);
    for round in &sent {
        let all = round.iter().sum::<u64>();
        assert!(round.iter().filter(|bytes| **bytes > 0).count() == 6, "{round:?}");
        assert!(all <= MOST && all > MOST * 99 / 100, "{all} bytes");
    }
    // Of whom something was heard before.
    let (last, before) = sent.split_last().unwrap();
    let is_known = |client: &usize| last[*client] > 0 && before.iter().any(|round| round[*client] > 0);
    let mut members: Vec<_> = (0..12).filter(is_known).map(|client| (samples[client], last[client])).collect();
    members.sort_unstable();
    assert!(members.len() > 3 && members.is_sorted_by_key(|(_, sent)| *sent), "{members:?}");
    assert!(members.last().unwrap().1 > members[0].1 + 1000, "{members:?}");
    assert_eq!(play(3).2, global);
}
