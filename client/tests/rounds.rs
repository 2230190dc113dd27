//! Whole runs against a scripted coordinator: the same bytes and residuals as the core alone, whatever breaks.
#![allow(clippy::unwrap_used)]

mod support;

use std::{future::Future, path::Path, pin::pin, sync::Arc, task::Poll, time::Duration};

use nibble_client::{agent::Ended, state::Store};
use nibble_codec::Payload;
use nibble_proto::v1::Outcome::{self, Accepted, Discarded, Rejected};
use support::{Coordinator, Cut, Network, Script, Toy, trainer};

const OUTCOMES: [Outcome; 4] = [Accepted, Rejected, Discarded, Accepted];

/// Runs an agent to the end of the script; an hour of virtual time is more than it needs.
async fn finish(dir: &Path, network: &Arc<Network>) {
    let ended = support::agent(dir, network.clone()).run(tokio::time::sleep(Duration::from_secs(3600))).await.unwrap();
    assert!(matches!(ended, Ended::Finished { .. }));
}

fn check(script: &Script, coordinator: &Coordinator, dir: &Path) {
    support::check(&support::core(script, Toy::boxed(), &trainer::SAMPLES), coordinator, dir);
}

#[tokio::test(start_paused = true)]
async fn a_run_gives_what_the_core_gives_and_loses_no_mass() {
    for receipt_on_upload in [false, true] {
        let script = Script { receipt_on_upload, ..Script::new("int4+ef", &OUTCOMES) };
        let dir = tempfile::tempdir().unwrap();
        let (network, connections) = Network::new([]);
        let coordinator = Coordinator::new(script.clone());
        coordinator.serve(connections);
        finish(dir.path(), &network).await;
        check(&script, &coordinator, dir.path());

        let layout = trainer::layout();
        let (_, mut mass) = Store::peek(dir.path()).unwrap().unwrap();
        for (round, (payload, header)) in &coordinator.log().arrived {
            assert_eq!((header.samples, header.train_loss), (5, 1.5));
            assert!(header.nmse > 0.0 && header.nmse < 1.0 && header.signature.is_empty());
            let mut decoded = vec![0.0; layout.coordinates()];
            Payload::parse(payload, &layout).unwrap().decode(&mut decoded).unwrap();
            if script.outcomes[*round as usize] == Accepted {
                mass.iter_mut().zip(&decoded).for_each(|(mass, decoded)| *mass += decoded);
            }
        }
        let deltas = (0..OUTCOMES.len() as u64).map(|round| trainer::delta(&script.model(round), script.order(round)));
        let mut meant = vec![0.0f64; layout.coordinates()];
        deltas.for_each(|delta| meant.iter_mut().zip(delta).for_each(|(meant, delta)| *meant += f64::from(delta)));
        let worst = mass.iter().zip(&meant).map(|(&mass, meant)| (f64::from(mass) - meant).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-5, "what was accepted and what is left differ from what was meant by {worst}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_feedback_nothing_is_kept_but_the_pending_payload() {
    let script = Script::new("int8", &OUTCOMES);
    let dir = tempfile::tempdir().unwrap();
    let (network, connections) = Network::new([]);
    let coordinator = Coordinator::new(script.clone());
    coordinator.serve(connections);
    finish(dir.path(), &network).await;
    check(&script, &coordinator, dir.path());
    assert_eq!(Store::peek(dir.path()).unwrap().unwrap().0.coordinates, 0);
}

/// Polls `future` at most `polls` times; whether it completed.
async fn poll_at_most(polls: usize, future: impl Future) -> bool {
    let (mut future, mut left) = (pin!(future), polls);
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(cx).map(|_| true)
    })
    .await
}

/// The agent is killed at each of its await points in turn, and started again.
#[tokio::test(start_paused = true)]
async fn a_kill_at_any_point_changes_nothing() {
    let script = Script::new("int4+ef", &OUTCOMES);
    let mut seen_pending = 0;
    for polls in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let (network, connections) = Network::new([]);
        let coordinator = Coordinator::new(script.clone());
        coordinator.serve(connections);
        let agent = support::agent(dir.path(), network.clone());
        let whole = poll_at_most(polls, agent.run(std::future::pending())).await;
        seen_pending += usize::from(Store::peek(dir.path()).unwrap().unwrap().0.pending.is_some());
        finish(dir.path(), &network).await;
        check(&script, &coordinator, dir.path());
        if whole {
            assert!(polls >= 16 && seen_pending >= 8, "{polls} polls, {seen_pending} kills with a pending update");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_goes_on_where_the_connection_broke() {
    let script = Script::new("int2+ef", &[Accepted]);
    let (mut resumed, frame_bytes) = (0, 4 * 40_010);
    for read in (1_000..170_000).step_by(13_000) {
        let dir = tempfile::tempdir().unwrap();
        let (network, connections) = Network::new([Cut { read, ..Cut::NEVER }]);
        let coordinator = Coordinator::new(script.clone());
        coordinator.serve(connections);
        finish(dir.path(), &network).await;
        check(&script, &coordinator, dir.path());
        let log = coordinator.log();
        let last = *log.downloads.last().unwrap() as usize;
        assert!(log.downloads.len() <= 2 && last <= frame_bytes);
        // What had come in whole chunks does not come again; a chunk may have been on its way, with 2 kB around it.
        assert!(last + 65_536 + 2_000 >= read || read > frame_bytes, "broke at {read}, went on at {last}");
        resumed += usize::from(last > 0);
    }
    assert!(resumed >= 5, "{resumed} downloads went on in the middle");
}

#[tokio::test(start_paused = true)]
async fn an_upload_goes_on_where_the_connection_broke() {
    let script = Script::new("fp32", &[Accepted, Accepted]);
    let mut resumed = 0;
    for written in (500..330_000).step_by(23_000) {
        let dir = tempfile::tempdir().unwrap();
        let (network, connections) = Network::new([Cut { written, ..Cut::NEVER }]);
        let coordinator = Coordinator::new(script.clone());
        coordinator.serve(connections);
        finish(dir.path(), &network).await;
        check(&script, &coordinator, dir.path());
        let log = coordinator.log();
        assert!(log.uploads.len() <= 3, "{:?}", log.uploads);
        resumed += usize::from(log.uploads.iter().any(|&offset| offset > 0));
    }
    assert!(resumed >= 5, "{resumed} uploads went on in the middle");
}

#[tokio::test(start_paused = true)]
async fn many_breaks_in_a_row_end_well() {
    let script = Script::new("fp16", &OUTCOMES);
    let dir = tempfile::tempdir().unwrap();
    let cuts = (1..30).map(|i| Cut { read: i * 7_001, written: i * 5_003 });
    let (network, connections) = Network::new(cuts);
    let coordinator = Coordinator::new(script.clone());
    coordinator.serve(connections);
    finish(dir.path(), &network).await;
    check(&script, &coordinator, dir.path());
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_held_is_not_fetched_again() {
    // An accepted update makes another model, so it is after the other outcomes that a model comes again.
    let script = Script { same_model: vec![1], ..Script::new("int8+ef", &[Discarded, Accepted]) };
    let dir = tempfile::tempdir().unwrap();
    let (network, connections) = Network::new([]);
    let coordinator = Coordinator::new(script.clone());
    coordinator.serve(connections);
    finish(dir.path(), &network).await;
    check(&script, &coordinator, dir.path());
    assert_eq!(coordinator.log().downloads, [0]);
}
