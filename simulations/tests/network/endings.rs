//! Rounds end, whatever clients do: vanish, come late, stall, or send nonsense. The record says who did what, and nothing
//! that a client with feedback meant to send is lost.

use futures_util::{StreamExt, future::join_all, stream};
use nibble_codec::{Intent, Layout, Outcome as Settled, Payload, Residual};
use nibble_proto::v1::{Assignment, Outcome, Reason, check_in_response::Instruction};
use nibble_seed::{Purpose, Seed};
use nibble_sim::model_file;

use crate::harness::{Deployment, Peer, Update, layout_of, runtime};

const COORDINATES: usize = 3_000;
const ACCEPTED: (Outcome, Reason) = (Outcome::Accepted, Reason::Unspecified);

/// A run of a model that the coordinator knows nothing about; clients keep what int2 leaves out.
fn deployment(rounds: u64, cohort: &str) -> Deployment {
    let deployment = Deployment::insecure(&format!(
        "[limits]\ndrain_seconds = 1\n[run]\nname = \"endings\"\nrounds = {rounds}\n\
         [model]\nname = \"none\"\ninitial = \"zero.safetensors\"\n[data]\ndataset = \"none\"\n\
         [compression]\nuplink = \"int2+ef\"\n[cohort]\n{cohort}"
    ));
    let layout = Layout::new([("all", vec![COORDINATES])]).unwrap();
    model_file::write(&deployment.path("coordinator/zero.safetensors"), &layout, &[0.0; COORDINATES]).unwrap();
    deployment
}

/// A client with feedback, which knows what it meant and what was counted of it.
struct Keeper {
    peer: Peer,
    residual: Residual,
    pending: Option<(Update, Intent, Layout)>,
    meant: Vec<f64>,
    counted: Vec<f64>,
}

impl Keeper {
    fn new(peer: &Peer) -> Self {
        let nothing = vec![0.0; COORDINATES];
        Self {
            peer: peer.clone(),
            residual: Residual::default(),
            pending: None,
            meant: nothing.clone(),
            counted: nothing,
        }
    }

    /// Sends a seeded delta, with the residual.
    async fn send(&mut self, assignment: &Assignment) {
        let mut stream = Seed(self.peer.client).derive(Purpose::Behaviour, assignment.round, 1).stream();
        let delta: Vec<_> = (0..COORDINATES).map(|_| stream.next_unit() as f32 - 0.5).collect();
        self.meant.iter_mut().zip(&delta).for_each(|(meant, &delta)| *meant += f64::from(delta));
        let intent = std::mem::take(&mut self.residual).intend(&delta);
        let update = Update::encode(assignment, intent.vector(), 1 + self.peer.client);
        self.peer.send(&update).await.unwrap();
        self.pending = Some((update, intent, layout_of(assignment)));
    }

    /// Waits for the receipt, and moves the residual.
    async fn settle(&mut self) -> (Outcome, Reason) {
        let (update, intent, layout) = self.pending.take().unwrap();
        let receipt = self.peer.receipt(&update).await;
        let payload = Payload::parse(&update.payload, &layout).unwrap();
        let outcome = match receipt.outcome() {
            Outcome::Accepted => {
                let mut decoded = vec![0.0; COORDINATES];
                payload.decode(&mut decoded).unwrap();
                self.counted.iter_mut().zip(decoded).for_each(|(counted, decoded)| *counted += f64::from(decoded));
                Settled::Accepted(&payload)
            }
            _ => Settled::Returned,
        };
        self.residual = intent.settle(outcome).unwrap();
        (receipt.outcome(), receipt.reason())
    }

    /// Nothing that was meant is lost: ‖meant − counted − residual‖ ≤ 1e-5 ‖meant‖. A sum of a few rounds in f32 errs by
    /// some 1e-7.
    fn check(&self) {
        let mut residual = self.residual.values().to_vec();
        residual.resize(COORDINATES, 0.0);
        let kept = self.counted.iter().zip(residual).map(|(counted, residual)| counted + f64::from(residual));
        let lost: f64 = self.meant.iter().zip(kept).map(|(meant, kept)| (meant - kept).powi(2)).sum();
        let meant: f64 = self.meant.iter().map(|meant| meant * meant).sum();
        assert!(lost.sqrt() <= 1e-5 * meant.sqrt() && meant > 0.0, "client {} lost {lost}", self.peer.client);
    }
}

/// All of them take part in the next round, and it counts them all.
async fn all_take_part(keepers: &mut [Keeper]) {
    let assignments = join_all(keepers.iter().map(|keeper| keeper.peer.assigned())).await;
    join_all(keepers.iter_mut().zip(&assignments).map(|(keeper, assignment)| keeper.send(assignment))).await;
    let told = join_all(keepers.iter_mut().map(Keeper::settle)).await;
    assert_eq!(told, vec![ACCEPTED; keepers.len()]);
}

/// Of ten clients 0 to 2 vanish, 3 and 4 are late, 5 stalls, 6 sends nonsense, 7 to 9 do what they should.
#[test]
fn a_deadline_closes_a_round_that_most_of_its_cohort_fails() {
    let cohort = "size = 10\nquorum = 3\navailable = 10\nselection_seconds = 3\ndeadline_seconds = 2\n";
    let mut deployment = deployment(2, cohort);
    let mut coordinator = deployment.start();
    let runtime = runtime();
    runtime.block_on(async {
        let peers: Vec<_> = (0..10).map(|client| Peer::new(deployment.address(), client)).collect();
        let assigned = join_all(peers.iter().map(Peer::assigned)).await;

        let half = Update::encode(&assigned[5], &[0.5; COORDINATES], 1);
        let begun = [half.header(0), half.chunk(0, half.payload.len() / 2)];
        let peer = peers[5].clone();
        let stalled = tokio::spawn(async move { peer.upload(stream::iter(begun).chain(stream::pending())).await });

        let nonsense = (0..half.payload.len()).map(|i| (i * 37) as u8).collect();
        let nonsense = Update::of(&assigned[6], nonsense, 1);
        peers[6].send(&nonsense).await.unwrap();
        let receipt = peers[6].receipt(&nonsense).await;
        assert_eq!((receipt.outcome(), receipt.reason()), (Outcome::Rejected, Reason::Malformed));
        assert!(!receipt.detail.is_empty());

        let mut keepers: Vec<_> = peers[..].iter().map(Keeper::new).collect();
        for (keeper, assignment) in keepers.iter_mut().zip(&assigned).skip(7) {
            keeper.send(assignment).await;
        }
        for keeper in &mut keepers[7..] {
            assert_eq!(keeper.settle().await, ACCEPTED);
        }
        for client in [3, 4] {
            keepers[client].send(&assigned[client]).await;
            assert_eq!(keepers[client].settle().await, (Outcome::Discarded, Reason::Late));
        }
        assert!(!stalled.is_finished(), "the round must have closed while an upload stalls");

        // Four never come again: the next cohort is drawn without them.
        let mut keepers = keepers.split_off(3);
        keepers.remove(2);
        all_take_part(&mut keepers).await;
        keepers.iter().for_each(Keeper::check);
        stalled.abort();
    });
    drop(runtime);
    let rounds = deployment.rounds();
    assert_eq!(rounds.len(), 2);
    let [first, second] = [&rounds[0], &rounds[1]];
    assert_eq!((first.closed.as_deref(), first.selected, first.accepted), (Some("deadline"), 10, 3), "{first:?}");
    assert_eq!((first.rejected, first.missing, first.uncounted.len()), (1, 6, 7), "{first:?}");
    for client in 0..6 {
        assert_eq!(first.uncounted[&client], "had sent nothing when it closed");
    }
    assert!(first.uncounted[&6].starts_with("rejected: "), "{first:?}");
    assert_eq!(
        (second.closed.as_deref(), second.selected, second.accepted),
        (Some("all reported"), 6, 6),
        "{second:?}"
    );
    assert!(second.uncounted.is_empty());
    coordinator.terminate();
    coordinator.ends_with(0);
}

#[test]
fn a_round_that_misses_its_quorum_is_abandoned_and_what_it_had_is_given_back() {
    let mut deployment =
        deployment(3, "size = 4\nquorum = 3\navailable = 4\ndeadline_seconds = 2\ndecline_pause_seconds = 0\n");
    let mut coordinator = deployment.start();
    let runtime = runtime();
    runtime.block_on(async {
        let mut keepers: Vec<_> = (0..4).map(|client| Keeper::new(&Peer::new(deployment.address(), client))).collect();
        let assigned = join_all(keepers.iter().map(|keeper| keeper.peer.assigned())).await;
        keepers[0].send(&assigned[0]).await;
        for client in 1..4 {
            keepers[client].peer.decline(&assigned[client], "no data today").await.unwrap();
        }
        assert_eq!(keepers[0].settle().await, (Outcome::Discarded, Reason::Abandoned));

        let assigned = join_all(keepers.iter().map(|keeper| keeper.peer.assigned())).await;
        for client in 0..2 {
            keepers[client].send(&assigned[client]).await;
        }
        for keeper in &mut keepers[..2] {
            assert_eq!(keeper.settle().await, (Outcome::Discarded, Reason::Abandoned));
        }

        all_take_part(&mut keepers).await;
        keepers.iter().for_each(Keeper::check);
    });
    drop(runtime);
    let rounds = deployment.rounds();
    let closed: Vec<_> = rounds.iter().map(|round| round.closed.as_deref().unwrap()).collect();
    assert_eq!(closed, ["abandoned: quorum missed", "abandoned: quorum missed", "cohort complete"]);
    // Two of four decline: then the quorum of three is out of reach, and nobody waits for what the third will say.
    assert_eq!(rounds[0].uncounted[&0], "discarded: the round was abandoned");
    assert_eq!(rounds[0].uncounted[&1], "declined: no data today");
    assert_eq!((rounds[1].accepted, rounds[1].discarded, rounds[1].missing), (0, 2, 2), "{:?}", rounds[1]);
    assert_eq!(rounds[1].uncounted[&3], "had sent nothing when it closed");
    assert_eq!((rounds[0].model_sha256.as_deref(), rounds[1].model_sha256.as_deref()), (None, None));
    coordinator.terminate();
    coordinator.ends_with(0);
}

#[test]
fn rounds_that_too_few_clients_come_to_end_too() {
    let mut deployment = deployment(2, "size = 2\navailable = 2\nselection_seconds = 0.5\n");
    let mut coordinator = deployment.start();
    let runtime = runtime();
    let told = runtime.block_on(async { Peer::new(deployment.address(), 0).instruction(None).await });
    assert!(matches!(told, Instruction::Finished(_)), "{told:?}");
    drop(runtime);
    for round in deployment.rounds() {
        assert_eq!((round.closed.as_deref(), round.selected), (Some("abandoned: too few clients"), 0), "{round:?}");
    }
    coordinator.terminate();
    coordinator.ends_with(0);
}
