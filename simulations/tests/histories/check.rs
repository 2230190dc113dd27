//! What must hold after every history.

use std::collections::{BTreeMap, BTreeSet};

use nibble_client::state;
use nibble_codec::Scheme;
use nibble_seed::RoundId;
use nibble_server::{
    models::{Models, name_of},
    round::Outcome,
    store::{ReportKind, RoundRow, RoundState, Store},
};

use crate::{
    processes::RUN,
    replay::Replay,
    script::History,
    world::{DOUBLES, Played},
};

/// What happened in a history, to be compared with another play of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// Rounds, cohorts, reports, receipts and times, spelled out.
    pub(crate) text: String,
    /// How often each kind of thing happened.
    pub(crate) counts: BTreeMap<String, usize>,
}

impl Record {
    fn count(&mut self, kind: &str, times: usize) {
        *self.counts.entry(kind.into()).or_default() += times;
    }
}

/// Checks a history that was played.
pub(crate) fn check(history: &History, played: &Played) -> Record {
    let directory = played.coordinator();
    let store = Store::look_at(&directory).expect("the store can be read");
    let run = store.run(RUN).expect("the store can be read").expect("the run was begun");
    assert!(run.ended.is_some(), "the run has ended in the store");
    let rounds = store.rounds(RUN).expect("the store can be read");
    assert_eq!(rounds.len() as u64, history.rounds, "every round is there, once");
    let mut replay = Replay::new(history);
    let mut record =
        Record { text: format!("ended {:?}\n{:?}", played.ended, played.receipts), counts: played.faults.clone() };
    record.count("failed call", played.setbacks);
    record.count("resumed transfer", played.resumed);
    if history.round.buffer().is_some() {
        buffered(history, played, &store, &rounds, &mut replay, &mut record);
    } else {
        for row in &rounds {
            round(history, played, &store, row, &mut replay, &mut record);
        }
    }
    let last = rounds.last().expect("there are rounds");
    let model = last.new_model.unwrap_or(last.model);
    assert_eq!(model, name_of(&replay.global), "the last model is the one computed again, bit for bit");
    let models = Models::open(directory.join("models").join(RUN), None).expect("models can be opened");
    assert!(models.frame(&model).is_some(), "the last model is kept");
    for client in 0..history.clients {
        residual(history, played, client, &replay);
    }
    record
}

/// One round: who was selected, what they sent, what they were told, and what it came to.
fn round(history: &History, played: &Played, store: &Store, row: &RoundRow, replay: &mut Replay, record: &mut Record) {
    let id = row.round;
    let cohort = store.cohort(RUN, id).expect("the store can be read");
    let reports = store.reports(RUN, id).expect("the store can be read");
    record.text += &format!("\n{row:?}\n{cohort:?}\n{reports:?}");
    assert_eq!(row.model, name_of(&replay.global), "{id}: it starts from the model before it, bit for bit");
    let members: BTreeSet<u64> = cohort.iter().map(|client| client.0).collect();
    assert_eq!(members.len(), cohort.len(), "{id}: nobody is selected twice");
    assert!(cohort.len() <= history.round.selected(), "{id}: no more are selected than configured");
    let by_client: BTreeMap<u64, _> = reports.iter().map(|report| (report.client.0, report)).collect();
    assert_eq!(by_client.len(), reports.len(), "{id}: nobody reports twice");
    assert!(by_client.keys().all(|client| members.contains(client)), "{id}: only the cohort reports");
    assert!(reports.iter().all(|report| report.kind == ReportKind::Update), "{id}: nothing but good updates");

    let (mut told, mut doubles) = (BTreeMap::new(), Vec::new());
    for receipt in played.receipts.iter().filter(|receipt| receipt.round == id.0) {
        if receipt.client >= DOUBLES {
            doubles.push((receipt.client - DOUBLES, receipt.outcome.as_str()));
            continue;
        }
        let before = told.insert(receipt.client, receipt.outcome.as_str());
        assert_eq!(before, None, "{id}: client {} settles its update once", receipt.client);
        assert!(members.contains(&receipt.client), "{id}: client {} was selected", receipt.client);
    }
    assert!(by_client.keys().all(|client| told.contains_key(client)), "{id}: whoever reported has a receipt");
    let mut accepted = 0;
    for (&client, &outcome) in &told {
        let report = by_client.get(&client);
        let expected = match report.map(|report| &report.outcome) {
            Some(Some(Outcome::Accepted)) => "OUTCOME_ACCEPTED",
            Some(Some(Outcome::Discarded(_))) | None => "OUTCOME_DISCARDED",
            other => panic!("{id}: the update of client {client} became {other:?}"),
        };
        assert_eq!(outcome, expected, "{id}: client {client} was told what the store says");
        let counts = outcome == "OUTCOME_ACCEPTED";
        accepted += usize::from(counts);
        record.count(outcome, 1);
        let digest = replay.take_part(id, &members, client, counts);
        if let Some(report) = report {
            assert_eq!(report.digest, Some(digest), "{id}: client {client} sent what it should have, bit for bit");
        }
    }
    for (client, outcome) in doubles {
        assert_eq!(told.get(&client), Some(&outcome), "{id}: both processes of client {client} are told the same");
        record.count("receipt of a double", 1);
    }
    match row.state {
        RoundState::Committed => {
            assert!((history.quorum..=history.round.cohort()).contains(&accepted), "{id}: {accepted} count");
            replay.end_round();
            assert_eq!(row.new_model, Some(name_of(&replay.global)), "{id}: the new model, bit for bit");
        }
        RoundState::Abandoned => assert_eq!((accepted, row.new_model), (0, None), "{id}: nobody counts"),
        state => panic!("{id}: it is {state}, and the run has ended"),
    }
    record.count(&row.state.to_string(), 1);
}

/// All rounds of a run whose rounds do not wait: every update that was counted is computed again from the model that its client
/// was given, whatever was made since.
fn buffered(
    history: &History,
    played: &Played,
    store: &Store,
    rounds: &[RoundRow],
    replay: &mut Replay,
    record: &mut Record,
) {
    // What each client was told, in the order in which it trained.
    let mut told: BTreeMap<u64, BTreeMap<u64, &str>> = BTreeMap::new();
    for receipt in played.receipts.iter().filter(|receipt| receipt.client < DOUBLES) {
        let before = told.entry(receipt.client).or_default().insert(receipt.round, &receipt.outcome);
        assert_eq!(before, None, "client {} settles its update of round {} once", receipt.client, receipt.round);
        record.count(&receipt.outcome, 1);
    }
    for double in played.receipts.iter().filter(|receipt| receipt.client >= DOUBLES) {
        let first = told.get(&(double.client - DOUBLES)).and_then(|rounds| rounds.get(&double.round));
        assert_eq!(first, Some(&double.outcome.as_str()), "both processes of a client are told the same");
        record.count("receipt of a double", 1);
    }
    let mut models = BTreeMap::new();
    let discard = |replay: &mut Replay, models: &BTreeMap<u64, Vec<f32>>, client, (round, outcome): (u64, &str)| {
        assert_eq!(outcome, "OUTCOME_DISCARDED", "an update of client {client}, round {round}, is in no round's count");
        replay.take_part_from(RoundId(round), &models[&round], client, None);
    };
    for row in rounds {
        let id = row.round;
        let cohort = store.cohort(RUN, id).expect("the store can be read");
        let updates = store.updates_in(RUN, id).expect("the store can be read");
        record.text += &format!("\n{row:?}\n{cohort:?}\n{updates:?}");
        assert_eq!(row.model, name_of(&replay.global), "{id}: it starts from the model before it, bit for bit");
        models.insert(id.0, replay.global.clone());
        let members: BTreeSet<_> = cohort.iter().collect();
        assert_eq!(members.len(), cohort.len(), "{id}: nobody is assigned twice");
        let decided = updates.into_iter().filter(|(_, report)| report.counted == Some(id));
        let (mut counted, dropped): (Vec<_>, Vec<_>) =
            decided.partition(|(_, report)| report.outcome == Some(Outcome::Accepted));
        let is_end = id.0 + 1 == history.rounds && row.state == RoundState::Abandoned;
        assert!(dropped.is_empty() || is_end, "{id}: only the end of the run leaves good updates out");
        counted.sort_by_key(|(_, report)| report.client);
        for (of, report) in &counted {
            let client = report.client.0;
            let mine = told.get_mut(&client).expect("whoever counts has a receipt");
            while let Some(earlier) = mine.first_entry().filter(|entry| *entry.key() < of.0) {
                discard(replay, &models, client, earlier.remove_entry());
            }
            assert_eq!(mine.remove(&of.0), Some("OUTCOME_ACCEPTED"), "{id}: client {client} was told so");
            let age = id.0 - of.0;
            let most = history.round.buffer().and_then(|buffer| buffer.max_staleness);
            // What an abandoned round keeps grows older.
            let kept = rounds[of.0 as usize..id.0 as usize].iter().any(|row| row.state == RoundState::Abandoned);
            assert!(kept || most.is_none_or(|most| age <= most), "{id}: an update is {age} models old");
            record.count(if age > 0 { "older update" } else { "newest update" }, 1);
            let digest = replay.take_part_from(*of, &models[&of.0], client, Some((1.0 + age as f64).powf(-0.5)));
            assert_eq!(report.digest, Some(digest), "{id}: client {client} sent what it should have, bit for bit");
        }
        match row.state {
            RoundState::Committed => {
                let count = counted.len();
                assert!((history.quorum..=history.round.cohort()).contains(&count), "{id}: {count} count");
                replay.end_round();
                assert_eq!(row.new_model, Some(name_of(&replay.global)), "{id}: the new model, bit for bit");
            }
            RoundState::Abandoned => assert_eq!((counted.len(), row.new_model), (0, None), "{id}: nobody counts"),
            state => panic!("{id}: it is {state}, and the run has ended"),
        }
        record.count(&row.state.to_string(), 1);
    }
    for (client, left) in told {
        for (round, outcome) in left {
            discard(replay, &models, client, (round, outcome));
        }
    }
}

/// What a client has left over.
fn residual(history: &History, played: &Played, client: u64, replay: &Replay) {
    let state = state::Store::peek(&played.client(client)).expect("the state can be read");
    let (summary, residual) = state.expect("the client has begun");
    assert!(summary.pending.is_none(), "client {client} has nothing pending");
    assert_eq!(residual, replay.residual(client), "client {client} has left what it should, bit for bit");
    let scheme: Scheme = history.scheme.parse().expect("a scheme that there is");
    if scheme.feedback && !residual.is_empty() {
        let lost = replay.lost_mass(client, &residual);
        assert!(lost < 1e-5, "client {client} has lost {lost} of what it learnt");
    }
}
