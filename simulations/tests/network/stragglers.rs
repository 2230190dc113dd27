//! Updates that are on their way while their round closes: under over-selection that is so in every round. They are told
//! that they are late, and the coordinator goes on.

use std::time::Duration;

use futures_util::{Stream, StreamExt, future::join_all, stream};
use nibble_codec::Layout;
use nibble_proto::v1::{Outcome, Reason, UploadUpdateRequest, check_in_response::Instruction};
use nibble_sim::model_file;

use crate::harness::{Deployment, Moments, Peer, Update, runtime};

const CLIENTS: u64 = 11;
const ROUNDS: u64 = 150;
const COORDINATES: usize = 20_000;
/// Half of an update's bytes.
const HALF: usize = 40_000;
/// Longest pause in the middle of an upload: longer than a round takes from its first update to the next round.
const LONGEST: Duration = Duration::from_millis(60);

/// An update with a pause in the middle.
fn slowly(update: &Update, pause: Duration) -> impl Stream<Item = UploadUpdateRequest> + use<> {
    let rest = update.chunk(HALF, update.payload.len());
    let rest = stream::once(async move {
        tokio::time::sleep(pause).await;
        rest
    });
    stream::iter([update.header(0), update.chunk(0, HALF)]).chain(rest)
}

/// Takes part until the run is over; gives what became of its updates.
async fn play(peer: &Peer) -> Vec<(Outcome, Reason)> {
    let mut told = Vec::new();
    let mut moments = Moments::of(400 + peer.client);
    loop {
        let assignment = match peer.instruction(None).await {
            Instruction::Assignment(assignment) => assignment,
            Instruction::Finished(_) => return told,
            other => panic!("{other:?} is no answer to a client with nothing pending"),
        };
        let update = Update::encode(&assignment, &[0.5; COORDINATES], 1);
        // A status says only that it is to be asked what is wanted.
        drop(peer.upload(slowly(&update, moments.below(LONGEST))).await);
        loop {
            match peer.instruction(Some(&update.name)).await {
                Instruction::Receipt(receipt) => break told.push((receipt.outcome(), receipt.reason())),
                Instruction::SendPending(_) => drop(peer.send(&update).await),
                other => panic!("{other:?} is no answer to a client with an update pending"),
            }
        }
    }
}

#[test]
fn updates_that_arrive_while_their_round_closes_do_no_harm() {
    let mut deployment = Deployment::insecure(&format!(
        "[run]\nname = \"stragglers\"\nrounds = {ROUNDS}\n[model]\nname = \"none\"\ninitial = \"zero.safetensors\"\n\
         [data]\ndataset = \"none\"\n[compression]\nuplink = \"fp32\"\n\
         [cohort]\nsize = 1\nover_select = 10\navailable = {CLIENTS}\n"
    ));
    let layout = Layout::new([("all", vec![COORDINATES])]).unwrap();
    model_file::write(&deployment.path("coordinator/zero.safetensors"), &layout, &[0.0; COORDINATES]).unwrap();
    let mut coordinator = deployment.start();
    let runtime = runtime();
    let told = runtime.block_on(async {
        let peers: Vec<_> = (0..CLIENTS).map(|client| Peer::new(deployment.address(), client)).collect();
        join_all(peers.iter().map(play)).await.concat()
    });
    drop(runtime);
    coordinator.terminate();
    coordinator.ends_with(0);
    let count = |found| told.iter().filter(|told| **told == found).count() as u64;
    assert_eq!(count((Outcome::Accepted, Reason::Unspecified)), ROUNDS);
    assert_eq!(count((Outcome::Discarded, Reason::Late)), ROUNDS * (CLIENTS - 1));
}
