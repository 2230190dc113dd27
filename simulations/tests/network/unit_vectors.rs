//! Who counted, read off the model itself. In round r client c sends the unit vector of coordinate r · clients + c, with
//! weight 1; the model starts from zero, so each coordinate ends as 1 over the number that counted, or as 0. Whatever is
//! lost, counted twice or counted against its receipt shows.
//!
//! Everything is sent twice, at the same time from two connections; now and then one of the two is another update, whose
//! coordinate is 2. The coordinator is killed at random moments meanwhile.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use nibble_codec::Layout;
use nibble_proto::v1::{Assignment, Outcome, Reason, Receipt, check_in_response::Instruction, upload_update_response};
use nibble_sim::model_file;

use crate::harness::{Deployment, Moments, Peer, Update, layout_of, runtime};

const CLIENTS: u64 = 8;
const ROUNDS: u64 = 120;
const KILLS: usize = 20;
/// A little more than one chunk of a transfer, so that an upload can break off in the middle.
const COORDINATES: usize = 17_000;

fn layout() -> Layout {
    Layout::new([("all", vec![COORDINATES])]).unwrap()
}

fn coordinate(round: u64, client: u64) -> usize {
    (round * CLIENTS + client) as usize
}

/// Round, client and value of an update.
type Key = (u64, u64, u8);

/// Outcomes as they were told.
#[derive(Default)]
struct Told(Mutex<BTreeMap<Key, (Outcome, Reason)>>);

impl Told {
    /// However often it is told, an outcome stays.
    fn note(&self, client: u64, value: u8, receipt: &Receipt) {
        let told = (receipt.outcome(), receipt.reason());
        let round = receipt.update.as_ref().unwrap().round;
        let first = *self.0.lock().unwrap().entry((round, client, value)).or_insert(told);
        assert_eq!(first, told, "round {round}, client {client}, value {value}");
    }
}

fn unit(assignment: &Assignment, client: u64, value: u8) -> Update {
    let mut vector = vec![0.0; layout_of(assignment).coordinates()];
    vector[coordinate(assignment.round, client)] = f32::from(value);
    Update::encode(assignment, &vector, 1)
}

/// A client that sends everything twice.
async fn play(address: String, client: u64, told: Arc<Told>) {
    let peers = [Peer::new(&address, client), Peer::new(&address, client)];
    loop {
        let assignment = match peers[0].instruction(None).await {
            Instruction::Assignment(assignment) => assignment,
            Instruction::Finished(_) => return,
            other => panic!("{other:?} is no answer to a client with nothing pending"),
        };
        let second = if (assignment.round + client).is_multiple_of(3) { 2 } else { 1 };
        let updates = [(unit(&assignment, client, 1), 1), (unit(&assignment, client, second), second)];
        for (update, value) in &updates {
            loop {
                // Statuses say nothing of an update; whoever got none of its bytes through is told so by the check-in.
                let answers = tokio::join!(peers[0].send(&updates[0].0), peers[1].send(&updates[1].0));
                for (answer, (_, value)) in [answers.0, answers.1].into_iter().zip(&updates) {
                    if let Ok(upload_update_response::Result::Receipt(receipt)) = answer {
                        told.note(client, *value, &receipt);
                    }
                }
                match peers[0].instruction(Some(&update.name)).await {
                    Instruction::Receipt(receipt) => break told.note(client, *value, &receipt),
                    Instruction::SendPending(_) => {}
                    other => panic!("{other:?} is no answer to a client with an update pending"),
                }
            }
        }
    }
}

#[test]
fn the_model_shows_who_counted_through_kills_and_duplicates() {
    let mut deployment = Deployment::insecure(&format!(
        "[run]\nname = \"unit-vectors\"\nrounds = {ROUNDS}\n[model]\nname = \"none\"\ninitial = \"zero.safetensors\"\n\
         [data]\ndataset = \"none\"\n[compression]\nuplink = \"fp32\"\n\
         [cohort]\nsize = 6\nover_select = 0.33\navailable = {CLIENTS}\n"
    ));
    model_file::write(&deployment.path("coordinator/zero.safetensors"), &layout(), &[0.0; COORDINATES]).unwrap();
    let mut coordinator = deployment.start();
    let told = Arc::new(Told::default());
    let runtime = runtime();
    let address = deployment.address().to_owned();
    let clients = (0..CLIENTS).map(|client| runtime.spawn(play(address.clone(), client, Arc::clone(&told))));
    let clients: Vec<_> = clients.collect();
    let mut moments = Moments::of(300);
    for _ in 0..KILLS {
        if moments.index(4) > 0 {
            coordinator.line(|line| line.contains("the round ended"));
        }
        coordinator.kill_after(moments.below(Duration::from_millis(100)));
        coordinator = deployment.start();
    }
    assert_eq!(deployment.status()["state"], "going on", "every kill must hit the run");
    for client in clients {
        runtime.block_on(client).unwrap();
    }
    let model = deployment.model();
    let name: Vec<_> = (0..32).map(|i| u8::from_str_radix(&model[2 * i..2 * i + 2], 16).unwrap()).collect();
    let model = runtime.block_on(async { Peer::new(deployment.address(), 0).model(&name, &layout()).await.unwrap() });
    check(&model, &told, &deployment);
    drop(runtime);
    coordinator.terminate();
    coordinator.ends_with(0);
}

/// Holds the model, the receipts and the record against each other.
fn check(model: &[f32], told: &Told, deployment: &Deployment) {
    let told = told.0.lock().unwrap();
    let rounds = deployment.rounds();
    assert_eq!(rounds.len() as u64, ROUNDS);
    let mut expected = vec![0.0; COORDINATES];
    for round in &rounds {
        assert_eq!(round.closed.as_deref(), Some("cohort complete"), "{round:?}");
        assert_eq!((round.selected, round.accepted + round.uncounted.len()), (8, 8), "{round:?}");
        let of_round = (round.round, 0, 0)..(round.round + 1, 0, 0);
        let accepted = told.range(of_round).filter(|(_, (outcome, _))| *outcome == Outcome::Accepted);
        let accepted: Vec<_> = accepted.map(|(&(_, client, value), _)| (client, value)).collect();
        assert_eq!(accepted.len(), round.accepted, "{round:?}");
        for (client, value) in accepted {
            assert!(!round.uncounted.contains_key(&client), "{round:?}");
            let coordinate = &mut expected[coordinate(round.round, client)];
            assert_eq!(*coordinate, 0.0, "two updates of client {client} are said to count: {round:?}");
            *coordinate = (1.0 / round.accepted as f64 * f64::from(value)) as f32;
        }
    }
    assert!(model == expected, "the model does not hold what was accepted");
    let count = |reason| told.values().filter(|(_, found)| *found == reason).count();
    // 2 of 8 are too late in each round, or their round would have waited for them; some clients contradict themselves.
    assert!(count(Reason::Late) > 0 && count(Reason::Conflict) > 0, "the test has lost its teeth");
    let known = [Reason::Unspecified, Reason::Late, Reason::Conflict];
    assert!(told.values().all(|(_, reason)| known.contains(reason)));
}
