//! How a coordinator stops, and when it refuses to start.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use nibble_codec::Layout;
use nibble_proto::v1::{
    Outcome, UploadUpdateRequest, check_in_response::Instruction, upload_update_response::Result as Answer,
};
use nibble_sim::model_file;
use tokio::sync::oneshot;

use crate::harness::{Deployment, Peer, Process, Program, Update, runtime};

/// 80 KB of fp32: two chunks of a transfer.
const COORDINATES: usize = 20_000;
const HALF: usize = 40_000;

fn deployment() -> Deployment {
    let deployment = Deployment::insecure(
        "[limits]\ndrain_seconds = 2\n[run]\nname = \"shutdown\"\nrounds = 1\n\
         [model]\nname = \"none\"\ninitial = \"zero.safetensors\"\n[data]\ndataset = \"none\"\n\
         [compression]\nuplink = \"fp32\"\n[cohort]\nsize = 4\n",
    );
    let layout = Layout::new([("all", vec![COORDINATES])]).unwrap();
    model_file::write(&deployment.path("coordinator/zero.safetensors"), &layout, &[0.0; COORDINATES]).unwrap();
    deployment
}

/// The first half of an update, and the rest once it is time.
fn in_halves(
    update: &Update,
    rest: oneshot::Receiver<()>,
) -> impl futures_util::Stream<Item = UploadUpdateRequest> + use<> {
    let begun = [update.header(0), update.chunk(0, HALF)];
    let end = update.chunk(HALF, update.payload.len());
    let end = stream::once(async move {
        match rest.await {
            Ok(()) => end,
            Err(_) => std::future::pending().await, // it never comes
        }
    });
    stream::iter(begun).chain(end)
}

/// Until the coordinator has half of the update.
async fn half_way(peer: &Peer, update: &Update) {
    while peer.offset(update).await.unwrap() < HALF as u64 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn sigterm_lets_uploads_end_and_nothing_is_lost() {
    let mut deployment = deployment();
    let mut coordinator = deployment.start();
    let runtime = runtime();
    let (peers, updates) = runtime.block_on(async {
        let peers: Vec<_> = (0..4).map(|client| Peer::new(deployment.address(), client)).collect();
        let assigned = futures_util::future::join_all(peers.iter().map(Peer::assigned)).await;
        let update = |assignment, peer: &Peer| Update::encode(assignment, &[peer.client as f32; COORDINATES], 1);
        let updates: Vec<_> = assigned.iter().zip(&peers).map(|(assignment, peer)| update(assignment, peer)).collect();
        (peers, updates)
    });
    // 0 has sent all of it and waits for its receipt, 1 ends while the coordinator drains, 2 never does, 3 has sent
    // nothing.
    let (go_on, rest) = oneshot::channel();
    let (_never, no_rest) = oneshot::channel();
    let (waiting, ending, _stalled) = runtime.block_on(async {
        assert_eq!(peers[0].send(&updates[0]).await.unwrap(), Answer::Stored(Default::default()));
        let start = |client: usize, rest| {
            let (peer, parts) = (peers[client].clone(), in_halves(&updates[client], rest));
            tokio::spawn(async move { peer.upload(parts).await })
        };
        let (ending, stalled) = (start(1, rest), start(2, no_rest));
        let (peer, name) = (peers[0].clone(), updates[0].name.clone());
        let waiting = tokio::spawn(async move { peer.check_in(Some(&name), Duration::from_secs(50)).await });
        half_way(&peers[1], &updates[1]).await;
        half_way(&peers[2], &updates[2]).await;
        (waiting, ending, stalled)
    });
    coordinator.terminate();
    coordinator.line(|line| line.contains("SIGTERM"));
    runtime.block_on(async {
        let told = waiting.await.unwrap().unwrap();
        assert!(matches!(told, Instruction::Wait(_)), "a held call is let go: {told:?}");
        go_on.send(()).unwrap();
        assert_eq!(ending.await.unwrap().unwrap(), Answer::Stored(Default::default()));
    });
    coordinator.ends_with(0);

    let mut coordinator = deployment.start();
    runtime.block_on(async {
        for client in 0..2 {
            let told = loop {
                if let Ok(told) = peers[client].check_in(Some(&updates[client].name), Duration::ZERO).await {
                    break told;
                }
            };
            assert!(matches!(told, Instruction::Wait(_)), "the update of client {client} is lost: {told:?}");
        }
        assert_eq!(peers[2].offset(&updates[2]).await.unwrap(), HALF as u64, "what had come of an upload is kept");
        for client in [2, 3] {
            peers[client].send(&updates[client]).await.unwrap();
        }
        for (peer, update) in peers.iter().zip(&updates) {
            assert_eq!(peer.receipt(update).await.outcome(), Outcome::Accepted);
        }
    });
    drop((runtime, peers));
    assert_eq!(deployment.rounds()[0].accepted, 4);
    coordinator.terminate();
    coordinator.ends_with(0);
}

/// Asks for a receipt, without end until the coordinator goes; gives the longest pause that was asked for. Says so once it
/// has been answered.
async fn ask(peer: Peer, update: Update, answered: oneshot::Sender<()>) -> u32 {
    let (mut answered, mut longest_ms) = (Some(answered), 0);
    loop {
        match peer.check_in(Some(&update.name), Duration::from_millis(1)).await {
            Ok(Instruction::Wait(wait)) => {
                longest_ms = longest_ms.max(wait.retry_after_ms);
                answered.take().map(|answered| answered.send(()));
            }
            Ok(told) => panic!("{told:?} is no answer"),
            Err(_) if answered.is_none() => return longest_ms,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await, // it is not there yet
        }
    }
}

#[test]
fn nobody_is_sent_to_sleep_by_a_coordinator_that_stops() {
    // What was said in the moment between a signal and the end of a connection took 3 of 10 stops to be seen here:
    // twenty overlook it once in a thousand times.
    const STOPS: usize = 20;
    let mut deployment = deployment();
    let mut coordinator = deployment.start();
    let runtime = runtime();
    // Three have sent, and the round waits for the fourth; its deadline is far away. They ask to be held for a moment, and
    // are told to come back at once: anything else is said because the coordinator stops.
    let waiting: Vec<_> = runtime.block_on(async {
        let peers: Vec<_> = (0..4).map(|client| Peer::new(deployment.address(), client)).collect();
        let assigned = futures_util::future::join_all(peers.iter().map(Peer::assigned)).await;
        let sent = peers.into_iter().zip(&assigned).take(3).map(async |(peer, assignment)| {
            let update = Update::encode(assignment, &[0.5; COORDINATES], 1);
            assert_eq!(peer.send(&update).await.unwrap(), Answer::Stored(Default::default()));
            (peer, update)
        });
        futures_util::future::join_all(sent).await
    });
    for _ in 0..STOPS {
        let asking = waiting.iter().map(|(peer, update)| {
            let (answered, is_answered) = oneshot::channel();
            let asking = runtime.spawn(ask(peer.clone(), update.clone(), answered));
            runtime.block_on(is_answered).unwrap();
            asking
        });
        let asking: Vec<_> = asking.collect();
        coordinator.terminate();
        coordinator.ends_with(0);
        for asking in asking {
            assert_eq!(runtime.block_on(asking).unwrap(), 0);
        }
        coordinator = deployment.start();
        coordinator.line(|line| line.contains("going on"));
    }
    drop((runtime, waiting));
    coordinator.terminate();
    coordinator.ends_with(0);
}

#[test]
fn a_second_coordinator_on_the_same_state_is_refused_and_the_first_goes_on() {
    let mut deployment = deployment();
    let mut second = deployment.serve(); // on a port of its own, as nobody listens yet
    let mut coordinator = deployment.start();
    let mut second = Process::start("the second coordinator", &mut second);
    second.ends_with(1);
    assert!(second.said().contains("another coordinator uses"), "{}", second.said());
    let runtime = runtime();
    let told =
        runtime.block_on(async { Peer::new(deployment.address(), 0).check_in(None, Duration::ZERO).await.unwrap() });
    assert!(matches!(told, Instruction::Wait(_)), "{told:?}");
    drop(runtime);
    coordinator.terminate();
    coordinator.ends_with(0);
}

#[test]
fn a_run_that_was_begun_under_another_configuration_is_refused_with_the_line_that_differs() {
    let mut deployment = deployment();
    let mut coordinator = deployment.start();
    coordinator.line(|line| line.contains("the run begins"));
    coordinator.terminate();
    coordinator.ends_with(0);
    for (set, says) in [
        ("run.seed=8", [r#""seed = 0""#, r#""seed = 8""#]),
        ("cohort.size=5", [r#""size = 4""#, r#""size = 5""#]),
        ("compression.uplink=fp16", [r#""uplink = \"fp32\"""#, r#""uplink = \"fp16\"""#]),
        ("local.lr=0.2", [r#""lr = 0.1""#, r#""lr = 0.2""#]),
        ("run.rounds=9", [r#""rounds = 1""#, r#""rounds = 9""#]),
    ] {
        let output = deployment.serve().args(["--set", set]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{set}: {said}");
        let error = said.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(error.contains("shutdown") && says.iter().all(|part| error.contains(part)), "{set}: {said}");
    }
    let mut coordinator = deployment.start(); // none of it did any harm
    coordinator.line(|line| line.contains("going on"));
    coordinator.terminate();
    coordinator.ends_with(0);
    assert_eq!(Program::Server.ok(&["status", "--config", &deployment.config()]).lines().count(), 7);
}
