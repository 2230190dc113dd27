//! The coordinator without sockets: commands in, answers out, and everything on disk in between.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nibble_codec::{Encoder, Layout, PayloadId, Scheme};
use nibble_seed::{ClientId, RoundId, Seed};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::*;
use crate::{
    aggregation::Aggregation,
    budget::{Budget, Caps},
    clock::Clock,
    evaluation::{Evaluate, Evaluation},
    models::{Models, NewModel},
    round::{DiscardReason, Outcome, RejectReason, RoundConfig},
    selection::{PowerOfChoice, Rule},
    spool::{Place, Spool},
    store::{Allowance, Bytes, Metrics, RoundState, Store},
};

const HOLD: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Duration {
        Duration::from_secs(1_800_000_000) + Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

fn layout() -> Layout {
    Layout::new([("w", vec![3])]).unwrap()
}

fn plan(rounds: u64, config: RoundConfig) -> Plan {
    Plan {
        name: "run".into(),
        config: format!("rounds = {rounds}\n"),
        seed: Seed(3),
        rounds,
        round: config,
        decline_pause: Duration::from_secs(60),
        layout: layout(),
        architecture: "mine".into(),
        policy: "fp32".parse().unwrap(),
        cohort_uplink_bytes: None,
        personal: Vec::new(),
        aggregation: Aggregation::default(),
        strategy: Default::default(),
        downlink: None,
        initial_seed: None,
        training: Training { batch: 1, ..Training::default() },
        max_payload_bytes: 1000,
    }
}

/// A coordinator of two clients over a directory, until it is dropped.
struct House {
    handle: Handle,
    spool: Arc<Spool>,
    models: Arc<Models>,
    clock: Arc<Hand>,
    ledger: Arc<Ledger>,
    over: watch::Receiver<bool>,
    task: JoinHandle<Result<(), CoordinatorError>>,
}

impl House {
    async fn open(directory: &Path, plan: Plan) -> Self {
        Self::open_with(directory, plan, || vec![1.0, 2.0, 3.0]).await
    }

    async fn open_with(directory: &Path, plan: Plan, initial: fn() -> Vec<f32>) -> Self {
        let models = Arc::new(Models::open(directory.join("models"), None).unwrap());
        Self::open_followed(directory, plan, initial, models, Vec::new()).await
    }

    /// With others that are told of every new model.
    async fn open_followed(
        directory: &Path,
        plan: Plan,
        initial: fn() -> Vec<f32>,
        models: Arc<Models>,
        followers: Vec<mpsc::UnboundedSender<NewModel>>,
    ) -> Self {
        let spool = Spool::open(directory.join("spool")).unwrap();
        let (clock, (over, is_over)) = (Arc::new(Hand::default()), watch::channel(false));
        let ledger = Arc::new(Ledger::default());
        let parts = Parts {
            plan: Arc::new(plan),
            store: Store::open(directory).unwrap(),
            spool: Arc::clone(&spool),
            models: Arc::clone(&models),
            clock: Arc::<Hand>::clone(&clock),
            ledger: Arc::clone(&ledger),
            threads: 2,
            followers,
            over,
        };
        let coordinator = Coordinator::start(parts, initial).await.unwrap();
        let (handle, commands) = Handle::new();
        let task = tokio::spawn(coordinator.run(commands, std::future::pending()));
        Self { handle, spool, models, clock, ledger, over: is_over, task }
    }

    async fn check_in(&self, client: u64, pending: Option<UpdateRef>) -> Instruction {
        self.ask(client, Asks { pending, ..Asks::default() }).await
    }

    async fn ask(&self, client: u64, asks: Asks) -> Instruction {
        let (client, asks) = (ClientId(client), Asks { hold: HOLD, ..asks });
        self.handle.ask(|reply| Command::CheckIn { client, asks, reply }).await.unwrap()
    }

    /// Checks in with so many bytes to send in the run, and no other cap.
    async fn check_in_with(&self, client: u64, up: u64) -> Instruction {
        let allowance = Allowance { up: Some(up), up_in_run: Some(up), ..Allowance::default() };
        self.ask(client, Asks { allowance, ..Asks::default() }).await
    }

    async fn both_assigned(&self) -> [Assignment; 2] {
        let (a, b) = tokio::join!(self.check_in(0, None), self.check_in(1, None));
        [a, b].map(|instruction| match instruction {
            Instruction::Assign(assignment) => assignment,
            other => panic!("{other:?}"),
        })
    }

    /// Sends a delta; gives its name and what is known of its outcome.
    async fn send(&self, client: u64, assigned: &Assignment, delta: [f32; 3]) -> (UpdateRef, Option<Outcome>) {
        self.send_with_loss(client, assigned, delta, 0.5).await
    }

    async fn send_with_loss(
        &self,
        client: u64,
        assigned: &Assignment,
        delta: [f32; 3],
        train_loss: f64,
    ) -> (UpdateRef, Option<Outcome>) {
        let id = PayloadId { round: assigned.round, seed: assigned.rounding };
        let mut bytes = Vec::new();
        Encoder::new(assigned.scheme).encode(&layout(), &delta, id, &mut bytes).unwrap();
        let digest = Sha256::digest(&bytes).into();
        let client = ClientId(client);
        let place = Place { round: assigned.round, client, digest, bytes: bytes.len() as u64 };
        let update = UpdateRef { run: "run".into(), round: assigned.round, digest };
        let asked = update.clone();
        match self.handle.ask(|reply| Command::Admit { client, update: asked, reply }).await.unwrap() {
            Admission::Decided(outcome) => return (update, Some(outcome)),
            Admission::Stored => return (update, None),
            Admission::Send { scheme, rounding } => {
                assert_eq!((scheme, rounding), (assigned.scheme, assigned.rounding));
            }
        }
        let mut upload = self.spool.resume(place).unwrap();
        upload.write(0, &bytes).unwrap();
        upload.finish(&layout(), |_| Ok(())).unwrap();
        let sent =
            Sent { place, run: "run".into(), samples: 1, metrics: Metrics { train_loss, start_loss: None, nmse: 0.0 } };
        (update, self.handle.ask(|reply| Command::Arrived { sent, reply }).await.unwrap())
    }

    /// Checks in, and does not wait.
    async fn glance(&self, client: u64) -> Instruction {
        let asked = |reply| Command::CheckIn { client: ClientId(client), asks: Asks::default(), reply };
        self.handle.ask(asked).await.unwrap()
    }

    /// Lets clients `0..count` check in without waiting, twice; gives the one that was assigned a round.
    async fn the_assigned(&self, count: u64) -> (u64, Assignment) {
        let mut assigned = None;
        for client in (0..count).chain(0..count) {
            if let Instruction::Assign(assignment) = self.glance(client).await {
                assigned = Some((client, assignment));
            }
        }
        assigned.expect("a round of all of them")
    }

    async fn model(&self, assigned: &Assignment) -> Vec<f32> {
        self.models.get(&layout(), &assigned.model.name).unwrap()
    }

    /// As a kill would: whatever was not durable is gone.
    fn kill(self) {
        self.task.abort();
    }
}

fn receipt(instruction: Instruction) -> Outcome {
    match instruction {
        Instruction::Receipt(_, outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn two_clients_move_the_model_and_hear_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut house = House::open(directory.path(), plan(2, RoundConfig::new(2).unwrap())).await;
    let [a, b] = house.both_assigned().await;
    assert_eq!(house.model(&a).await, [1.0, 2.0, 3.0]);
    let (first, undecided) = house.send(0, &a, [1.0, 0.0, 0.0]).await;
    assert_eq!(undecided, None);
    let (second, decided) = house.send(1, &b, [0.0, 1.0, 0.0]).await;
    assert_eq!(decided, Some(Outcome::Accepted), "the last one closes the round");
    assert_eq!(receipt(house.check_in(0, Some(first)).await), Outcome::Accepted);
    assert_eq!(receipt(house.check_in(1, Some(second)).await), Outcome::Accepted);
    let [a, b] = house.both_assigned().await;
    assert_eq!(house.model(&a).await, [1.5, 2.5, 3.0]);
    house.send(0, &a, [0.0; 3]).await;
    house.send(1, &b, [0.0, 0.0, 2.0]).await;
    assert!(matches!(house.check_in(0, None).await, Instruction::Finished(run) if run == "run"));
    assert!(*house.over.wait_for(|over| *over).await.unwrap());
}

#[tokio::test]
async fn a_coordinator_that_was_killed_goes_on_with_what_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let whole = || plan(1, RoundConfig::new(2).unwrap());
    let house = House::open(directory.path(), whole()).await;
    let [a, b] = house.both_assigned().await;
    let (first, _) = house.send(0, &a, [1.0, 0.0, 0.0]).await;
    house.kill();

    let house = House::open(directory.path(), whole()).await;
    let again = match house.check_in(1, None).await {
        Instruction::Assign(assignment) => assignment,
        other => panic!("{other:?}"),
    };
    assert_eq!((again.round, again.rounding, again.order), (b.round, b.rounding, b.order));
    let (_, repeated) = house.send(0, &a, [1.0, 0.0, 0.0]).await;
    assert_eq!(repeated, None, "the same bytes again are the same update");
    let (_, other) = house.send(0, &a, [9.0, 0.0, 0.0]).await;
    assert_eq!(other, Some(Outcome::Rejected(RejectReason::Conflict)));
    house.send(1, &again, [0.0, 1.0, 0.0]).await;
    assert_eq!(receipt(house.check_in(0, Some(first.clone())).await), Outcome::Accepted);
    house.kill();

    let house = House::open(directory.path(), whole()).await;
    assert_eq!(receipt(house.check_in(0, Some(first)).await), Outcome::Accepted, "also when the run is over");
    let store = Store::look_at(directory.path()).unwrap();
    let model = store.last_round("run").unwrap().unwrap().new_model.unwrap();
    assert_eq!(house.models.get(&layout(), &model).unwrap(), [1.5, 2.5, 3.0]);
}

#[tokio::test]
async fn models_that_waited_to_be_evaluated_when_the_coordinator_was_killed_are_evaluated() {
    struct First;
    impl Evaluate for First {
        fn evaluate(&mut self, parameters: &[f32]) -> Result<(f64, f64), String> {
            Ok((parameters[0].into(), 0.25))
        }
    }
    const ROUNDS: u64 = 5;
    let directory = tempfile::tempdir().unwrap();
    let models = || Arc::new(Models::open(directory.path().join("models"), None).unwrap());
    let whole = || plan(ROUNDS, RoundConfig::new(1).unwrap());
    let (slow, unread) = mpsc::unbounded_channel();
    let house = House::open_followed(directory.path(), whole(), || vec![0.0; 3], models(), vec![slow]).await;
    for _ in 0..ROUNDS {
        let (client, assigned) = house.the_assigned(1).await;
        house.send(client, &assigned, [0.125, 0.0, 0.0]).await;
    }
    house.kill();
    drop(unread);

    let (whole_plan, kept) = (whole(), models());
    let of = ("run", &whole_plan.layout);
    let evaluation = Evaluation::new(Box::new(First), directory.path(), of, Arc::clone(&kept)).unwrap();
    let (sender, evaluating) = evaluation.spawn();
    House::open_followed(directory.path(), whole(), || unreachable!(), kept, vec![sender]).await.kill();
    tokio::task::spawn_blocking(move || evaluating.end(true)).await.unwrap().unwrap();
    let rounds = Store::look_at(directory.path()).unwrap().rounds("run").unwrap();
    let accuracies: Vec<_> = rounds.iter().map(|row| row.accuracy).collect();
    assert_eq!(accuracies, [0.125, 0.25, 0.375, 0.5, 0.625].map(Some));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_closes_with_the_quorum_and_the_rest_is_late() {
    let directory = tempfile::tempdir().unwrap();
    let config = RoundConfig::new(2).unwrap().quorum(1).unwrap().deadline(Duration::from_secs(60)).unwrap();
    let house = House::open(directory.path(), plan(2, config)).await;
    let [a, b] = house.both_assigned().await;
    assert_eq!(a.deadline, Some(Duration::from_secs(60)));
    let (first, _) = house.send(0, &a, [4.0, 0.0, 0.0]).await;
    house.clock.0.store(60_000, Ordering::SeqCst);
    assert_eq!(receipt(house.check_in(0, Some(first)).await), Outcome::Accepted);
    let (_, late) = house.send(1, &b, [0.0, 4.0, 0.0]).await;
    assert_eq!(late, Some(Outcome::Discarded(DiscardReason::Late)));
    let row = Store::look_at(directory.path()).unwrap().round("run", RoundId(0)).unwrap().unwrap();
    assert_eq!((row.state, row.why.as_deref()), (RoundState::Committed, Some("deadline")));
}

#[tokio::test(start_paused = true)]
async fn a_round_that_misses_its_quorum_is_abandoned_and_the_next_one_begins() {
    let directory = tempfile::tempdir().unwrap();
    let house = House::open(directory.path(), plan(2, RoundConfig::new(2).unwrap())).await;
    let [a, b] = house.both_assigned().await;
    let (first, _) = house.send(0, &a, [1.0, 0.0, 0.0]).await;
    let (client, run, round) = (ClientId(1), "run".to_owned(), b.round);
    let reason = "no power".to_owned();
    house.handle.ask(|reply| Command::Declined { client, run, round, reason, reply }).await.unwrap();
    let outcome = receipt(house.check_in(0, Some(first)).await);
    assert_eq!(outcome, Outcome::Discarded(DiscardReason::Abandoned));
    let held = house.check_in(1, None);
    assert!(tokio::time::timeout(Duration::from_secs(50), held).await.is_err(), "who declined is not asked at once");
    house.clock.0.store(60_000, Ordering::SeqCst);
    let [a, _] = house.both_assigned().await;
    assert_eq!((a.round, house.model(&a).await), (RoundId(1), vec![1.0, 2.0, 3.0]));
}

#[tokio::test]
async fn what_nobody_asked_for_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let house = House::open(directory.path(), plan(2, RoundConfig::new(2).unwrap())).await;
    house.both_assigned().await;
    let update = |run: &str, round| UpdateRef { run: run.into(), round: RoundId(round), digest: [1; 32] };
    for (client, update, reason) in [
        (0, update("other", 0), RejectReason::UnknownRound),
        (0, update("run", 7), RejectReason::UnknownRound),
        (5, update("run", 0), RejectReason::NotSelected),
    ] {
        assert_eq!(receipt(house.check_in(client, Some(update)).await), Outcome::Rejected(reason));
    }
    assert!(matches!(house.check_in(0, Some(update("run", 0))).await, Instruction::SendPending));
}

#[tokio::test]
async fn a_run_does_not_go_on_under_another_configuration() {
    let directory = tempfile::tempdir().unwrap();
    House::open(directory.path(), plan(2, RoundConfig::new(2).unwrap())).await.kill();
    let parts = |plan: Plan| Parts {
        plan: Arc::new(plan),
        store: Store::open(directory.path()).unwrap(),
        spool: Spool::open(directory.path().join("spool")).unwrap(),
        models: Arc::new(Models::open(directory.path().join("models"), None).unwrap()),
        clock: Arc::new(Hand::default()),
        ledger: Arc::new(Ledger::default()),
        threads: 1,
        followers: Vec::new(),
        over: watch::channel(false).0,
    };
    let other = Coordinator::start(parts(plan(3, RoundConfig::new(2).unwrap())), || vec![0.0; 3]).await;
    let error = other.err().unwrap().to_string();
    assert!(error.contains("rounds = 2") && error.contains("rounds = 3"), "{error}");
}

fn assigned(instruction: Instruction) -> Assignment {
    match instruction {
        Instruction::Assign(assignment) => assignment,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn clients_get_the_scheme_that_they_can_afford_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let layout = || Layout::new([("w", vec![100, 100])]).unwrap();
    let whole = || Plan {
        policy: "fit".parse().unwrap(),
        layout: layout(),
        max_payload_bytes: 20_000,
        ..plan(4, RoundConfig::new(2).unwrap())
    };
    let house = House::open_with(directory.path(), whole(), || vec![0.5; 10_000]).await;
    let (rich, poor) = tokio::join!(house.check_in_with(0, 24_000), house.check_in_with(1, 12_000));
    let (rich, poor) = (assigned(rich), assigned(poor));
    // A quarter each, less what messages and framing take.
    let bytes = |assignment: &Assignment| crate::wire::up(assignment.scheme.coding.payload_bytes(&layout()));
    assert!((5_990..=6_000).contains(&bytes(&rich)), "{}", rich.scheme);
    assert!((2_990..=3_000).contains(&bytes(&poor)), "{}", poor.scheme);
    house.kill();
    let house = House::open_with(directory.path(), whole(), || vec![0.5; 10_000]).await;
    assert_eq!(assigned(house.check_in_with(1, 1).await).scheme, poor.scheme, "the same again, whatever is left");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_pay_is_not_assigned_and_a_run_of_such_clients_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mut house = House::open(directory.path(), plan(3, RoundConfig::new(2).unwrap())).await;
    let costs = crate::wire::up("fp32".parse::<Scheme>().unwrap().coding.payload_bytes(&layout()));
    // One that waits for tomorrow is told when to come back, and the round waits for it.
    let tomorrow = Duration::from_secs(300);
    let allowance = Allowance { up: Some(costs - 1), renews_in: Some(tomorrow), ..Allowance::default() };
    let told = house.ask(1, Asks { allowance, ..Asks::default() }).await;
    assert!(matches!(told, Instruction::Wait(pause) if pause == tomorrow), "{told:?}");
    // Then both can, once: what is left is foreseen, and the other rounds end without a word of theirs.
    let (a, b) = tokio::join!(house.check_in_with(0, costs + 100), house.check_in_with(1, costs));
    let (a, b) = (assigned(a), assigned(b));
    house.send(0, &a, [1.0, 0.0, 0.0]).await;
    house.send(1, &b, [0.0, 1.0, 0.0]).await;
    assert!(*house.over.wait_for(|over| *over).await.unwrap());
    let store = Store::look_at(directory.path()).unwrap();
    let states: Vec<_> = store.rounds("run").unwrap().into_iter().map(|row| row.state).collect();
    assert_eq!(states, [RoundState::Committed, RoundState::Abandoned, RoundState::Abandoned]);
}

/// A client that says nothing of what it may spend is held to what the coordinator lets it spend, by the coordinator's count.
#[tokio::test]
async fn work_is_not_handed_out_beyond_what_the_coordinator_allows() {
    let directory = tempfile::tempdir().unwrap();
    let update = crate::wire::up("fp32".parse::<Scheme>().unwrap().coding.payload_bytes(&layout()));
    let let_send = |bytes| {
        let budget = Budget { up: Caps { run: Some(bytes), ..Caps::default() }, ..Budget::default() };
        Asks { budget, ..Asks::default() }
    };
    let house = House::open(directory.path(), plan(3, RoundConfig::new(1).unwrap())).await;
    let first = assigned(house.ask(0, let_send(2 * update)).await);
    house.ledger.add(Some(ClientId(0)), Bytes { wire_up: update + 1, ..Bytes::default() });
    house.clock.0.fetch_add(5_000, Ordering::SeqCst); // until the ledger is written on
    house.send(0, &first, [1.0; 3]).await;
    house.kill();
    let both = RoundConfig::new(1).unwrap().select_among(2, None);
    let house = House::open(directory.path(), plan(3, both)).await;
    let told = house.ask(0, let_send(2 * update)).await;
    assert!(matches!(told, Instruction::Wait(_)), "a byte too few is left, also after a restart: {told:?}");
    let (more, less) = tokio::join!(house.ask(0, let_send(2 * update + 1)), house.ask(1, let_send(update - 1)));
    assigned(more);
    assert!(matches!(less, Instruction::Wait(_)), "{less:?}");
}

#[tokio::test]
async fn what_cohorts_are_chosen_by_survives_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let rule = Rule::PowerOfChoice(PowerOfChoice { candidates: Some(3) });
    let config = RoundConfig::new(1).unwrap().select_by(rule).unwrap().select_among(3, None);
    let mut chosen = Vec::new();
    for _ in 0..6 {
        // A coordinator a round, each killed between the fold and the next check-in.
        let house = House::open(directory.path(), plan(7, config.clone())).await;
        let (client, assigned) = house.the_assigned(3).await;
        chosen.push(client);
        let loss = if chosen.len() == 5 { 0.1 } else { client as f64 };
        house.send_with_loss(client, &assigned, [0.5; 3], loss).await;
        // Answered after the fold, and too few for a cohort.
        assert!(matches!(house.glance(0).await, Instruction::Wait(_)));
        house.kill();
    }
    chosen[..3].sort_unstable();
    // Everyone once, then whose loss is the highest, until it no longer is.
    assert_eq!(chosen, [0, 1, 2, 2, 2, 1]);
}
