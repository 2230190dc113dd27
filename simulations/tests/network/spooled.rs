//! A coordinator that is killed with a thousand updates of an open round goes on with all of them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use nibble_codec::Layout;
use nibble_proto::v1::{Outcome, check_in_response::Instruction, upload_update_response::Result as Answer};
use nibble_sim::model_file;

use crate::harness::{Deployment, Peer, Update, connection, runtime};

/// Clients whose updates wait; one more is to come.
const UPDATES: u64 = 1_000;
const COORDINATES: usize = 2_000;
/// Clients that talk at the same time, on a few connections.
const AT_ONCE: usize = 64;
const CONNECTIONS: usize = 8;

/// Does `work` for every client.
async fn each<T, F: Future<Output = T>>(peers: &[Peer], work: impl Fn(Peer) -> F) -> Vec<T> {
    stream::iter(peers.to_vec()).map(work).buffered(AT_ONCE).collect().await
}

#[test]
fn a_thousand_updates_survive_and_the_round_goes_on() {
    let mut deployment = Deployment::insecure(&format!(
        "[run]\nname = \"spooled\"\nrounds = 1\n[model]\nname = \"none\"\ninitial = \"zero.safetensors\"\n\
         [data]\ndataset = \"none\"\n[compression]\nuplink = \"int2\"\n[cohort]\nsize = {}\n",
        UPDATES + 1
    ));
    let layout = Layout::new([("all", vec![COORDINATES])]).unwrap();
    model_file::write(&deployment.path("coordinator/zero.safetensors"), &layout, &[0.0; COORDINATES]).unwrap();
    let coordinator = deployment.start();
    let runtime = runtime();
    let connections: Vec<_> =
        runtime.block_on(async { (0..CONNECTIONS).map(|_| connection(deployment.address())).collect() });
    let peers = (0..=UPDATES).map(|client| Peer::on(connections[client as usize % CONNECTIONS].clone(), client));
    let peers: Vec<_> = peers.collect();
    let (last, thousand) = peers.split_last().unwrap();
    let vector: Arc<Vec<f32>> = Arc::new((0..COORDINATES).map(|i| (i as f32).sin()).collect());

    let updates = runtime.block_on(async {
        each(&peers, async |peer| peer.check_in(None, Duration::ZERO).await.unwrap()).await;
        each(thousand, |peer| {
            let vector = Arc::clone(&vector);
            async move {
                let update = Update::encode(&peer.assigned().await, &vector, 1);
                assert_eq!(peer.send(&update).await.unwrap(), Answer::Stored(Default::default()));
                update
            }
        })
        .await
    });
    coordinator.kill();

    let restarted = Instant::now();
    let mut coordinator = deployment.start();
    runtime.block_on(async {
        let first = loop {
            if let Ok(told) = thousand[0].check_in(Some(&updates[0].name), Duration::ZERO).await {
                break told;
            }
        };
        println!("{UPDATES} spooled updates: the first check-in is answered {:?} after the start", restarted.elapsed());
        assert!(matches!(first, Instruction::Wait(_)), "{first:?}");
        let update = |peer: &Peer| updates[peer.client as usize].clone();
        let told = each(thousand, |peer| {
            let update = update(&peer);
            async move { peer.check_in(Some(&update.name), Duration::ZERO).await.unwrap() }
        })
        .await;
        let lost = told.iter().filter(|told| !matches!(told, Instruction::Wait(_))).count();
        assert_eq!(lost, 0, "updates that were stored are wanted again");

        let update_of_last = Update::encode(&last.assigned().await, &vector, 1);
        last.send(&update_of_last).await.unwrap();
        assert_eq!(last.receipt(&update_of_last).await.outcome(), Outcome::Accepted);
        let outcomes = each(thousand, |peer| {
            let update = update(&peer);
            async move { peer.receipt(&update).await.outcome() }
        })
        .await;
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Accepted));
    });
    drop((runtime, peers));
    let rounds = deployment.rounds();
    assert_eq!((rounds[0].closed.as_deref(), rounds[0].accepted), (Some("cohort complete"), 1_001));
    coordinator.terminate();
    coordinator.ends_with(0);
}
