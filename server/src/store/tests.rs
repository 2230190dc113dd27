//! What is written reads back, and what must not happen does not.

use nibble_seed::{ClientId, RoundId};

use super::{devices::CERTIFICATES, *};
use crate::{
    peer::CertificateFacts,
    round::{DiscardReason, Outcome, RejectReason},
};

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

fn run(name: &str) -> RunRow {
    RunRow { name: name.into(), config: "rounds = 3\n".into(), started: NOW, ended: None, initial_model: [7; 32] }
}

fn update(client: u64) -> Report {
    Report {
        client: ClientId(client),
        at: NOW,
        kind: ReportKind::Update,
        samples: 60,
        digest: Some([client as u8; 32]),
        bytes: 1234,
        metrics: Some(Metrics { train_loss: 0.5, start_loss: Some(0.75), nmse: 0.25 }),
        outcome: None,
        counted: None,
        detail: None,
    }
}

#[test]
fn a_round_is_kept_from_its_opening_to_its_model() {
    let (directory, store) = store();
    store.start_run(&run("a")).unwrap();
    let round = RoundId(0);
    store.open_round("a", round, &[7; 32], NOW).unwrap();
    let cohort = [9, u64::MAX, 3].map(ClientId);
    let schemes = ["int4+ef", "auto:700B", "fp32"].map(|name| name.parse().unwrap());
    store.assign("a", round, &std::array::from_fn::<_, 3, _>(|i| (cohort[i], schemes[i])), NOW).unwrap();
    assert_eq!(store.schemes("a", round).unwrap()[&ClientId(u64::MAX)], schemes[1]);
    let refused = Report {
        kind: ReportKind::Refused,
        outcome: Some(Outcome::Rejected(RejectReason::Malformed("a bad byte".into()))),
        detail: Some("a bad byte".into()),
        metrics: None,
        ..update(3)
    };
    store.report("a", round, &update(9)).unwrap();
    store.report("a", round, &refused).unwrap();
    store.report("a", round, &update(u64::MAX)).unwrap();
    let outcomes = [(ClientId(9), Outcome::Accepted), (ClientId(u64::MAX), Outcome::Discarded(DiscardReason::Late))];
    store
        .close(("a", round), RoundState::Closing, "deadline", NOW, outcomes.iter().map(|(c, o)| (round, *c, o)))
        .unwrap();
    store.commit("a", round, (&[8; 32], &[9; 32]), NOW).unwrap();
    store.evaluated("a", round, 0.75, 0.5).unwrap();
    drop(store);

    let store = Store::look_at(directory.path()).unwrap();
    assert_eq!(store.run("a").unwrap(), Some(run("a")));
    assert_eq!(store.cohort("a", round).unwrap(), cohort);
    let reports = store.reports("a", round).unwrap();
    assert_eq!(reports[0], Report { outcome: Some(Outcome::Accepted), counted: Some(round), ..update(9) });
    assert_eq!(reports[1], refused);
    assert_eq!(reports[2].outcome, Some(Outcome::Discarded(DiscardReason::Late)));
    let row = store.last_round("a").unwrap().unwrap();
    assert_eq!(
        (row.state, row.new_model, row.why.as_deref()),
        (RoundState::Committed, Some([8; 32]), Some("deadline"))
    );
    assert_eq!((row.accuracy, row.loss), (Some(0.75), Some(0.5)));
}

#[test]
fn a_client_reports_once_and_only_from_the_cohort() {
    let (_directory, store) = store();
    store.start_run(&run("a")).unwrap();
    store.open_round("a", RoundId(0), &[7; 32], NOW).unwrap();
    store.assign("a", RoundId(0), &[(ClientId(1), "fp32".parse().unwrap())], NOW).unwrap();
    store.report("a", RoundId(0), &update(1)).unwrap();
    assert!(matches!(store.report("a", RoundId(0), &update(1)), Err(StoreError::Sqlite(_))));
    assert!(matches!(store.report("a", RoundId(0), &update(2)), Err(StoreError::Sqlite(_))));
    assert_eq!(store.reports("a", RoundId(0)).unwrap().len(), 1);
}

#[test]
fn a_failed_transaction_leaves_nothing() {
    let (_directory, mut store) = store();
    let result = store.transaction(|store| {
        store.start_run(&run("a"))?;
        store.start_run(&run("a"))
    });
    assert!(result.is_err());
    assert_eq!(store.runs().unwrap(), []);
    store.transaction(|store| store.start_run(&run("a"))).unwrap();
    assert_eq!(store.runs().unwrap(), [run("a")]);
}

#[test]
fn a_token_works_once_and_a_revocation_for_good() {
    let (_directory, store) = store();
    let token = |digest: u8, client, name: &str| NewToken {
        digest: [digest; 32],
        client: ClientId(client),
        name: name.into(),
        expires_unix: NOW.as_secs() + 60,
    };
    store.add_token(&token(1, 0, "pump")).unwrap();
    assert_eq!(store.free_number().unwrap(), ClientId(1));
    for clash in [token(2, 0, "fan"), token(2, 5, "pump")] {
        assert!(matches!(store.add_token(&clash), Err(StoreError::Device(_))));
    }
    assert_eq!(store.token(&[1; 32], NOW + Duration::from_secs(61)).unwrap(), None, "expired");
    assert_eq!(store.token(&[1; 32], NOW).unwrap(), Some((ClientId(0), "pump".into(), false)));
    let facts = |byte: u8| CertificateFacts {
        fingerprint: [byte; 32],
        public_key: vec![4, byte].into(),
        not_after_unix: NOW.as_secs() + 100 + u64::from(byte),
    };
    assert!(store.enrol(&[1; 32], (ClientId(0), "pump"), &facts(1), NOW).unwrap());
    assert!(!store.enrol(&[1; 32], (ClientId(0), "pump"), &facts(2), NOW).unwrap(), "used up");
    let again = CertificateFacts { public_key: facts(1).public_key, ..facts(7) };
    assert!(store.enrol(&[1; 32], (ClientId(0), "pump"), &again, NOW).unwrap(), "the first answer was lost");
    let identity = store.identify(&[1; 32], NOW.as_secs()).unwrap().unwrap();
    assert_eq!((identity.client, &*identity.name, identity.certificate), (ClientId(0), "pump", Some(facts(1))));
    assert_eq!(store.identify(&[1; 32], NOW.as_secs() + 102).unwrap(), None, "expired");
    assert_eq!(store.identify(&[9; 32], NOW.as_secs()).unwrap(), None, "unknown");
    for number in 10..10 + CERTIFICATES as u8 - 1 {
        store.add_certificate(ClientId(0), &facts(number)).unwrap();
    }
    let is_known = |byte: u8| store.identify(&[byte; 32], NOW.as_secs()).unwrap().is_some();
    assert!(!is_known(1) && is_known(7) && is_known(10), "the last ones stay");
    store.add_certificate(ClientId(0), &facts(100)).unwrap();
    assert!(!is_known(7) && is_known(10) && is_known(100));
    assert!(store.revoke("pump", NOW).unwrap() && !store.revoke("pump", NOW).unwrap());
    assert_eq!(store.identify(&[100; 32], NOW.as_secs()).unwrap(), None, "revoked");
    assert_eq!(store.devices().unwrap()[0].revoked, Some(NOW));
}

#[test]
fn the_ledger_adds_up() {
    let (_directory, store) = store();
    let row = |client: Option<u64>, payload_up| LedgerRow {
        round: RoundId(2),
        client: client.map(ClientId),
        bytes: Bytes { payload_up, wire_down: 1, ..Bytes::default() },
    };
    for add in [row(Some(3), 10), row(None, 1), row(Some(3), 32)] {
        store.add_to_ledger("a", &add).unwrap();
    }
    let both = Bytes { payload_up: 42, wire_down: 2, ..Bytes::default() };
    assert_eq!(store.ledger("a").unwrap(), [row(None, 1), LedgerRow { bytes: both, ..row(Some(3), 0) }]);
}

#[test]
fn a_store_of_another_version_or_none_is_refused() {
    let (directory, store) = store();
    store.connection.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    assert!(matches!(Store::open(directory.path()), Err(StoreError::Version { found: 99, .. })));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Store::look_at(empty.path()), Err(StoreError::Missing { .. })));
}
